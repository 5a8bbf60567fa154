package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// session is one connection to the broker. Effects are carried out by one
// goroutine in their order, so that the loop never waits for the network;
// what comes back is posted to the inbox under this session's name.
type session struct {
	cfg   Config
	inbox *inbox
	conn  *amqp.Connection

	primary  *amqp.Channel // deliveries and their settlement; nil after a release
	publish  *amqp.Channel // outputs and entries, confirmed, in order
	control  *amqp.Channel // commands and reports
	commands string        // the control queue; empty outside Kubernetes
	replay   *amqp.Channel // the replay queue, while replaying
	decision *amqp.Channel // for the decision at the end of a replay; nil: another is opened for it
	fence    *fence        // the source's control queue, during a takeover

	ops    chan struct{} // rings when todo grows
	done   chan struct{} // closed when the session has ended
	closed chan struct{} // closed when its connection is, too
	once   sync.Once

	forwarding sync.WaitGroup // until the last delivery of the primary channel is posted

	mu       sync.Mutex
	todo     []func() error
	pending  map[uint64]*pending // by publishing sequence number
	released bool                // the primary channel was closed by us
}

// pending is what a publishing waits for its confirm for.
type pending struct {
	event    handover.Event // posted when the last one of the group is confirmed
	group    *int
	returned bool
}

// replayCredit bounds the entries of the replay queue that are on their way
// from the broker or waiting to be applied.
const replayCredit = 1000

// openSession opens the channels. Nothing that acts is sent.
func openSession(cfg Config, box *inbox) (*session, error) {
	conn, err := amqp.DialConfig(cfg.URL, cfg.amqpConfig())
	if err != nil {
		return nil, err
	}
	s := &session{
		cfg: cfg, inbox: box, conn: conn,
		ops: make(chan struct{}, 1), done: make(chan struct{}), closed: make(chan struct{}),
		pending: make(map[uint64]*pending),
	}
	if err := s.openChannels(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) openChannels() (err error) {
	if err := s.openPrimary(); err != nil {
		return err
	}
	if s.control, err = s.conn.Channel(); err != nil {
		return err
	}
	if s.publish, err = s.conn.Channel(); err != nil {
		return err
	}
	return s.publish.Confirm(false)
}

// start begins to carry out effects.
func (s *session) start() {
	closed := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	for _, ch := range []*amqp.Channel{s.primary, s.publish, s.control} {
		s.watchChannel(ch)
	}
	// Unbuffered and read by one goroutine: the broker sends basic.return before
	// the confirm of the same publishing, and this keeps that order.
	returns := s.publish.NotifyReturn(make(chan amqp.Return))
	confirms := s.publish.NotifyPublish(make(chan amqp.Confirmation))
	go s.watchConfirms(returns, confirms)
	go func() {
		if err := <-closed; err != nil {
			s.end(err)
		} else {
			s.end(amqp.ErrClosed)
		}
	}()
	go s.work()
	s.do(s.takeCommands)
}

func (s *session) watchChannel(ch *amqp.Channel) {
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	go func() {
		if err := <-closed; err != nil {
			s.end(err)
		}
	}()
}

// end ends the session, once, and tells the loop.
func (s *session) end(err error) {
	s.once.Do(func() {
		close(s.done)
		s.inbox.post(posted{session: s, lost: err})
		go func() {
			_ = s.conn.Close() // may wait for a dead peer
			close(s.closed)
		}()
	})
}

// finish ends the session when what was queued is carried out and the broker has
// taken it, or after a time. The process may go at once after it: a settlement
// that was still on its way would be lost with it, and the message come again,
// to another consumer of the queue.
func (s *session) finish(within time.Duration) {
	s.do(func() error { return context.Canceled })
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-s.closed:
	case <-timer.C:
		s.end(context.Canceled)
	}
}

func (s *session) post(ev handover.Event) { s.inbox.post(posted{session: s, event: ev}) }

// do queues an operation.
func (s *session) do(op func() error) {
	s.mu.Lock()
	s.todo = append(s.todo, op)
	s.mu.Unlock()
	select {
	case s.ops <- struct{}{}:
	default:
	}
}

func (s *session) work() {
	for {
		select {
		case <-s.done:
			return
		case <-s.ops:
		}
		s.mu.Lock()
		todo := s.todo
		s.todo = nil
		s.mu.Unlock()
		for _, op := range todo {
			if err := op(); err != nil {
				s.end(err)
				return
			}
		}
	}
}

func (s *session) watchConfirms(returns <-chan amqp.Return, confirms <-chan amqp.Confirmation) {
	for returns != nil || confirms != nil {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			s.returned(r)
		case c, ok := <-confirms:
			if !ok {
				confirms = nil
				continue
			}
			s.confirmed(c)
		}
	}
}

func (s *session) returned(r amqp.Return) {
	seq, err := strconv.ParseUint(r.CorrelationId, 10, 64)
	if err != nil {
		return
	}
	s.mu.Lock()
	if p := s.pending[seq]; p != nil {
		p.returned = true
	}
	s.mu.Unlock()
	s.post(handover.EntryReturned{})
}

