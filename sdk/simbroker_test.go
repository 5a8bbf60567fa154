package sdk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/internal/simbroker"
)

// script does something with a broker and tells what it saw.
type script struct {
	t     *testing.T
	dials func() *amqp.Connection
	queue string // a name of its own
	saw   []string
}

// TestSimulatedBrokerIsRabbitMQ runs the same scripts against RabbitMQ and
// against the simulated broker: they must see the same. What the simulation of
// the library relies on is here.
func TestSimulatedBrokerIsRabbitMQ(t *testing.T) {
	for name, run := range map[string]func(*script){
		"given back classic":  func(s *script) { s.givenBack(amqp.QueueTypeClassic) },
		"given back quorum":   func(s *script) { s.givenBack(amqp.QueueTypeQuorum) },
		"rejected classic":    func(s *script) { s.rejected(amqp.QueueTypeClassic) },
		"rejected quorum":     func(s *script) { s.rejected(amqp.QueueTypeQuorum) },
		"unknown tag":         (*script).unknownTag,
		"exclusive":           (*script).exclusive,
		"exchanges":           (*script).exchanges,
		"returns and confirm": (*script).returns,
		"stream":              (*script).stream,
		"get":                 (*script).get,
		"queue is deleted":    (*script).deleted,
		"several queues":      (*script).several,
	} {
		t.Run(name, func(t *testing.T) {
			queue := "script-" + fmt.Sprint(rand.Uint64())
			real := &script{t: t, queue: queue, dials: func() *amqp.Connection {
				conn, err := amqp.Dial(broker().URL)
				must(t, err)
				return conn
			}}
			run(real)
			simulated := &script{t: t, queue: queue}
			synctest.Test(t, func(t *testing.T) {
				srv := newSimServer()
				defer srv.stop()
				simulated.t, simulated.dials = t, srv.dial
				run(simulated)
			})
			if d := cmp.Diff(real.saw, simulated.saw); d != "" {
				t.Errorf("RabbitMQ (-) and the simulated broker (+) differ:\n%s", d)
			}
		})
	}
}

// simServer lets the simulated broker do everything as soon as it can.
type simServer struct {
	mu    sync.Mutex
	b     *simbroker.Broker
	ended chan struct{}
}

func newSimServer() *simServer {
	s := &simServer{b: simbroker.New(), ended: make(chan struct{})}
	go func() {
		r := rand.New(rand.NewPCG(1, 1))
		for {
			select {
			case <-s.ended:
				return
			case <-time.After(time.Millisecond):
			}
			s.mu.Lock()
			for cs := s.b.Choices(nil); len(cs) > 0; cs = s.b.Choices(nil) {
				s.b.Do(cs[0], r)
			}
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *simServer) stop() { close(s.ended) }

func (s *simServer) dial() *amqp.Connection {
	conn, err := amqp.DialConfig("amqp://guest:guest@simulated/", amqp.Config{Dial: func(string, string) (net.Conn, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		c, _ := s.b.Accept("script")
		return c, nil
	}})
	if err != nil {
		panic(err)
	}
	return conn
}

func (s *script) see(format string, args ...any) { s.saw = append(s.saw, fmt.Sprintf(format, args...)) }

func (s *script) channel(conn *amqp.Connection) *amqp.Channel {
	ch, err := conn.Channel()
	must(s.t, err)
	return ch
}

// code is the reply code of an error, or 0.
func code(err error) int {
	var e *amqp.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// fill declares the queue and publishes n messages to it.
func (s *script) fill(conn *amqp.Connection, kind string, n int) {
	ch := s.channel(conn)
	_, err := ch.QueueDeclare(s.queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: kind})
	must(s.t, err)
	must(s.t, ch.Confirm(false))
	for i := range n {
		c, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), "", s.queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: fmt.Sprint(i), Body: []byte("b")})
		must(s.t, err)
		if !c.Wait() {
			s.t.Error("not confirmed")
		}
	}
	must(s.t, ch.Close())
}

func (s *script) take(ds <-chan amqp.Delivery, n int) []amqp.Delivery {
	var all []amqp.Delivery
	for range n {
		select {
		case d := <-ds:
			all = append(all, d)
			s.see("%s redelivered=%v tag=%d", d.MessageId, d.Redelivered, d.DeliveryTag)
		case <-time.After(5 * time.Second):
			s.see("nothing more")
			return all
		}
	}
	return all
}

func (s *script) consumers(conn *amqp.Connection) int {
	ch := s.channel(conn)
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(s.queue, true, false, false, false, nil)
	must(s.t, err)
	return q.Consumers
}

