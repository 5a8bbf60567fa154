package sdk

import (
	"context"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/rabbitmq"
)

// TestHeld: a process that starts fresh while a migration is undecided takes
// nothing, and what it does then is what docs/protocol.md's table says.
func TestHeld(t *testing.T) {
	for name, c := range map[string]struct {
		target   bool // it starts in the target pod
		decision handover.Decision
		want     handover.State
	}{
		"target pod, COMMIT":         {true, handover.Commit, handover.Live},
		"target pod, ABORT":          {true, handover.Aborted, handover.Void},
		"the source's place, COMMIT": {false, handover.Commit, handover.Retired},
		"the source's place, ABORT":  {false, handover.Aborted, handover.Live},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, amqp.QueueTypeClassic, 20, 10, 0)
			s.source.stop() // its container ended; what it held goes back
			s.load.Wait()
			key := s.source.pod
			if c.target {
				key = s.m.migration
				t.Setenv(handover.EnvMigration, key)
			}
			hold := handover.Hold{Migration: s.m.migration, DeadlineMillis: time.Hour.Milliseconds()}
			must(t, rabbitmq.SetHold(context.Background(), s.m.conn, key, hold))
			must(t, rabbitmq.SetHold(context.Background(), s.m.conn, key, hold)) // again changes nothing

			fresh := newService(t, s.source.pod, s.queue, s.out, 0)
			fresh.start()
			s.m.reach(fresh.pod, handover.Hello, handover.Held)
			if _, err := rabbitmq.Decide(s.m.conn, s.m.migration, c.decision); err != nil {
				t.Fatal(err)
			}
			s.m.reach(fresh.pod, handover.Abort, c.want)
			if c.want == handover.Live {
				eventually(t, "all messages", func() bool { return len(fresh.state())+len(s.source.state()) >= 60 })
				return
			}
			if n := len(fresh.state()); n > 0 {
				t.Errorf("it took %d messages", n)
			}
		})
	}
	t.Run("released", func(t *testing.T) {
		s := newScene(t, amqp.QueueTypeClassic, 5, 10, 0)
		key := handover.QueueSlot(s.queue)
		must(t, rabbitmq.SetHold(context.Background(), s.m.conn, key, handover.Hold{Migration: s.m.migration, DeadlineMillis: time.Hour.Milliseconds()}))
		fresh := newService(t, "pod-c-"+s.queue, s.queue, s.out, 0)
		fresh.start()
		s.m.reach(fresh.pod, handover.Hello, handover.Held)
		must(t, rabbitmq.ClearHold(s.m.conn, key))
		s.m.reach(fresh.pod, handover.Hello, handover.Live)
	})
}

func TestDecisionIsWrittenOnce(t *testing.T) {
	conn, err := amqp.Dial(broker().URL)
	must(t, err)
	defer conn.Close()
	const migration = "decision-test"
	if d, err := rabbitmq.ReadDecision(conn, migration); err != nil || d != handover.Undecided {
		t.Fatalf("at first: %q, %v", d, err)
	}
	for _, want := range []handover.Decision{handover.Commit, handover.Aborted, handover.Commit} {
		if d, err := rabbitmq.Decide(conn, migration, want); err != nil || d != handover.Commit {
			t.Errorf("write %s: %q, %v; COMMIT was first", want, d, err)
		}
	}
	if d, err := rabbitmq.ReadDecision(conn, migration); err != nil || d != handover.Commit {
		t.Errorf("read: %q, %v", d, err)
	}
	must(t, rabbitmq.ForgetDecision(conn, migration))
	must(t, rabbitmq.ForgetDecision(conn, migration))
	if d, err := rabbitmq.ReadDecision(conn, migration); err != nil || d != handover.Undecided {
		t.Errorf("in the end: %q, %v", d, err)
	}
}
