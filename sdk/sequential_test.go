package sdk

import (
	"context"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/rabbitmq"
)

// TestSequential moves a service whose source goes before a copy is there. The
// first copy gives up; the second, of the same image, loses its connection in
// the middle, and goes on.
func TestSequential(t *testing.T) {
	for _, kind := range []string{amqp.QueueTypeClassic, amqp.QueueTypeQuorum} {
		t.Run(kind, func(t *testing.T) {
			s := newScene(t, kind, 200, 100, time.Millisecond)
			s.m.sequential = true
			first := s.image("pod-b1-" + s.queue)
			second := first.copyTo("pod-b2-" + s.queue)
			image := len(first.state())
			eventually(t, "messages relayed", func() bool { return len(s.source.state()) > image+100 })
			changed := s.source.Changed()
			s.m.reach(s.source.pod, handover.Freeze, handover.Retired)
			if d, err := rabbitmq.ReadDecision(s.m.conn, s.m.migration); err != nil || d != handover.Commit {
				t.Fatalf("decision %s, %v", d, err)
			}
			select {
			case <-changed:
			default:
				t.Error("nobody is told that the source has retired")
			}
			if s.source.Owner() || s.source.Home() != successor {
				t.Errorf("owner: %v, successor %q", s.source.Owner(), s.source.Home())
			}
			s.source.stop()

			first.start()
			s.m.reach(first.pod, handover.Hello, handover.Restored)
			s.m.reach(first.pod, handover.Retire, handover.Restored)
			s.m.send(first.pod, handover.StartReplay, time.Millisecond)
			if r := s.m.reach(first.pod, handover.Hello, handover.Void); r.Reason != handover.ReasonDeadline {
				t.Errorf("the first copy is Void because of %s", r.Reason)
			}
			first.stop()

			s.replay(second)
			s.m.reach(second.pod, handover.Retire, handover.Replaying)
			if second.Owner() {
				t.Error("it owns the state before END_REPLAY")
			}
			s.cuts++
			second.cut()
			s.m.reach(second.pod, handover.Hello, handover.Live)
			s.judge(second)
		})
	}
}

// TestHeldAfterCommit: for a sibling, and in the target pod of a sequential
// migration, COMMIT is not the word to start: the end of the hold is.
func TestHeldAfterCommit(t *testing.T) {
	for name, sequential := range map[string]bool{"sibling": false, "target pod of a sequential migration": true} {
		for _, forgotten := range []bool{false, true} {
			t.Run(map[bool]string{false: name, true: name + ", hold forgotten"}[forgotten], func(t *testing.T) {
				s := newScene(t, amqp.QueueTypeClassic, 5, 10, 0)
				key := handover.QueueSlot(s.queue)
				if sequential {
					key = s.m.migration
					t.Setenv(handover.EnvMigration, key)
				}
				hold := handover.Hold{Migration: s.m.migration, DeadlineMillis: time.Hour.Milliseconds(), Sequential: sequential}
				if forgotten {
					hold.DeadlineMillis = 3000
				}
				must(t, rabbitmq.SetHold(context.Background(), s.m.conn, key, hold))
				fresh := newService(t, "pod-c-"+s.queue, s.queue, s.out, 0)
				fresh.start()
				s.m.reach(fresh.pod, handover.Hello, handover.Held)
				if _, err := rabbitmq.Decide(s.m.conn, s.m.migration, handover.Commit); err != nil {
					t.Fatal(err)
				}
				s.m.until(fresh.pod, handover.Hello, "Held after COMMIT", func(r handover.Report) bool {
					return r.Status.State == handover.Held && r.Status.Decision == handover.Commit
				})
				if !forgotten {
					must(t, rabbitmq.ClearHold(s.m.conn, key))
				}
				s.m.reach(fresh.pod, handover.Hello, handover.Live)
			})
		}
	}
}
