package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/metrics"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/queue"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(after time.Duration) metav1.MicroTime { return metav1.NewMicroTime(now.Add(after)) }

func condition(m *v1alpha1.StatefulMigration, kind string, status metav1.ConditionStatus, reason string) {
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, LastTransitionTime: metav1.NewTime(now)})
}

// recorder counts the writes of one migration.
type recorder struct {
	*metrics.Manager
	registry *prometheus.Registry
	object   *v1alpha1.StatefulMigration
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := metrics.NewManager(registry)
	if err != nil {
		t.Fatal(err)
	}
	return &recorder{m, registry, &v1alpha1.StatefulMigration{}}
}

// write makes a change and has it counted.
func (r *recorder) write(change func(m *v1alpha1.StatefulMigration)) {
	before := r.object.Status.DeepCopy()
	change(r.object)
	r.Wrote(r.object, before)
}

func (r *recorder) shows(t *testing.T, text string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(r.registry, strings.NewReader(text), names...); err != nil {
		t.Error(err)
	}
}

// TestMigrationIsCountedOnce goes through a StatefulSet's migration, by whichever process.
func TestMigrationIsCountedOnce(t *testing.T) {
	r := newRecorder(t)
	r.write(func(m *v1alpha1.StatefulMigration) {
		m.Status.Phase, m.Status.Queued = v1alpha1.PhasePending, &v1alpha1.Queued{Since: at(-4 * time.Second)}
	})
	r.write(func(m *v1alpha1.StatefulMigration) {
		m.Status.Queued, m.Status.StartedAt, m.Status.Strategy = nil, ptr.To(at(0)), v1alpha1.StrategyShadow
	})
	for _, pace := range []int64{20, 40} {
		r.write(func(m *v1alpha1.StatefulMigration) { m.Status.Throttle = &v1alpha1.Throttle{PaceMillis: pace} })
	}
	r.write(func(m *v1alpha1.StatefulMigration) {
		condition(m, v1alpha1.ConditionCutOff, metav1.ConditionTrue, migration.ReasonOutpaced)
		m.Status.Cutoff = &v1alpha1.Cutoff{Reason: migration.ReasonOutpaced}
	})
	hop := v1alpha1.Hop{
		Result: migration.ReasonCommitted, Attempts: 2,
		CheckpointImage: &v1alpha1.CheckpointImage{SizeBytes: 1 << 20, ArchiveBytes: 8 << 20},
		Pauses:          &v1alpha1.Pauses{CheckpointMillis: ptr.To[int64](120), HandoverMillis: ptr.To[int64](40)},
		PhaseTimes: []v1alpha1.PhaseTime{
			{Phase: v1alpha1.PhasePending, DurationMillis: ptr.To[int64](200)},
			{Phase: v1alpha1.PhaseReplaying, DurationMillis: ptr.To[int64](4000)},
			{Phase: v1alpha1.PhaseFinalizing}, // that an abandoned one has no end of
		},
	}
	r.write(func(m *v1alpha1.StatefulMigration) { m.Status.Hop, m.Status.Hops = 2, []v1alpha1.Hop{hop} })
	r.write(func(m *v1alpha1.StatefulMigration) {
		condition(m, v1alpha1.ConditionTakeover, metav1.ConditionTrue, "SourceLost")
	})
	end := func(m *v1alpha1.StatefulMigration) {
		m.Status.Phase, m.Status.EndedAt = v1alpha1.PhaseCompleted, ptr.To(at(9*time.Second))
		m.Status.Hops = []v1alpha1.Hop{hop, hop}
		condition(m, v1alpha1.ConditionSucceeded, metav1.ConditionTrue, migration.ReasonDone)
	}
	r.write(end)
	r.write(end) // by whoever reads it again
	r.shows(t, `
# HELP ms2m_migrations_total Migrations that have ended, by result (completed, failed), reason and strategy.
# TYPE ms2m_migrations_total counter
ms2m_migrations_total{reason="Done",result="completed",strategy="Shadow"} 1
# HELP ms2m_handovers_total Hand-overs that have ended, by result (committed, aborted) and reason. A migration of a StatefulSet's pod makes two.
# TYPE ms2m_handovers_total counter
ms2m_handovers_total{reason="Committed",result="committed"} 2
# HELP ms2m_checkpoint_attempts_total Checkpoints of hand-overs that have ended, by result (good, void).
# TYPE ms2m_checkpoint_attempts_total counter
ms2m_checkpoint_attempts_total{result="good"} 2
ms2m_checkpoint_attempts_total{result="void"} 2
# HELP ms2m_cutoffs_total Sources that were frozen, by the rule that chose the moment.
# TYPE ms2m_cutoffs_total counter
ms2m_cutoffs_total{reason="Outpaced"} 1
# HELP ms2m_throttles_total Sources that were slowed down so that their copies catch up.
# TYPE ms2m_throttles_total counter
ms2m_throttles_total 1
# HELP ms2m_takeovers_total Sources that ended on the way, whose copies went on from image and replay queue.
# TYPE ms2m_takeovers_total counter
ms2m_takeovers_total 1
`, "ms2m_migrations_total", "ms2m_handovers_total", "ms2m_checkpoint_attempts_total", "ms2m_cutoffs_total", "ms2m_throttles_total", "ms2m_takeovers_total")
	for name, want := range map[string]struct {
		count uint64
		sum   float64
	}{
		"ms2m_migration_duration_seconds completed": {1, 9},
		"ms2m_phase_duration_seconds Pending":       {2, .4},
		"ms2m_phase_duration_seconds Replaying":     {2, 8},
		"ms2m_phase_duration_seconds Finalizing":    {},
		"ms2m_pause_seconds checkpoint":             {2, .24},
		"ms2m_pause_seconds handover":               {2, .08},
		"ms2m_checkpoint_bytes image":               {2, 2 << 20},
		"ms2m_checkpoint_bytes archive":             {2, 16 << 20},
		"ms2m_queue_wait_seconds":                   {1, 4},
	} {
		if count, sum := r.histogram(t, name); count != want.count || sum < want.sum*.999 || sum > want.sum*1.001 {
			t.Errorf("%s: %d, %v, want %+v", name, count, sum, want)
		}
	}
}