func (s *session) confirmed(c amqp.Confirmation) {
	s.mu.Lock()
	p := s.pending[c.DeliveryTag]
	delete(s.pending, c.DeliveryTag)
	s.mu.Unlock()
	switch {
	case p == nil:
	case !c.Ack:
		s.end(fmt.Errorf("the broker refused publishing %d", c.DeliveryTag))
	case p.returned:
	default:
		if *p.group--; *p.group == 0 {
			s.post(p.event)
		}
	}
}

// send publishes a group of messages; ev is posted when all are confirmed.
func (s *session) send(ev handover.Event, exchange, key string, mandatory bool, group *int, p amqp.Publishing) error {
	seq := s.publish.GetNextPublishSeqNo()
	s.mu.Lock()
	s.pending[seq] = &pending{event: ev, group: group}
	s.mu.Unlock()
	if mandatory {
		p.CorrelationId = strconv.FormatUint(seq, 10)
	}
	return s.publish.PublishWithContext(context.Background(), exchange, key, mandatory, false, p)
}

// outputs publishes what the handling of the item put out, if it succeeded.
func (s *session) outputs(it *handover.Item, lineage string) error {
	m := it.Payload.(*Message)
	ev := handover.OutputsConfirmed{Item: it}
	if it.Outcome != handover.Done || len(m.outputs) == 0 {
		s.post(ev)
		return nil
	}
	input := m.identity
	if input == "" {
		input = fmt.Sprintf("%s-%d", lineage, it.Number)
	}
	n := len(m.outputs)
	for i, o := range m.outputs {
		id := fmt.Sprintf("%s/%s/%d", m.Queue, input, i)
		if err := s.send(ev, o.Exchange, o.RoutingKey, false, &n, o.publishing(id)); err != nil {
			return err
		}
	}
	return nil
}

// entry appends to the replay queue. It is mandatory: a publishing to a queue
// that is gone is confirmed, too.
func (s *session) entry(ev handover.Event, queue string, h handover.EntryHeader, body []byte) error {
	parts, err := handover.EncodeEntry(h, body)
	if err != nil {
		return err
	}
	n := len(parts)
	for _, p := range parts {
		err := s.send(ev, "", queue, true, &n, amqp.Publishing{
			DeliveryMode: amqp.Persistent, Type: handover.TypeEntry, Body: p})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) consumeReplay(queue string) error {
	ch, err := s.conn.Channel()
	if err != nil {
		return err
	}
	s.watchChannel(ch)
	decision, err := s.conn.Channel()
	if err != nil {
		return err
	}
	s.replay, s.decision = ch, decision
	if err := ch.Qos(replayCredit, 0, false); err != nil {
		return err
	}
	ds, err := ch.Consume(queue, "", false, false, false, false, amqp.Table{"x-stream-offset": "first"})
	if err != nil {
		return fmt.Errorf("consume %s: %w", queue, err)
	}
	go func() {
		var parts handover.Assembler
		for d := range ds {
			h, body, err := handover.DecodeEntry(d.Body)
			if err != nil {
				s.end(err)
				return
			}
			if whole, body, ok := parts.Add(h, body); ok {
				ev := handover.Entered{Tag: d.DeliveryTag, Header: whole}
				if whole.Kind == handover.EntryMessage {
					queue, err := s.cfg.queueOf(whole)
					if err != nil {
						s.end(err)
						return
					}
					m := fromEntry(whole, queue, body)
					ev.Key, ev.Payload = s.cfg.keyOf(m), m
				}
				s.post(ev)
			}
		}
	}()
	return nil
}

// declareControl takes the queue of commands. It is exclusive: while the broker
// still keeps an older connection of this pod, or a target fences it off
// (handover.Fence), it refuses, and so does this. That is wanted: what that
// connection holds unacknowledged would otherwise be overtaken by what comes after it.
func (s *session) declareControl(pod string) error {
	q, err := s.control.QueueDeclare(handover.ControlQueue(pod), false, true, true, false, nil)
	if err != nil {
		return fmt.Errorf("declare control queue: %w", err)
	}
	s.commands = q.Name
	return nil
}

// takeCommands begins to take commands.
func (s *session) takeCommands() error {
	if s.commands == "" {
		return nil
	}
	ds, err := s.control.Consume(s.commands, "", true, true, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume control queue: %w", err)
	}
	go func() {
		for d := range ds {
			var c handover.Command
			if err := json.Unmarshal(d.Body, &c); err != nil {
				s.cfg.Logger.Warn("ms2m: not a command", "error", err)
				continue
			}
			s.post(handover.Commanded{Command: c, ReplyTo: d.ReplyTo, CorrelationID: d.CorrelationId})
		}
	}()
	return nil
}

func (s *session) report(e handover.Send) error {
	body, err := json.Marshal(e.Report)
	if err != nil {
		return err
	}
	return s.control.PublishWithContext(context.Background(), "", e.To, false, false, amqp.Publishing{
		Type: handover.TypeReport, ContentType: "application/json", CorrelationId: e.CorrelationID, Body: body})
}
