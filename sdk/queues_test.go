package sdk

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// newQueuesScene is a scene with three queues of different kinds, each with a
// producer of its own.
func newQueuesScene(t *testing.T, each int, pace time.Duration) (*scene, []string) {
	var queues []string
	s := newScene(t, amqp.QueueTypeClassic, 0, 0, 0, func(_ *service, c *Config) {
		queues = []string{c.Queue, c.Queue + "-quorum", c.Queue + "-unlimited"}
		c.Queue, c.Queues = "", queues
	})
	// These come to exist while the service looks for them.
	declare(t, s.m.conn, queues[1], amqp.QueueTypeQuorum)
	declare(t, s.m.conn, queues[2], unlimitedQuorum)
	s.each = each
	for i, q := range queues {
		s.load.Go(func() { producers(t, q, s.names[i:i+1], each, 10, pace) })
	}
	return s, queues
}

// TestQueues moves a service with three queues, in the middle of backlogs and of
// lost connections.
func TestQueues(t *testing.T) {
	for name, cuts := range map[string]bool{"backlog": false, "connections cut": true} {
		t.Run(name, func(t *testing.T) {
			s, queues := newQueuesScene(t, 200, time.Millisecond)
			cut := func(svc *service) {
				if cuts {
					s.cuts++
					svc.cut()
				}
			}
			r := s.m.until(s.source.pod, handover.Hello, "Live, with an identity", func(r handover.Report) bool { return r.Status.State == handover.Live })
			if r.Status.Queue != "" || !slices.Equal(r.Status.Queues, queues) {
				t.Errorf("HELLO says queue %q, queues %q", r.Status.Queue, r.Status.Queues)
			}
			cut(s.source)
			target := s.image("pod-b-" + s.queue)
			cut(s.source)
			s.replay(target)
			cut(target)
			s.m.send(s.source.pod, handover.Freeze, 20*time.Second)
			cut(s.source)
			s.m.until(s.source.pod, handover.Freeze, "Frozen or Retired", func(r handover.Report) bool {
				return r.Status.State == handover.Frozen || r.Status.State == handover.Retired
			})
			s.m.reach(target.pod, handover.Hello, handover.Live)
			s.judge(target)
		})
	}
}

// TestQueueMissing: nothing is taken while one of the queues is not there, and
// all goes on when it is.
func TestQueueMissing(t *testing.T) {
	s, queues := newQueuesScene(t, 50, 0)
	s.judge(s.source)
	ch, err := s.m.conn.Channel()
	must(t, err)
	send := func(queue, id string) {
		must(t, ch.PublishWithContext(context.Background(), "", queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: id}))
	}
	_, err = ch.QueueDelete(queues[1], false, false, false)
	must(t, err)
	eventually(t, "the service to be off the other queues", func() bool {
		return !slices.ContainsFunc([]string{queues[0], queues[2]}, func(name string) bool {
			q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			must(t, err)
			return q.Consumers > 0
		})
	})
	before := len(s.source.state())
	for _, q := range []string{queues[0], queues[2]} {
		send(q, "both") // one identity in two queues: two messages
	}
	dialled := s.source.dials()
	eventually(t, "the service to connect again and again", func() bool { return s.source.dials() > dialled+2 })
	if n := len(s.source.state()); n != before {
		t.Errorf("%d messages were taken while a queue was missing", n-before)
	}
	declare(t, s.m.conn, queues[1], amqp.QueueTypeQuorum)
	send(queues[1], "back")
	eventually(t, "the rest", func() bool { return len(s.source.state()) >= before+3 })
	got := s.source.state()[before:]
	slices.Sort(got)
	if !slices.Equal(got, []string{"back", "both", "both"}) {
		t.Errorf("applied %v", got)
	}
}

// TestQueuesConfig: what is wrong with a configuration is named.
func TestQueuesConfig(t *testing.T) {
	for want, queues := range map[string]Config{
		"Queue is required, or Queues": {},
		"not both":                     {Queue: "a", Queues: []string{"b", "c"}},
		`Queues[1] is ""`:              {Queues: []string{"a", ""}},
		`Queues[2] is "a"`:             {Queues: []string{"a", "b", "a"}},
	} {
		c := queues
		c.URL, c.Handler = "amqp://broker/", func(context.Context, *Message) error { return nil }
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q and %q: %v, want %q", queues.Queue, queues.Queues, err, want)
		}
	}
	one := Config{URL: "amqp://broker/", Queues: []string{"a"}, Handler: func(context.Context, *Message) error { return nil }}
	if c, err := New(one); err != nil || c.in.Status().Queue != "a" || c.in.Status().Queues != nil {
		t.Errorf("a list of one queue is that queue: %v", err)
	}
	if _, err := (Config{Queues: []string{"a", "b"}}).queueOf(handover.EntryHeader{Queue: "c"}); err == nil {
		t.Error("an entry of a queue that is not the service's is taken")
	}
	if q, err := (Config{Queues: []string{"a"}}).queueOf(handover.EntryHeader{}); err != nil || q != "a" {
		t.Errorf("an entry of the only queue is of %q: %v", q, err)
	}
}

// several: a channel with consumers of two queues has the prefetch for each, tags
// for both, and gives back to each in order.
func (s *script) several() {
	conn := s.dials()
	defer conn.Close()
	kinds := map[string]string{s.queue: amqp.QueueTypeClassic, s.queue + "-2": amqp.QueueTypeQuorum}
	queues := []string{s.queue, s.queue + "-2"}
	c := s.dials()
	defer c.Close()
	for _, prefetch := range []int{3, 9} {
		ch := s.channel(c)
		must(s.t, ch.Qos(prefetch, 0, false))
		for _, q := range queues {
			s.queue = q
			if prefetch == 3 {
				s.fill(conn, kinds[q], 5)
			}
			ds, err := ch.Consume(q, "of "+q, false, false, false, false, nil)
			must(s.t, err)
			s.take(ds, min(prefetch, 5))
			select {
			case d := <-ds:
				s.see("too many: %s", d.MessageId)
			case <-time.After(50 * time.Millisecond):
			}
			s.see("%d consumers", s.consumers(conn))
		}
		must(s.t, ch.Close())
		for _, s.queue = range queues {
			for s.consumers(conn) > 0 {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
}
