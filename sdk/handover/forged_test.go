package handover

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var allCommands = []CommandKind{Hello, Prepare, Resume, StartReplay, Freeze, TakeOver, Abort, Retire, "SELL"}

// TestForgedCommands holds that a command of another migration, for another pod or of an
// older epoch does nothing, in any state of a source: it is answered, if at all, and
// leaves no trace by which the true manager's next command would be taken otherwise.
func TestForgedCommands(t *testing.T) {
	for name, forge := range map[string]func(*Command){
		"another migration": func(c *Command) { c.Migration = "forged" },
		"another pod":       func(c *Command) { c.PodUID = "forged" },
		"an older epoch":    func(c *Command) { c.Epoch = 0 },
		"another version":   func(c *Command) { c.Version = 0 },
		"nothing in it":     func(c *Command) { *c = Command{Kind: c.Kind} },
	} {
		for _, s := range []State{Paused, Relaying, Frozen} {
			for _, kind := range allCommands {
				t.Run(string(kind)+" of "+name+" in "+string(s), func(t *testing.T) {
					b := newBench(t, 3)
					b.reach(s)
					before, wake := b.p.in.Status(), wakes(b.p.in)
					c := Command{Version: Version, Kind: kind, Migration: simMigration, Attempt: 1, Epoch: 1, PodUID: b.p.pod,
						ReplayQueue: "forged", Successor: "forged", DeadlineMillis: 1, LeaseMillis: 1, ReportMillis: 1, PaceMillis: 1}
					forge(&c)
					for _, e := range b.p.in.Step(b.now, Commanded{Command: c, ReplyTo: "forger"}) {
						if sent, ok := e.(Send); !ok || sent.To != "forger" {
							t.Errorf("it led to %T %+v", e, e)
						}
					}
					if diff := cmp.Diff(before, b.p.in.Status()); diff != "" {
						t.Error("-before +after:\n" + diff)
					}
					if after := wakes(b.p.in); after != wake {
						t.Errorf("its next deadline moved from %v to %v", wake, after)
					}
					if m := b.p.in.m; m.replyTo == "forger" || m.queue == "forged" || m.successor == "forged" || m.lease < time.Second {
						t.Errorf("it was taken over: %+v", m)
					}
				})
			}
		}
	}
}

func wakes(in *Instance) time.Duration {
	at, _ := in.Wake()
	return at
}
