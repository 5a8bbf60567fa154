package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// Reasons of the condition CutOff; see docs/decisions/0008-cut-off.md.
const (
	caughtUp     = "CaughtUp"
	outpaced     = "Outpaced"
	replayCutoff = "ReplayCutoff"
	tooSlow      = "TooSlow"
)

// work is what a message takes in TestLoad: the counter's capacity is 50
// messages per second, and so is the copy's in a replay.
const (
	work     = 20 * time.Millisecond
	capacity = float64(time.Second / work)
	// delivered is the least share of a load that has to be sent for the case to be what it
	// is about; some of the time over which it is taken nothing is sent.
	delivered = 0.7
)

// loadCase is a migration under one kind of load.
type loadCase struct {
	rate      float64 // messages per second
	kind      load.Kind
	mixed     bool // messages of 100 B to 1 MiB; else of 100 B
	prefetch  int
	producers int
	cutoff    int32 // spec.replayCutoffSeconds; 0: the default
	never     bool  // the source must not be slowed down
}

func (c loadCase) name() string {
	name := fmt.Sprintf("%.0f per cent/%s/", 100*c.rate/capacity, c.kind)
	if c.mixed {
		name += "mixed sizes/"
	}
	name += fmt.Sprintf("prefetch %d/%d producers", c.prefetch, c.producers)
	if c.cutoff > 0 {
		name += fmt.Sprintf("/cut-off %d s", c.cutoff)
	}
	if c.never {
		name += "/never slowed"
	}
	return name
}

// backlog is what stands in the queue at the beginning. Below the counter's
// capacity it is little, so that it is worked off when the replay begins: until then the source is
// as busy as it can be, whatever arrives.
func (c loadCase) backlog() int {
	switch share := c.rate / capacity; {
	case share > 1:
		return 200
	case share > 0.9:
		return 20
	}
	return 50
}

// reasons are those for which the source may be frozen under this load.
func (c loadCase) reasons() []string {
	switch share := c.rate / capacity; {
	case !c.never: // it is slowed down until the copy is there
		return []string{caughtUp}
	// The source has a backlog and handles what it can, as does the copy: as much
	// arrives as is replayed, and chance decides whether the lag clearly does not
	// shrink or only shrinks too slowly.
	case share > 1 && c.cutoff > 0:
		return []string{outpaced, tooSlow, replayCutoff}
	case share > 1:
		return []string{outpaced, tooSlow}
	case share > 0.9: // the chance of a few messages decides
		return []string{caughtUp, outpaced, tooSlow}
	}
	return []string{caughtUp}
}

// loadCases meet every rate with every kind of queue's class, and any two of
// the other properties' values in some case; all of them together only if asked.
func loadCases() []loadCase {
	rates := []float64{10, 0.5 * capacity, 0.95 * capacity, 1.2 * capacity}
	if *full {
		var all []loadCase
		for _, rate := range rates {
			for _, kind := range load.Kinds() {
				for i := range 8 {
					all = append(all, loadCase{rate, kind, i&1 > 0, []int{10, 50}[i>>1&1], []int{3, 8}[i>>2], 0, false},
						loadCase{rate, kind, i&1 > 0, []int{10, 50}[i>>1&1], []int{3, 8}[i>>2], 0, true})
				}
			}
		}
		return all
	}
	return []loadCase{
		{rates[0], load.Classic, false, 10, 3, 0, false},
		{rates[0], load.QuorumUnlimited, true, 50, 8, 0, false},
		{rates[1], load.Classic, false, 50, 8, 0, true},
		{rates[1], load.Quorum, true, 10, 3, 0, false},
		{rates[2], load.Classic, true, 10, 8, 0, false},
		{rates[2], load.Quorum, false, 50, 3, 0, true},
		{rates[3], load.Classic, true, 50, 3, 0, false},
		{rates[3], load.Classic, true, 50, 3, 0, true},
		{rates[3], load.QuorumUnlimited, false, 10, 8, 1, true},
	}
}

