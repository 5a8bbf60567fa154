// Package tracing makes a trace of each migration that has ended, from its status: what the
// phases were and how long they took is known exactly then, whoever carried it through.
package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/meta"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Tracer sends traces in the background. It is told of writes of statuses.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// FromEnvironment makes a tracer as the variables OTEL_… say; nil if they name no endpoint:
// nothing of it runs then.
func FromEnvironment(ctx context.Context, version string) (*Tracer, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "ms2m-manager"), attribute.String("service.version", version)),
		resource.WithFromEnv()) // which has the last word
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about), sdktrace.WithIDGenerator(ids{}))
	return &Tracer{provider: provider, tracer: provider.Tracer("ms2m.dev/ms2m")}, nil
}

// Close sends what is not sent yet.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// Wrote makes the trace when a write has ended the migration.
func (t *Tracer) Wrote(m *v1alpha1.StatefulMigration, before *v1alpha1.StatefulMigrationStatus) {
	st := &m.Status
	if ended(before) || !ended(st) {
		return
	}
	hops := st.Hops
	if st.Phase == v1alpha1.PhaseFailed { // the hop that failed is in the fields of the present one
		hops = append(hops[:len(hops):len(hops)], v1alpha1.Hop{
			Hop: max(st.Hop, 1), Result: reason(st), SourcePodName: st.SourcePodName, TargetPodName: st.TargetPodName, SourceNode: st.SourceNode,
			TargetNode: st.TargetNode, Attempts: st.Attempt, CheckpointImage: st.CheckpointImage, Pauses: st.Pauses, Cutoff: st.Cutoff, PhaseTimes: st.PhaseTimes,
		})
	}
	begin, end := m.CreationTimestamp.Time, time.Time{}
	if st.EndedAt != nil {
		end = st.EndedAt.Time
	}
	if len(hops) > 0 && len(hops[0].PhaseTimes) > 0 {
		begin = hops[0].PhaseTimes[0].StartedAt.Time // the creation is known to the second only
	}
	ctx, root := t.start(context.Background(), m, "migration", begin,
		attribute.String("k8s.namespace.name", m.Namespace), attribute.String("ms2m.migration.name", m.Name), attribute.String("ms2m.migration.uid", string(m.UID)),
		attribute.String("k8s.pod.name", m.Spec.SourcePod.Name), attribute.String("ms2m.strategy", string(st.Strategy)),
		attribute.String("ms2m.result", string(st.Phase)), attribute.String("ms2m.reason", reason(st)))
	if c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionSucceeded); st.Phase == v1alpha1.PhaseFailed && c != nil {
		root.SetStatus(codes.Error, c.Message)
	}
	for i := range hops {
		t.hop(ctx, m, &hops[i], end)
	}
	root.End(trace.WithTimestamp(end))
}

// hop makes the spans of one hand-over.
func (t *Tracer) hop(ctx context.Context, m *v1alpha1.StatefulMigration, h *v1alpha1.Hop, end time.Time) {
	if len(h.PhaseTimes) == 0 {
		return
	}
	if !h.EndedAt.IsZero() {
		end = h.EndedAt.Time
	}
	name := fmt.Sprintf("hop %d", h.Hop)
	ctx, span := t.start(ctx, m, name, h.PhaseTimes[0].StartedAt.Time, attributes(h)...)
	for _, p := range h.PhaseTimes {
		if p.Phase == v1alpha1.PhaseCompleted || p.Phase == v1alpha1.PhaseFailed {
			continue // they are moments
		}
		until := end
		if p.DurationMillis != nil {
			until = p.StartedAt.Add(time.Duration(*p.DurationMillis) * time.Millisecond)
		}
		_, phase := t.start(ctx, m, name+"/"+string(p.Phase), p.StartedAt.Time)
		phase.SetName(string(p.Phase))
		phase.End(trace.WithTimestamp(until))
	}
	span.End(trace.WithTimestamp(end))
}

func attributes(h *v1alpha1.Hop) []attribute.KeyValue {
	all := []attribute.KeyValue{
		attribute.String("ms2m.result", h.Result), attribute.Int64("ms2m.attempts", int64(h.Attempts)),
		attribute.String("ms2m.source.pod", h.SourcePodName), attribute.String("ms2m.source.node", h.SourceNode),
		attribute.String("ms2m.target.pod", h.TargetPodName), attribute.String("ms2m.target.node", h.TargetNode),
	}
	if h.CheckpointImage != nil {
		all = append(all, attribute.Int64("ms2m.checkpoint.image_bytes", h.CheckpointImage.SizeBytes), attribute.Int64("ms2m.checkpoint.archive_bytes", h.CheckpointImage.ArchiveBytes))
	}
	if h.Cutoff != nil {
		all = append(all, attribute.String("ms2m.cutoff.reason", h.Cutoff.Reason), attribute.Int64("ms2m.cutoff.lag_messages", h.Cutoff.LagMessages))
	}
	if p := h.Pauses; p != nil {
		if p.CheckpointMillis != nil {
			all = append(all, attribute.Int64("ms2m.pause.checkpoint_ms", *p.CheckpointMillis))
		}
		if p.HandoverMillis != nil {
			all = append(all, attribute.Int64("ms2m.pause.handover_ms", *p.HandoverMillis))
		}
	}
	return all
}

// start begins a span that has its ids from the migration and its path.
func (t *Tracer) start(ctx context.Context, m *v1alpha1.StatefulMigration, path string, at time.Time, with ...attribute.KeyValue) (context.Context, trace.Span) {
	ctx = context.WithValue(ctx, identity{}, [2]string{string(m.UID), path})
	return t.tracer.Start(ctx, path, trace.WithTimestamp(at), trace.WithAttributes(with...))
}

// ids makes ids of what a span is of: sent again, it is the same one.
type ids struct{}

type identity struct{}

func (i ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	of, _ := ctx.Value(identity{}).([2]string)
	id := TraceID(of[0])
	return id, i.NewSpanID(ctx, id)
}

func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) (id trace.SpanID) {
	of, _ := ctx.Value(identity{}).([2]string)
	sum := sha256.Sum256([]byte(of[0] + "/" + of[1]))
	copy(id[:], sum[:])
	return id
}

// TraceID is the id of the trace of the migration with a UID.
func TraceID(uid string) (id trace.TraceID) {
	if raw, err := hex.DecodeString(strings.ReplaceAll(uid, "-", "")); err == nil && len(raw) == len(id) {
		copy(id[:], raw)
		return id
	}
	sum := sha256.Sum256([]byte(uid)) // the API server makes UUIDs; nothing says that it has to
	copy(id[:], sum[:])
	return id
}

func ended(st *v1alpha1.StatefulMigrationStatus) bool {
	return st.Phase == v1alpha1.PhaseCompleted || st.Phase == v1alpha1.PhaseFailed
}

func reason(st *v1alpha1.StatefulMigrationStatus) string {
	if c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Reason
	}
	return ""
}
