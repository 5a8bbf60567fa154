package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/brokertest"
	"ms2m.dev/ms2m/sdk/handover"
)

// broker is the RabbitMQ of these tests, started by the first that needs it:
// the simulation needs none.
var broker = sync.OnceValue(startBroker)

// atEnd is run when all tests have run.
var atEnd []func() error

func TestMain(m *testing.M) {
	code := m.Run()
	for _, f := range slices.Backward(atEnd) {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func startBroker() *brokertest.Broker {
	dir, err := os.MkdirTemp("", "sdk-test-")
	if err != nil {
		panic(err)
	}
	atEnd = append(atEnd, func() error { return os.RemoveAll(dir) })
	b, err := brokertest.Start(dir)
	if err != nil {
		panic(fmt.Errorf("this test needs RabbitMQ: %w", err))
	}
	atEnd = append(atEnd, b.Stop)
	return b
}

// service is a service as a user writes one, with the oracle inside: it keeps
// the identities it applied, in order.
type service struct {
	t    testing.TB
	pod  string
	work time.Duration
	out  string
	call func() ([]byte, error) // an outside call that handling a message makes
	keys bool                   // handlers run in parallel, by producer
	*Consumer

	mu      sync.Mutex
	applied []string
	twin    *service // made at the safe point, see image
	want    string   // the pod that an image is wanted for
	stop    context.CancelFunc
	ended   chan error
	conns   []net.Conn
	offline bool // its network is gone
}

func (s *service) handle(_ context.Context, m *Message) error {
	time.Sleep(s.work) // the work of the service
	if s.call != nil {
		if _, err := m.Once("call", s.call); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = append(s.applied, m.Identity())
	if s.out != "" {
		m.Publish(Output{RoutingKey: s.out, Body: []byte(m.Identity())})
	}
	return nil
}

func (s *service) digest() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys { // the order of messages of different keys is not part of the state
		return []byte(fmt.Sprint(len(s.applied)))
	}
	return []byte(fmt.Sprint(len(s.applied), s.applied[max(0, len(s.applied)-1):]))
}

func (s *service) state() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.applied)
}

// uid tells the pod. The library asks in its loop, which makes this the place
// to take an image in: nothing runs beside it there, as under a checkpoint.
func (s *service) uid() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want != "" && s.Consumer != nil && s.in.State() == handover.Paused {
		s.twin, s.want = s.copyTo(s.want), ""
	}
	return s.pod, nil
}

// copyTo is the image of a service of which nothing runs, to wake in another pod.
func (s *service) copyTo(pod string) *service {
	t := &service{t: s.t, pod: pod, work: s.work, out: s.out, call: s.call, keys: s.keys, applied: slices.Clone(s.applied)}
	cfg := s.cfg
	cfg.Pod.UID, cfg.Handler, cfg.Digest, cfg.Dial = t.uid, t.handle, t.digest, t.dial
	t.Consumer = &Consumer{cfg: cfg, inbox: newInbox(), epoch: s.epoch, in: s.in.Clone()}
	t.in.SetDigest(t.digest)
	s.others.mu.Lock()
	t.others.of = maps.Clone(s.others.of)
	s.others.mu.Unlock()
	t.tell()
	return t
}

func (s *service) dial(network, addr string) (net.Conn, error) {
	s.mu.Lock()
	offline := s.offline
	s.mu.Unlock()
	if offline {
		return nil, errors.New("cut off by the test")
	}
	c, err := amqp.DefaultDial(time.Second)(network, addr)
	if err == nil {
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
	}
	return c, err
}

// dials is how many connections were made since the last cut.
func (s *service) dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// cut breaks the service's connections as a network would.
func (s *service) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// cutOff takes the network away, or gives it back.
func (s *service) cutOff(off bool) {
	s.mu.Lock()
	s.offline = off
	s.mu.Unlock()
	if off {
		s.cut()
	}
}

// producer is the key of a message.
func producer(m *Message) string {
	name, _, _ := strings.Cut(m.Identity(), "-")
	return name
}

func newService(t testing.TB, pod, queue, out string, work time.Duration, change ...func(*service, *Config)) *service {
	t.Helper()
	s := &service{t: t, pod: pod, work: work, out: out}
	cfg := Config{
		URL: broker().URL, Queue: queue, Prefetch: 5, Handler: s.handle, Digest: s.digest, Dial: s.dial,
		Pod: PodInfo{UID: s.uid, Namespace: "test", Name: pod},
	}
	for _, f := range change {
		f(s, &cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.Consumer = c
	s.mu.Unlock()
	return s
}

func (s *service) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.ended = cancel, make(chan error, 1)
	go func() { s.ended <- s.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-s.ended; err != nil {
			s.t.Error(err)
		}
	})
}