// histogram is what one of a name and the value of its label has counted.
func (r *recorder) histogram(t *testing.T, what string) (count uint64, sum float64) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	name, label, _ := strings.Cut(what, " ")
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == label) {
				return m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()
			}
		}
	}
	return 0, 0
}

// TestFailedMigration: its one hand-over is in the fields of the present hop; an instance's word
// that is none of ours makes no label of its own.
func TestFailedMigration(t *testing.T) {
	r := newRecorder(t)
	r.Failed("BrokerUnavailable")
	r.Failed("a word")
	r.Failed("another word")
	r.write(func(m *v1alpha1.StatefulMigration) {
		m.Status.Phase, m.Status.Attempt, m.Status.Strategy = v1alpha1.PhaseFailed, 3, v1alpha1.StrategySequential
		condition(m, v1alpha1.ConditionSucceeded, metav1.ConditionFalse, "AWordOfTheInstance")
	})
	refused := newRecorder(t)
	refused.write(func(m *v1alpha1.StatefulMigration) {
		m.Status.Phase = v1alpha1.PhaseFailed
		condition(m, v1alpha1.ConditionSucceeded, metav1.ConditionFalse, migration.ReasonPodNotFound)
	})
	r.shows(t, `
# HELP ms2m_migrations_total Migrations that have ended, by result (completed, failed), reason and strategy.
# TYPE ms2m_migrations_total counter
ms2m_migrations_total{reason="Other",result="failed",strategy="Sequential"} 1
# HELP ms2m_handovers_total Hand-overs that have ended, by result (committed, aborted) and reason. A migration of a StatefulSet's pod makes two.
# TYPE ms2m_handovers_total counter
ms2m_handovers_total{reason="Other",result="aborted"} 1
# HELP ms2m_action_failures_total Actions of the manager that failed, by reason. Most are tried again.
# TYPE ms2m_action_failures_total counter
ms2m_action_failures_total{reason="BrokerUnavailable"} 1
ms2m_action_failures_total{reason="Other"} 2
`, "ms2m_migrations_total", "ms2m_handovers_total", "ms2m_action_failures_total")
	refused.shows(t, `
# HELP ms2m_migrations_total Migrations that have ended, by result (completed, failed), reason and strategy.
# TYPE ms2m_migrations_total counter
ms2m_migrations_total{reason="PodNotFound",result="failed",strategy=""} 1
`, "ms2m_migrations_total", "ms2m_handovers_total") // no hand-over was begun
}

