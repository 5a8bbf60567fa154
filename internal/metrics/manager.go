// Package metrics tells Prometheus what migrations do. Labels have few values: none is the name of
// a migration, a pod, a node or a namespace.
package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// Manager counts what the manager's writes of statuses record. A write that ends something
// is made once, whoever makes it, and has all the figures: what an earlier process
// measured is counted by the one that ends it, nothing twice. A process that dies between
// such a write and its count leaves that one out; the object has it.
type Manager struct {
	migrations *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	handovers  *prometheus.CounterVec
	phases     *prometheus.HistogramVec
	pauses     *prometheus.HistogramVec
	attempts   *prometheus.CounterVec
	cutoffs    *prometheus.CounterVec
	throttles  prometheus.Counter
	takeovers  prometheus.Counter
	bytes      *prometheus.HistogramVec
	waits      prometheus.Histogram
	failures   *prometheus.CounterVec
}

// Results.
const (
	resultCompleted = "completed"
	resultFailed    = "failed"
	resultCommitted = "committed"
	resultAborted   = "aborted"
)

var (
	// pauseBuckets are from a blink to what nobody would call a pause any more.
	pauseBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	longBuckets  = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
	byteBuckets  = prometheus.ExponentialBuckets(1<<20, 4, 9) // 1 MiB … 64 GiB
)

// native has every histogram be a native one as well, for servers that can have it so.
const native = 1.1

func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: native, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}
}

// NewManager registers what the manager counts.
func NewManager(to prometheus.Registerer) (*Manager, error) {
	m := &Manager{
		migrations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ms2m_migrations_total",
			Help: "Migrations that have ended, by result (completed, failed), reason and strategy."}, []string{"result", "reason", "strategy"}),
		duration: prometheus.NewHistogramVec(histogram("ms2m_migration_duration_seconds",
			"Time from being let in to the end of a migration, by result.", longBuckets), []string{"result"}),
		handovers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ms2m_handovers_total",
			Help: "Hand-overs that have ended, by result (committed, aborted) and reason. A migration of a StatefulSet's pod makes two."}, []string{"result", "reason"}),
		phases: prometheus.NewHistogramVec(histogram("ms2m_phase_duration_seconds",
			"Duration of the phases of hand-overs that have ended.", longBuckets), []string{"phase"}),
		pauses: prometheus.NewHistogramVec(histogram("ms2m_pause_seconds",
			"Time without processing that a hand-over caused: at the checkpoint, and at the hand-over (an upper bound).", pauseBuckets), []string{"kind"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ms2m_checkpoint_attempts_total",
			Help: "Checkpoints of hand-overs that have ended, by result (good, void)."}, []string{"result"}),
		cutoffs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ms2m_cutoffs_total",
			Help: "Sources that were frozen, by the rule that chose the moment."}, []string{"reason"}),
		throttles: prometheus.NewCounter(prometheus.CounterOpts{Name: "ms2m_throttles_total",
			Help: "Sources that were slowed down so that their copies catch up."}),
		takeovers: prometheus.NewCounter(prometheus.CounterOpts{Name: "ms2m_takeovers_total",
			Help: "Sources that ended on the way, whose copies went on from image and replay queue."}),
		bytes: prometheus.NewHistogramVec(histogram("ms2m_checkpoint_bytes",
			"Size of checkpoints: archive is what the kubelet wrote, image what is in the repository.", byteBuckets), []string{"kind"}),
		waits: prometheus.NewHistogram(histogram("ms2m_queue_wait_seconds",
			"Time that migrations waited for their turn, of those that had to.", longBuckets)),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ms2m_action_failures_total",
			Help: "Actions of the manager that failed, by reason. Most are tried again."}, []string{"reason"}),
	}
	for _, c := range []prometheus.Collector{m.migrations, m.duration, m.handovers, m.phases, m.pauses, m.attempts, m.cutoffs, m.throttles, m.takeovers, m.bytes, m.waits, m.failures} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Failed counts an action that failed.
func (m *Manager) Failed(reason string) { m.failures.WithLabelValues(bounded(reason)).Inc() }