// givenBack: what a channel held comes back in order when it is closed, or its
// connection is, and the consumer goes in the same step.
func (s *script) givenBack(kind string) {
	conn := s.dials()
	defer conn.Close()
	s.fill(conn, kind, 9)
	for round, prefetch := range []int{4, 4, 2, 1, 9} {
		c := s.dials()
		ch := s.channel(c)
		must(s.t, ch.Qos(prefetch, 0, false))
		ds, err := ch.Consume(s.queue, "", false, false, false, false, nil)
		must(s.t, err)
		s.see("%d consumers", s.consumers(conn))
		got := s.take(ds, prefetch-round%2)
		if round == 0 {
			must(s.t, got[0].Ack(false))
			s.take(ds, 1)
		}
		if round%2 == 0 {
			must(s.t, ch.Close())
			if kind == amqp.QueueTypeClassic { // a quorum queue may be late
				s.see("%d consumers", s.consumers(conn))
			}
		}
		must(s.t, c.Close())
		for s.consumers(conn) > 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func (s *script) rejected(kind string) {
	conn := s.dials()
	defer conn.Close()
	s.fill(conn, kind, 6)
	ch := s.channel(conn)
	must(s.t, ch.Qos(3, 0, false))
	ds, err := ch.Consume(s.queue, "", false, false, false, false, nil)
	must(s.t, err)
	got := s.take(ds, 3)
	must(s.t, got[1].Reject(true))
	s.take(ds, 1)
	must(s.t, got[2].Reject(false))
	s.take(ds, 1)
	must(s.t, ch.Ack(0, true)) // all
	s.take(ds, 3)
}

func (s *script) unknownTag() {
	conn := s.dials()
	defer conn.Close()
	s.fill(conn, amqp.QueueTypeClassic, 1)
	ch := s.channel(conn)
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	must(s.t, ch.Ack(7, false))
	s.see("unknown tag: %d", (<-closed).Code)
}

func (s *script) exclusive() {
	one, two := s.dials(), s.dials()
	defer two.Close()
	ch := s.channel(one)
	_, err := ch.QueueDeclare(s.queue, false, true, true, false, nil)
	must(s.t, err)
	_, err = s.channel(two).QueueDeclare(s.queue, false, true, true, false, nil)
	s.see("declare: %d", code(err))
	_, err = s.channel(two).QueueDeclarePassive(s.queue, false, true, true, false, nil)
	s.see("passive: %d", code(err))
	_, err = s.channel(two).Consume(s.queue, "", true, false, false, false, nil)
	s.see("consume: %d", code(err))
	must(s.t, one.Close())
	// The client knows of the end before the broker does.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err = s.channel(two).QueueDeclare(s.queue, false, true, true, false, nil); code(err) != amqp.ResourceLocked {
			break
		}
	}
	s.see("after the owner's end: %d", code(err))
	q, err := s.channel(two).QueueDeclare("", false, true, true, false, nil)
	s.see("named by the broker: %v %v", q.Name != "", err)
}

func (s *script) exchanges() {
	conn := s.dials()
	defer conn.Close()
	declare := func(kind string, passive bool) {
		ch := s.channel(conn)
		f := ch.ExchangeDeclare
		if passive {
			f = ch.ExchangeDeclarePassive
		}
		s.see("%s passive=%v: %d", kind, passive, code(f(s.queue, kind, true, false, false, false, nil)))
	}
	declare("direct", true)
	declare("fanout", false)
	declare("fanout", false)
	declare("direct", false)
	declare("fanout", true)
	must(s.t, s.channel(conn).ExchangeDelete(s.queue, false, false))
	declare("direct", true)
	ch := s.channel(conn)
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	must(s.t, ch.PublishWithContext(context.Background(), s.queue, "", false, false, amqp.Publishing{}))
	s.see("publish to none: %d", (<-closed).Code)
}

func (s *script) returns() {
	conn := s.dials()
	defer conn.Close()
	ch := s.channel(conn)
	must(s.t, ch.Confirm(false))
	returns, confirms := ch.NotifyReturn(make(chan amqp.Return)), ch.NotifyPublish(make(chan amqp.Confirmation))
	for _, mandatory := range []bool{true, false, true} {
		must(s.t, ch.PublishWithContext(context.Background(), "", s.queue, mandatory, false, amqp.Publishing{CorrelationId: "c", Body: []byte("b")}))
		for confirmed := false; !confirmed; {
			select {
			case r := <-returns:
				s.see("returned: %d %s %s %s", r.ReplyCode, r.ReplyText, r.CorrelationId, r.Body)
			case c := <-confirms:
				s.see("confirmed: %d %v", c.DeliveryTag, c.Ack)
				confirmed = true
			}
		}
	}
}

func (s *script) stream() {
	conn := s.dials()
	defer conn.Close()
	s.fill(conn, amqp.QueueTypeStream, 5)
	_, err := s.channel(conn).Consume(s.queue, "", false, false, false, false, amqp.Table{"x-stream-offset": "first"})
	s.see("without prefetch: %d", code(err))
	for range 2 {
		ch := s.channel(conn)
		must(s.t, ch.Qos(2, 0, false))
		ds, err := ch.Consume(s.queue, "", false, false, false, false, amqp.Table{"x-stream-offset": "first"})
		must(s.t, err)
		for _, n := range []int{2, 2, 1} {
			var last uint64
			for range n {
				d := <-ds
				s.see("%s tag=%d", d.MessageId, d.DeliveryTag)
				last = d.DeliveryTag
			}
			must(s.t, ch.Ack(last, true))
		}
		must(s.t, ch.Close())
	}
}

func (s *script) get() {
	conn := s.dials()
	defer conn.Close()
	s.fill(conn, amqp.QueueTypeClassic, 1)
	for range 2 {
		ch := s.channel(conn)
		d, ok, err := ch.Get(s.queue, false)
		must(s.t, err)
		s.see("%v %s redelivered=%v tag=%d", ok, d.MessageId, d.Redelivered, d.DeliveryTag)
		_, ok, err = s.channel(conn).Get(s.queue, false)
		s.see("another: %v %v", ok, err)
		must(s.t, d.Nack(false, true))
		must(s.t, ch.Close())
	}
	_, _, err := s.channel(conn).Get(s.queue+"-none", false)
	s.see("none: %d", code(err))
}

func (s *script) deleted() {
	conn := s.dials()
	defer conn.Close()
	s.fill(conn, amqp.QueueTypeClassic, 2)
	ds, err := s.channel(conn).Consume(s.queue, "tag", false, false, false, false, nil)
	must(s.t, err)
	s.take(ds, 2)
	n, err := s.channel(conn).QueueDelete(s.queue, false, false, false)
	s.see("deleted: %d %v", n, err)
	_, open := <-ds
	s.see("consumer: %v", open)
	_, err = s.channel(conn).Consume(s.queue, "", false, false, false, false, nil)
	s.see("consume: %d", code(err))
}
