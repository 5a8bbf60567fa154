package tracing_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/tracing"
)

const uid = "11111111-2222-3333-4444-555555555555"

// receiver takes OTLP over HTTP.
type receiver struct {
	mu    sync.Mutex
	spans []string
	about map[string]string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unpacked
	}
	data, err := io.ReadAll(body)
	var export collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(data, &export)
	}
	if err != nil || req.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(req.URL.Path, err), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range export.GetResourceSpans() {
		for _, a := range resource.GetResource().GetAttributes() {
			r.about[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				from, to := time.Unix(0, int64(s.GetStartTimeUnixNano())), time.Unix(0, int64(s.GetEndTimeUnixNano()))
				r.spans = append(r.spans, fmt.Sprintf("%x %x<%x %s %s+%s %s", s.GetTraceId(), s.GetSpanId(), s.GetParentSpanId(),
					s.GetName(), from.UTC().Format("05.000"), to.Sub(from), s.GetStatus().GetMessage()))
			}
		}
	}
}

// trace ends a migration and returns the spans that were received, without their ids.
func trace(t *testing.T, m *v1alpha1.StatefulMigration) (raw, spans []string, about map[string]string) {
	t.Helper()
	r := &receiver{about: map[string]string{}}
	server := httptest.NewServer(r)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	tracer, err := tracing.FromEnvironment(t.Context(), "v1")
	if err != nil || tracer == nil {
		t.Fatalf("%v, %v", tracer, err)
	}
	running := m.Status.DeepCopy()
	running.Phase = v1alpha1.PhaseFinalizing
	tracer.Wrote(&v1alpha1.StatefulMigration{Status: *running}, running) // nothing has ended
	tracer.Wrote(m, running)
	tracer.Wrote(m, &m.Status) // it had ended before
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := tracer.Close(ctx); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	names := map[string]string{"": "-"}
	for _, s := range r.spans {
		f := strings.SplitN(s, " ", 4)
		id, _, _ := strings.Cut(f[1], "<")
		names[id] = strings.ReplaceAll(f[2], " ", "")
	}
	for _, s := range r.spans {
		id, rest, _ := strings.Cut(s, " ")
		if id != strings.ReplaceAll(uid, "-", "") {
			t.Errorf("trace %s", id)
		}
		both, rest, _ := strings.Cut(rest, " ")
		_, parent, _ := strings.Cut(both, "<")
		spans = append(spans, names[parent]+" > "+strings.TrimSpace(rest))
	}
	slices.Sort(spans)
	raw = slices.Sorted(slices.Values(r.spans))
	return raw, spans, r.about
}

func phases(begin time.Time, all ...v1alpha1.MigrationPhase) (out []v1alpha1.PhaseTime) {
	for i, p := range all {
		out = append(out, v1alpha1.PhaseTime{Phase: p, StartedAt: metav1.NewMicroTime(begin.Add(time.Duration(i) * time.Second)), DurationMillis: ptr.To[int64](1000)})
	}
	out[len(out)-1].DurationMillis = nil
	return out
}

func TestTrace(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ended := metav1.NewMicroTime(begin.Add(6 * time.Second))
	m := &v1alpha1.StatefulMigration{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "move", UID: uid}}
	m.Status.Phase, m.Status.EndedAt = v1alpha1.PhaseCompleted, &ended
	m.Status.Hops = []v1alpha1.Hop{
		{Hop: 1, Result: "Committed", EndedAt: metav1.NewMicroTime(begin.Add(2 * time.Second)), PhaseTimes: phases(begin, v1alpha1.PhasePending, v1alpha1.PhaseFinalizing)},
		{Hop: 2, Result: "Committed", EndedAt: ended, PhaseTimes: phases(begin.Add(2*time.Second), v1alpha1.PhaseCheckpointing, v1alpha1.PhaseReplaying, v1alpha1.PhaseCompleted)},
	}
	raw, spans, about := trace(t, m)
	want := []string{
		"- > migration 05.000+6s",
		"hop > Checkpointing 07.000+1s",
		"hop > Finalizing 06.000+1s",
		"hop > Pending 05.000+1s",
		"hop > Replaying 08.000+1s",
		"migration > hop 1 05.000+2s",
		"migration > hop 2 07.000+4s",
	}
	if !slices.Equal(spans, want) {
		t.Errorf("spans\n%s\nwant\n%s", strings.Join(spans, "\n"), strings.Join(want, "\n"))
	}
	if about["service.name"] != "ms2m-manager" || about["service.version"] != "v1" {
		t.Errorf("about %v", about)
	}
	if again, _, _ := trace(t, m); !slices.Equal(raw, again) {
		t.Errorf("sent again it is another:\n%s", strings.Join(again, "\n"))
	}

	failed := m.DeepCopy()
	failed.Status.Phase, failed.Status.Hops, failed.Status.PhaseTimes = v1alpha1.PhaseFailed, nil, phases(begin, v1alpha1.PhasePending, v1alpha1.PhaseTransferring, v1alpha1.PhaseFailed)
	meta.SetStatusCondition(&failed.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse, Reason: "NoSpace", Message: "the disk is full"})
	_, spans, _ = trace(t, failed)
	if want := "- > migration 05.000+6s the disk is full"; !slices.Contains(spans, want) || len(spans) != 4 {
		t.Errorf("spans\n%s\nwant %s", strings.Join(spans, "\n"), want)
	}
}

// TestNoEndpoint: without one nothing of it runs.
func TestNoEndpoint(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	if tracer, err := tracing.FromEnvironment(t.Context(), "v1"); tracer != nil || err != nil {
		t.Errorf("%v, %v", tracer, err)
	}
}