// TestLoad migrates counters under loads from a few messages to more than they
// can handle, and asserts that the source is frozen for the right reason.
func TestLoad(t *testing.T) {
	for i, tc := range loadCases() {
		t.Run(tc.name(), func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			sizes := load.Sizes{Min: 100, Max: 100}
			if tc.mixed {
				sizes.Max = 1 << 20
			}
			flow := startFlow(ctx, t, harness.FlowConfig{
				CounterConfig: harness.CounterConfig{
					Name: fmt.Sprintf("load-%d", i+1), Work: work, Prefetch: tc.prefetch, Queues: tc.kind},
				Rate: tc.rate, Producers: tc.producers, Sizes: sizes,
			})
			began := time.Now()
			m, err := flow.Move(ctx, harness.MoveConfig{
				Target: harness.NodeB, Warm: 20, Backlog: tc.backlog(), After: 20,
				Change: func(m *v1alpha1.StatefulMigration) {
					m.Spec.ReplayCutoffSeconds = tc.cutoff
					if tc.never {
						m.Spec.Throttle = v1alpha1.ThrottleNever
					}
					m.Spec.Deadlines.ReplaySeconds = 40
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { deleteMigration(t, m.Migration) })
			judged(t, m.Outcome)
			if sent := float64(m.Outcome.Sent) / time.Since(began).Seconds(); sent < delivered*tc.rate {
				// The machine was too busy to send what the case is about: it was another load, that
				// changed all the time, and nobody can say what would have been right.
				t.Logf("only %.1f messages/s of %.0f were sent: frozen for whichever reason", sent, tc.rate)
			} else {
				assertFrozenFor(t, m, tc.reasons())
				assertSlowed(t, m, tc)
			}
			assertTarget(t, flow, m)
			noTraces(ctx, t, flow, m.Migration, m.Target)
		})
	}
}

// assertFrozenFor asserts why the source was frozen, and that the gap was as
// long as foretold.
func assertFrozenFor(t *testing.T, m *harness.Move, reasons []string) {
	t.Helper()
	holds(t, m.Migration, v1alpha1.ConditionCutOff)
	s := m.Migration.Status
	if s.Cutoff == nil || s.Pauses == nil || s.Pauses.HandoverMillis == nil {
		t.Fatalf("the status does not tell the cut-off or the pause: %+v, %+v", s.Cutoff, s.Pauses)
	}
	gap, pause := decimal(t, s.Cutoff.ExpectedGapSeconds), float64(*s.Pauses.HandoverMillis)/1000
	t.Logf("%s: arrival %s/s, replay %s/s, lag %d messages, gap %.3f s expected, %.3f s measured; %.1f s in all, longest gap of outputs %.2f s",
		s.Cutoff.Reason, s.Cutoff.ArrivalRate, s.Cutoff.ReplayRate, s.Cutoff.LagMessages, gap, pause, m.Total.Seconds(), m.Gap.Seconds())
	if !slices.Contains(reasons, s.Cutoff.Reason) {
		t.Errorf("frozen since %s, want %s", s.Cutoff.Reason, strings.Join(reasons, " or "))
	}
	if s.Cutoff.Reason == outpaced {
		if arrival, replay := decimal(t, s.Cutoff.ArrivalRate), decimal(t, s.Cutoff.ReplayRate); s.Cutoff.LagMessages == 0 || arrival < 0.8*replay {
			t.Errorf("outpaced by %.1f messages per second, though %.1f can be replayed and %d are outstanding", arrival, replay, s.Cutoff.LagMessages)
		}
	}
	// What the source finishes after FREEZE comes to the lag; round trips to both.
	if pause > 1.3*gap+1 || pause < 0.7*gap {
		t.Errorf("the gap was %.3f s, %.3f s were expected", pause, gap)
	}
}

// assertSlowed asserts that a source was slowed down when it had to be, and kept to it, and never
// when it must not.
func assertSlowed(t *testing.T, m *harness.Move, c loadCase) {
	t.Helper()
	slowed := m.Migration.Status.Throttle
	t.Logf("slowed down: %+v", slowed)
	switch {
	case c.never && slowed != nil:
		t.Error("the source was slowed down, though spec.throttle is Never")
	case !c.never && c.rate > capacity && (slowed == nil || !slowed.Kept || slowed.EndedAt == nil):
		t.Errorf("the source was not slowed down, though more arrives than can be replayed: %+v", slowed)
	}
}

// decimal reads a decimal of a status; what is not known is 0.
func decimal(t *testing.T, text string) float64 {
	t.Helper()
	if text == "" {
		return 0
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestOnce migrates a counter that spends its time in a call to the outside, at 95 %
// of its capacity. The replay reads the recorded answers instead, so the copy catches up.
func TestOnce(t *testing.T) {
	const outside = 10 * time.Millisecond
	const rate = 0.95 * float64(time.Second/outside)
	ctx := within(t, 3*time.Minute)
	flow := startFlow(ctx, t, harness.FlowConfig{
		CounterConfig: harness.CounterConfig{Name: "once", Outside: outside},
		Rate:          rate, Producers: 3,
	})
	m, err := flow.Move(ctx, harness.MoveConfig{Target: harness.NodeB, Warm: 100, Backlog: 20, After: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteMigration(t, m.Migration) })
	judged(t, m.Outcome)
	assertFrozenFor(t, m, []string{caughtUp})
	for _, p := range m.Migration.Status.PhaseTimes {
		if p.Phase == v1alpha1.PhaseReplaying {
			t.Logf("caught up in %d ms", *p.DurationMillis)
		}
	}
	if c := m.Migration.Status.Cutoff; decimal(t, c.ReplayRate) < 5*rate {
		t.Errorf("replays %s messages per second, of which %.0f arrive: it does not leave out the calls", c.ReplayRate, rate)
	}
}