// Wrote counts what a write of a status has recorded.
func (m *Manager) Wrote(o *v1alpha1.StatefulMigration, before *v1alpha1.StatefulMigrationStatus) {
	after := &o.Status
	if before.Queued != nil && before.StartedAt == nil && after.StartedAt != nil {
		m.waits.Observe(after.StartedAt.Sub(before.Queued.Since.Time).Seconds())
	}
	if turned(before, after, v1alpha1.ConditionCutOff) && after.Cutoff != nil {
		m.cutoffs.WithLabelValues(bounded(after.Cutoff.Reason)).Inc()
	}
	if after.Throttle != nil && before.Throttle == nil {
		m.throttles.Inc()
	}
	if turned(before, after, v1alpha1.ConditionTakeover) {
		m.takeovers.Inc()
	}
	for i := range after.Hops {
		if i >= len(before.Hops) {
			m.handedOver(&after.Hops[i])
		}
	}
	if Ended(before) || !Ended(after) {
		return
	}
	result, reason := resultFailed, ""
	if after.Phase == v1alpha1.PhaseCompleted {
		result = resultCompleted
	}
	if c := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		reason = bounded(c.Reason)
	}
	m.migrations.WithLabelValues(result, reason, string(after.Strategy)).Inc()
	if after.StartedAt != nil && after.EndedAt != nil {
		m.duration.WithLabelValues(result).Observe(after.EndedAt.Sub(after.StartedAt.Time).Seconds())
	}
	if result == resultFailed && after.Attempt > 0 { // a hop that is not tried again is in the fields of the present one
		m.handedOver(&v1alpha1.Hop{Result: reason, Attempts: after.Attempt, CheckpointImage: after.CheckpointImage,
			Pauses: after.Pauses, PhaseTimes: after.PhaseTimes})
	}
}

// handedOver counts a hand-over that has ended.
func (m *Manager) handedOver(h *v1alpha1.Hop) {
	result := resultAborted
	if h.Result == migration.ReasonCommitted {
		result = resultCommitted
	}
	m.handovers.WithLabelValues(result, bounded(h.Result)).Inc()
	good := int32(0)
	if h.CheckpointImage != nil {
		good = 1
		m.bytes.WithLabelValues("image").Observe(float64(h.CheckpointImage.SizeBytes))
		if h.CheckpointImage.ArchiveBytes > 0 {
			m.bytes.WithLabelValues("archive").Observe(float64(h.CheckpointImage.ArchiveBytes))
		}
	}
	m.attempts.WithLabelValues("good").Add(float64(good))
	m.attempts.WithLabelValues("void").Add(float64(max(h.Attempts-good, 0)))
	for _, t := range h.PhaseTimes {
		if t.DurationMillis != nil {
			m.phases.WithLabelValues(string(t.Phase)).Observe(seconds(*t.DurationMillis))
		}
	}
	if h.Pauses == nil {
		return
	}
	for kind, millis := range map[string]*int64{"checkpoint": h.Pauses.CheckpointMillis, "handover": h.Pauses.HandoverMillis} {
		if millis != nil {
			m.pauses.WithLabelValues(kind).Observe(seconds(*millis))
		}
	}
}

// Ended reports whether a migration is over.
func Ended(st *v1alpha1.StatefulMigrationStatus) bool {
	return st.Phase == v1alpha1.PhaseCompleted || st.Phase == v1alpha1.PhaseFailed
}

// turned reports whether a condition has become True.
func turned(before, after *v1alpha1.StatefulMigrationStatus, kind string) bool {
	return meta.IsStatusConditionPresentAndEqual(after.Conditions, kind, metav1.ConditionTrue) &&
		!meta.IsStatusConditionPresentAndEqual(before.Conditions, kind, metav1.ConditionTrue)
}

func seconds(millis int64) float64 { return float64(millis) / 1000 }

// number reads a decimal of the API; what is not known is nothing.
func number(decimal string) float64 {
	x, err := strconv.ParseFloat(decimal, 64)
	if err != nil {
		return 0
	}
	return x
}