const successor = "10.0.0.7"

// manager speaks the manager's side of the protocol.
type manager struct {
	t       testing.TB
	conn    *amqp.Connection
	ch      *amqp.Channel
	reports string
	inbox   <-chan amqp.Delivery
	returns chan amqp.Return

	migration  string
	attempt    int
	replay     string
	fence      string // the pod that TAKEOVER names
	sequential bool
}

func newManager(t testing.TB, migration string) *manager {
	t.Helper()
	conn, err := amqp.Dial(broker().URL)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	must(t, err)
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	must(t, err)
	in, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	must(t, err)
	m := &manager{t: t, conn: conn, ch: ch, reports: q.Name, inbox: in,
		returns:   ch.NotifyReturn(make(chan amqp.Return, 100)),
		migration: migration, attempt: 1, replay: handover.ReplayQueue(migration)}
	_, err = ch.QueueDeclare(m.replay, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeStream})
	must(t, err)
	return m
}

func (m *manager) send(pod string, kind handover.CommandKind, deadline time.Duration) {
	m.t.Helper()
	c := handover.Command{
		Version: handover.Version, Kind: kind, Migration: m.migration, Attempt: m.attempt, Epoch: 1, PodUID: pod,
		ReplayQueue: m.replay, FencePodUID: m.fence, DeadlineMillis: deadline.Milliseconds(), LeaseMillis: 30_000, ReportMillis: 20}
	switch kind {
	case handover.Prepare:
		c.Sequential = m.sequential
	case handover.Freeze:
		c.Successor = successor
	}
	body, err := json.Marshal(c)
	must(m.t, err)
	must(m.t, m.ch.PublishWithContext(context.Background(), "", handover.ControlQueue(pod), true, false,
		amqp.Publishing{ReplyTo: m.reports, Type: handover.TypeCommand, Body: body}))
}

// until sends a command again and again, as a manager whose commands may be
// lost does, until a report of this pod satisfies ok.
func (m *manager) until(pod string, kind handover.CommandKind, what string, ok func(handover.Report) bool) handover.Report {
	m.t.Helper()
	deadline := time.After(60 * time.Second)
	again := time.NewTicker(time.Second)
	defer again.Stop()
	var last string
	m.send(pod, kind, 20*time.Second)
	for {
		select {
		case d, open := <-m.inbox:
			if !open {
				m.t.Fatal("the manager's connection is lost")
			}
			var r handover.Report
			must(m.t, json.Unmarshal(d.Body, &r))
			last = string(d.Body)
			if r.Status.PodUID == pod && ok(r) {
				return r
			}
		case <-m.returns:
		case <-again.C:
			m.send(pod, kind, 20*time.Second)
		case <-deadline:
			m.t.Fatalf("waited for %s of %s; last report: %s", what, pod, last)
		}
	}
}

func (m *manager) reach(pod string, kind handover.CommandKind, state handover.State) handover.Report {
	m.t.Helper()
	return m.until(pod, kind, string(state), func(r handover.Report) bool { return r.Status.State == state })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// producers sends n messages each to a queue and returns when all are confirmed.
func producers(t testing.TB, queue string, names []string, n, size int, pace time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			conn, err := amqp.Dial(broker().URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			ch, err := conn.Channel()
			if err != nil {
				t.Error(err)
				return
			}
			if err := ch.Confirm(false); err != nil {
				t.Error(err)
				return
			}
			body := []byte(strings.Repeat("x", size))
			for i := range n {
				c, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), "", queue, true, false,
					amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: fmt.Sprintf("%s-%d", name, i), Body: body})
				if err != nil || !c.Wait() {
					t.Error("publish:", err)
					return
				}
				time.Sleep(pace)
			}
		})
	}
	wg.Wait()
}

// unlimitedQuorum is a quorum queue without a delivery limit: RabbitMQ treats
// what is given back to it in a way of its own.
const unlimitedQuorum = "quorum without delivery limit"

func declare(t testing.TB, conn *amqp.Connection, queue, kind string) {
	t.Helper()
	ch, err := conn.Channel()
	must(t, err)
	defer ch.Close()
	args := amqp.Table{amqp.QueueTypeArg: kind}
	if kind == unlimitedQuorum {
		args = amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-delivery-limit": int32(-1)}
	}
	_, err = ch.QueueDeclare(queue, true, false, false, false, args)
	must(t, err)
}
