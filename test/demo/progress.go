package main

import (
	"fmt"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// lagEvery bounds how often the lag is told within a phase.
const lagEvery = time.Second

// progress tells what happens as it happens, with the time since the beginning.
type progress struct{ begin time.Time }

func newProgress() *progress { return &progress{begin: time.Now()} }

func (p *progress) line(format string, args ...any) {
	fmt.Printf("%6.1f s  %s\n", time.Since(p.begin).Seconds(), fmt.Sprintf(format, args...))
}

// tell tells the phases of a migration, and the lag while there is one.
func (p *progress) tell(flow *harness.Flow) func(*v1alpha1.StatefulMigration) {
	var (
		phase v1alpha1.MigrationPhase
		lag   int64 = -1
		told  time.Time
	)
	return func(m *v1alpha1.StatefulMigration) {
		s := m.Status
		if s.Phase == "" {
			return
		}
		behind := int64(-1)
		if s.Lag != nil {
			behind = s.Lag.Messages
		}
		if s.Phase == phase && (behind == lag || time.Since(told) < lagEvery) {
			return
		}
		phase, lag, told = s.Phase, behind, time.Now()
		text := fmt.Sprintf("  %-13s  counted %d", phase, flow.Collector.Count())
		if behind >= 0 && !harness.Ended(m) {
			text += fmt.Sprintf(", lag %d", behind)
			if s.Lag.Seconds != "" {
				text += fmt.Sprintf(" (%s s)", s.Lag.Seconds)
			}
		}
		p.line("%s", text)
	}
}