// TestActive: what is under way is summed up at each scrape, by the active manager alone.
func TestActive(t *testing.T) {
	leads := false
	var all []v1alpha1.StatefulMigration
	a := &metrics.Active{
		List:        func() ([]v1alpha1.StatefulMigration, bool) { return all, leads },
		Connections: func() (up, all int) { return 2, 3 },
		Limits:      queue.Limits{Migrations: 5, PerNode: 2},
		Clock:       testclock.NewFakePassiveClock(now),
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(a)
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 0 {
		t.Fatalf("%d series of a manager that is not active, %v", n, err)
	}
	leads = true
	add := func(phase v1alpha1.MigrationPhase, since time.Duration, change func(*v1alpha1.StatefulMigration)) {
		m := v1alpha1.StatefulMigration{}
		m.Status.Phase = phase
		m.Status.PhaseTimes = []v1alpha1.PhaseTime{{Phase: phase, StartedAt: at(-since)}}
		if change != nil {
			change(&m)
		}
		all = append(all, m)
	}
	replay := func(lag int64, gap, rate string) func(*v1alpha1.StatefulMigration) {
		return func(m *v1alpha1.StatefulMigration) {
			m.Status.Lag, m.Status.Cutoff = &v1alpha1.Lag{Messages: lag, Seconds: gap}, &v1alpha1.Cutoff{ReplayRate: rate, ArrivalRate: "10.5"}
		}
	}
	add("", 0, nil)
	add(v1alpha1.PhasePending, time.Hour, func(m *v1alpha1.StatefulMigration) { m.Status.Queued = &v1alpha1.Queued{Since: at(-90 * time.Second)} })
	add(v1alpha1.PhaseReplaying, 30*time.Second, replay(100, "2.500", "40.000"))
	add(v1alpha1.PhaseReplaying, 20*time.Second, replay(50, "", "")) // no rate is known yet
	add(v1alpha1.PhaseFinalizing, 5*time.Second, func(m *v1alpha1.StatefulMigration) {
		replay(7, "0.1", "1000")(m)
		condition(m, v1alpha1.ConditionOverdue, metav1.ConditionTrue, "DeadlineExceeded")
		condition(m, v1alpha1.ConditionReturned, metav1.ConditionFalse, "Waiting")
		m.Status.Conditions[1].LastTransitionTime = metav1.NewTime(now.Add(-time.Minute))
	})
	add(v1alpha1.PhaseFailed, time.Hour, func(m *v1alpha1.StatefulMigration) {
		condition(m, v1alpha1.ConditionCleanedUp, metav1.ConditionFalse, "Abandoned")
	})
	add(v1alpha1.PhaseCompleted, time.Hour, nil)
	got := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if x := m.GetGauge().GetValue(); x != 0 {
				got[name] = x
			}
		}
	}
	want := map[string]float64{
		"ms2m_active_migrations Pending": 1, "ms2m_active_migrations Replaying": 2, "ms2m_active_migrations Finalizing": 1,
		"ms2m_phase_oldest_seconds Replaying": 30, "ms2m_phase_oldest_seconds Finalizing": 5,
		"ms2m_queued_migrations": 1, "ms2m_queue_oldest_seconds": 90,
		"ms2m_migrations_limit cluster": 5, "ms2m_migrations_limit node": 2,
		"ms2m_replay_lag_messages all": 157, "ms2m_replay_lag_messages one": 100, "ms2m_replay_lag_seconds": 2.5,
		"ms2m_replay_messages_per_second": 40, "ms2m_arrival_messages_per_second": 21,
		"ms2m_overdue_migrations": 1, "ms2m_shadow_oldest_seconds": 60, "ms2m_left_behind_migrations": 1,
		"ms2m_broker_connections up": 2, "ms2m_broker_connections down": 1,
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is %v, want %v", name, got[name], want[name])
		}
	}
	for name, x := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is %v", name, x)
		}
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
