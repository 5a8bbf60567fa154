package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/queue"
)

// Active shows the migrations as they are at the moment of a scrape, by their objects: a manager that
// was just started shows what the one before it did. Only the active manager shows
// them, or each migration would be there twice.
type Active struct {
	// List reads the migrations, from a cache; false: not yet, or this process is not the active one.
	List func() ([]v1alpha1.StatefulMigration, bool)
	// Connections counts the connections to brokers: those that stand, and all.
	Connections func() (up, all int)
	Limits      queue.Limits
	Clock       clock.PassiveClock
}

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descActive      = gauge("ms2m_active_migrations", "Migrations that have not ended, by phase.", "phase")
	descOldest      = gauge("ms2m_phase_oldest_seconds", "How long the migration that is longest in the phase has been in it.", "phase")
	descQueued      = gauge("ms2m_queued_migrations", "Migrations that wait for their turn.")
	descQueueOldest = gauge("ms2m_queue_oldest_seconds", "How long the migration that waits longest has waited for its turn.")
	descLimit       = gauge("ms2m_migrations_limit", "How many migrations may be active, in the cluster and per node. 0: no limit.", "scope")
	descLag         = gauge("ms2m_replay_lag_messages", "Messages that copies still have to apply: all, and the most of one migration.", "of")
	descLagSeconds  = gauge("ms2m_replay_lag_seconds", "The longest time that a copy needs for what it still has to apply.")
	descReplayRate  = gauge("ms2m_replay_messages_per_second", "What copies apply while they are busy, summed up over the migrations in replay.")
	descArrivalRate = gauge("ms2m_arrival_messages_per_second", "What sources write to replay queues, summed up over the migrations in replay.")
	descOverdue     = gauge("ms2m_overdue_migrations", "Migrations that go on beyond deadlines.totalSeconds, because they cannot go back.")
	descShadow      = gauge("ms2m_shadow_oldest_seconds", "How long a state has lived outside its StatefulSet's own pod, at most.")
	descLeft        = gauge("ms2m_left_behind_migrations", "Migrations that have ended and left something behind, as long as their objects are there.")
	descConnections = gauge("ms2m_broker_connections", "Brokers that the manager has to do with, by whether it is connected.", "state")
)

// Describe implements prometheus.Collector.
func (a *Active) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descActive, descOldest, descQueued, descQueueOldest, descLimit, descLag, descLagSeconds,
		descReplayRate, descArrivalRate, descOverdue, descShadow, descLeft, descConnections} {
		to <- d
	}
}

// summary is what many migrations come to.
type summary struct {
	active, oldest       map[v1alpha1.MigrationPhase]float64
	queued, queueOldest  float64
	lag, mostLag, gap    float64
	replay, arrival      float64
	overdue, shadow, bad float64
}

// Collect implements prometheus.Collector.
func (a *Active) Collect(to chan<- prometheus.Metric) {
	all, ok := a.List()
	if !ok {
		return
	}
	s := summary{active: map[v1alpha1.MigrationPhase]float64{}, oldest: map[v1alpha1.MigrationPhase]float64{}}
	for i := range all {
		s.add(&all[i].Status, a.Clock.Now())
	}
	say := func(d *prometheus.Desc, x float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
	}
	for _, phase := range []v1alpha1.MigrationPhase{v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring,
		v1alpha1.PhaseRestoring, v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing} {
		say(descActive, s.active[phase], string(phase))
		say(descOldest, s.oldest[phase], string(phase))
	}
	say(descQueued, s.queued)
	say(descQueueOldest, s.queueOldest)
	say(descLimit, float64(a.Limits.Migrations), "cluster")
	say(descLimit, float64(a.Limits.PerNode), "node")
	say(descLag, s.lag, "all")
	say(descLag, s.mostLag, "one")
	say(descLagSeconds, s.gap)
	say(descReplayRate, s.replay)
	say(descArrivalRate, s.arrival)
	say(descOverdue, s.overdue)
	say(descShadow, s.shadow)
	say(descLeft, s.bad)
	up, brokers := a.Connections()
	say(descConnections, float64(up), "up")
	say(descConnections, float64(brokers-up), "down")
}

func (s *summary) add(st *v1alpha1.StatefulMigrationStatus, now time.Time) {
	if Ended(st) {
		if meta.IsStatusConditionFalse(st.Conditions, v1alpha1.ConditionCleanedUp) {
			s.bad++
		}
		return
	}
	if st.Queued != nil {
		s.queued++
		s.queueOldest = max(s.queueOldest, now.Sub(st.Queued.Since.Time).Seconds())
		return // it is in no phase that anybody could hurry
	}
	phase := st.Phase
	if phase == "" {
		phase = v1alpha1.PhasePending
	}
	s.active[phase]++
	if n := len(st.PhaseTimes); n > 0 {
		s.oldest[phase] = max(s.oldest[phase], now.Sub(st.PhaseTimes[n-1].StartedAt.Time).Seconds())
	}
	if meta.IsStatusConditionTrue(st.Conditions, v1alpha1.ConditionOverdue) {
		s.overdue++
	}
	if c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionReturned); c != nil && c.Status == metav1.ConditionFalse {
		s.shadow = max(s.shadow, now.Sub(c.LastTransitionTime.Time).Seconds())
	}
	if phase != v1alpha1.PhaseReplaying && phase != v1alpha1.PhaseFinalizing {
		return
	}
	if st.Lag != nil {
		s.lag += float64(st.Lag.Messages)
		s.mostLag = max(s.mostLag, float64(st.Lag.Messages))
		s.gap = max(s.gap, number(st.Lag.Seconds))
	}
	if phase == v1alpha1.PhaseReplaying && st.Cutoff != nil {
		s.replay += number(st.Cutoff.ReplayRate)
		s.arrival += number(st.Cutoff.ArrivalRate)
	}
}
