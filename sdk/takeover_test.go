package sdk

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// TestTakeover loses the source while it relays: the target goes on from the
// image and from what the source has written. A source that was only cut off,
// and comes back, finds that it has retired.
func TestTakeover(t *testing.T) {
	for _, kind := range []string{amqp.QueueTypeClassic, amqp.QueueTypeQuorum} {
		t.Run(kind, func(t *testing.T) {
			s := newScene(t, kind, 300, 100, 2*time.Millisecond)
			target := s.image("pod-b-" + s.queue)
			s.replay(target)
			eventually(t, "entries relayed", func() bool { return len(target.state()) > 50 })
			s.cuts++
			s.source.cutOff(true)
			s.m.fence = s.source.pod
			s.m.reach(target.pod, handover.TakeOver, handover.Live)
			s.source.cutOff(false)
			s.m.reach(s.source.pod, handover.Hello, handover.Retired)
			s.judge(target)
		})
	}
}

// TestFenceWaitsForTheSource: as long as the broker keeps the source's
// connection the target does not take over, whatever the manager believes.
func TestFenceWaitsForTheSource(t *testing.T) {
	s := newScene(t, amqp.QueueTypeClassic, 200, 100, time.Millisecond)
	target := s.image("pod-b-" + s.queue)
	s.replay(target)
	s.m.fence = s.source.pod
	s.m.reach(target.pod, handover.TakeOver, handover.Replaying)
	s.load.Wait()
	eventually(t, "the source to handle everything", func() bool { return len(s.source.state()) == s.each*len(s.names) })
	if state := target.State(); state != handover.Replaying {
		t.Fatalf("the target is %s beside a source that is %s", state, s.source.State())
	}
	s.cuts++
	s.source.cutOff(true)
	s.m.reach(target.pod, handover.Hello, handover.Live)
	s.judge(target)
}

// TestKeys moves a service whose handlers run in parallel, by producer.
func TestKeys(t *testing.T) {
	for _, kind := range []string{amqp.QueueTypeClassic, unlimitedQuorum} {
		t.Run(kind, func(t *testing.T) {
			s := newScene(t, kind, 300, 100, time.Millisecond, func(s *service, cfg *Config) {
				s.keys = true
				cfg.Concurrency, cfg.Key, cfg.Prefetch = 3, producer, 12
			})
			target := s.image("pod-b-" + s.queue)
			s.replay(target)
			s.m.send(s.source.pod, handover.Freeze, 20*time.Second)
			s.m.reach(target.pod, handover.Hello, handover.Live)
			s.judge(target)
		})
	}
}
