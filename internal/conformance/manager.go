package conformance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/docs/schema"
	"ms2m.dev/ms2m/sdk/handover"
)

// manager is the manager's side of the wire.
type manager struct {
	ch       *amqp.Channel
	reports  string
	mu       sync.Mutex
	heard    []heard
	returned map[string]bool // by correlation
	grew     chan struct{}
}

// heard is a report as it came.
type heard struct {
	handover.Report
	correlation, kind string // AMQP correlation-id and type
	raw               []byte
	err               error // if it is no report at all
	at                time.Time
}

func newManager(s *stage) *manager {
	ch, err := s.conn.Channel()
	s.must(err)
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	s.must(err)
	in, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	s.must(err)
	m := &manager{ch: ch, reports: q.Name, returned: map[string]bool{}, grew: make(chan struct{})}
	returns := ch.NotifyReturn(make(chan amqp.Return, 100))
	go func() {
		for r := range returns {
			m.note(func() { m.returned[r.CorrelationId] = true })
		}
	}()
	go func() {
		for d := range in {
			h := heard{correlation: d.CorrelationId, kind: d.Type, raw: d.Body, at: time.Now()}
			h.err = json.Unmarshal(d.Body, &h.Report)
			m.note(func() { m.heard = append(m.heard, h) })
		}
	}()
	return m
}

func (m *manager) note(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.grew)
	m.grew = make(chan struct{})
}

func (m *manager) since(n int) ([]heard, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard[n:], m.grew
}

// unroutable reports whether a command came back.
func (m *manager) unroutable(correlation string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.returned[correlation]
}

// option changes a command.
type option = func(*handover.Command)

func deadline(d time.Duration) option {
	return func(c *handover.Command) { c.DeadlineMillis = d.Milliseconds() }
}
func attempt(n int) option          { return func(c *handover.Command) { c.Attempt = n } }
func epoch(n int64) option          { return func(c *handover.Command) { c.Epoch = n } }
func ofMigration(uid string) option { return func(c *handover.Command) { c.Migration = uid } }

// command makes a command as the manager of this migration sends it.
func (s *stage) command(kind handover.CommandKind, change ...option) handover.Command {
	c := handover.Command{Version: handover.Version, Kind: kind, Migration: s.migration, Attempt: s.attempt, Epoch: s.epoch, PodUID: s.pod,
		LeaseMillis: s.lease.Milliseconds(), ReportMillis: 50}
	switch kind {
	case handover.Prepare, handover.StartReplay:
		c.ReplayQueue, c.DeadlineMillis = s.replay, (30 * time.Second).Milliseconds()
	case handover.Freeze:
		c.DeadlineMillis = (10 * time.Second).Milliseconds()
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// tell sends a command and gives its correlation.
func (s *stage) tell(kind handover.CommandKind, change ...option) string {
	body, err := json.Marshal(s.command(kind, change...))
	s.must(err)
	return s.tellRaw(body)
}

func (s *stage) tellRaw(body []byte) string {
	s.correlations++
	id := fmt.Sprintf("c%d", s.correlations)
	s.must(s.manager.ch.PublishWithContext(context.Background(), "", handover.ControlQueue(s.pod), true, false,
		amqp.Publishing{Type: handover.TypeCommand, ContentType: "application/json", ReplyTo: s.manager.reports, CorrelationId: id, Body: body}))
	return id
}

// now is a mark in what was heard.
func (s *stage) now() int {
	all, _ := s.manager.since(0)
	return len(all)
}

// hear waits for a report after the mark.
func (s *stage) hear(since int, patience time.Duration, ok func(heard) bool) (found heard, yes bool) {
	yes = s.wait(patience, func() (bool, <-chan struct{}) {
		all, more := s.manager.since(since)
		for _, h := range all {
			if h.err == nil && ok(h) {
				found = h
				return true, nil
			}
		}
		return false, more
	})
	return found, yes
}

// ask sends a command and waits for its answer. One that comes later than at
// once (PREPARED, FROZEN) may come without the correlation.
func (s *stage) ask(kind handover.CommandKind, change ...option) heard {
	since := s.now()
	for range 20 {
		id := s.tell(kind, change...)
		var answer *heard
		s.wait(s.cfg.Patience, func() (bool, <-chan struct{}) {
			all, more := s.manager.since(since)
			for _, h := range all {
				if h.err == nil && (h.correlation == id || h.correlation == "" && h.Answers == kind) {
					answer = &h
				}
			}
			return answer != nil || s.manager.unroutable(id), more
		})
		if answer != nil {
			return *answer
		}
		if !s.manager.unroutable(id) {
			s.stop("no answer to %s within %v", kind, s.cfg.Patience)
		}
		s.quiet(200 * time.Millisecond) // it is connecting
	}
	s.stop("%s was returned as unroutable for 4 s: there is no control queue %s", kind, handover.ControlQueue(s.pod))
	return heard{}
}

// reach sends HELLO until the state is reached, and gives the last answer.
func (s *stage) reach(patience time.Duration, state handover.State) (h heard, ok bool) {
	until := time.Now().Add(patience)
	for time.Now().Before(until) {
		since := s.now()
		s.tell(handover.Hello)
		got, yes := s.hear(since, 250*time.Millisecond, func(h heard) bool { return h.Status.PodUID == s.pod })
		if yes {
			h = got
		}
		if yes && h.Status.State == state {
			return h, true
		}
	}
	return h, false
}

// stand reaches a state, or ends the scenario.
func (s *stage) stand(state handover.State) {
	h, ok := s.reach(s.cfg.Patience, state)
	if !ok {
		s.stop("the implementation is to be %s; last heard: %s", state, h.raw)
	}
}

// model is the service as it is to be.
type model struct {
	count int
	chain string
}

func (m *model) apply(id string, body []byte, once string) {
	b := sha256.Sum256(body)
	link := sha256.Sum256([]byte(m.chain + "|" + id + "|" + hex.EncodeToString(b[:]) + "|" + once))
	m.count, m.chain = m.count+1, hex.EncodeToString(link[:])
}

// told is an output of the service.
type told struct {
	Identity string `json:"identity"`
	Count    int    `json:"count"`
	Chain    string `json:"chain"`
	Once     string `json:"once"`
}

// said are the outputs so far.
func (s *stage) said() []told {
	all, _ := s.outputs.all()
	var out []told
	for _, d := range all {
		var t told
		if err := json.Unmarshal(d.Body, &t); err != nil {
			s.stop("an output is not what docs/conformance.md asks for: %q", d.Body)
		}
		out = append(out, t)
	}
	return out
}

// outputOf waits for the output of a message.
func (s *stage) outputOf(id string) (t told, ok bool) {
	ok = s.wait(s.cfg.Patience, func() (bool, <-chan struct{}) {
		_, more := s.outputs.all()
		for _, t = range s.said() {
			if t.Identity == id {
				return true, nil
			}
		}
		return false, more
	})
	return t, ok
}

// handled waits until the messages are handled, follows them in the model, and
// stops the scenario if they are not.
func (s *stage) handled(ms ...message) {
	for _, m := range ms {
		t, ok := s.outputOf(m.id)
		if !ok {
			s.stop("message %s is not handled (no output within %v)", m.id, s.cfg.Patience)
		}
		s.model.apply(m.id, m.body, t.Once)
	}
}

// outputsOf counts the outputs of a message.
func (s *stage) outputsOf(id string) (n int) {
	for _, t := range s.said() {
		if t.Identity == id {
			n++
		}
	}
	return n
}

// entry is an entry of the replay queue, whole.
type entry struct {
	handover.EntryHeader
	body  []byte
	parts []amqp.Delivery
}

// relayed are the entries so far.
func (s *stage) relayed() []entry {
	all, _ := s.entries.all()
	var out []entry
	var parts []amqp.Delivery
	var a handover.Assembler
	for _, d := range all {
		h, payload, err := handover.DecodeEntry(d.Body)
		if err != nil {
			s.stop("what is in the replay queue is no entry: %v", err)
		}
		parts = append(parts, d)
		if whole, body, ok := a.Add(h, payload); ok {
			out = append(out, entry{whole, body, parts})
			parts = nil
		}
	}
	return out
}

// entryOf waits for the entry of a message.
func (s *stage) entryOf(id string) (e entry, ok bool) {
	ok = s.wait(s.cfg.Patience, func() (bool, <-chan struct{}) {
		_, more := s.entries.all()
		for _, e = range s.relayed() {
			if e.Identity == id && e.Kind == handover.EntryMessage {
				return true, nil
			}
		}
		return false, more
	})
	return e, ok
}

// relay begins to read the replay queue.
func (s *stage) readReplay() {
	s.entries = s.collect(s.replay, amqp.Table{"x-stream-offset": "first"})
}

// checkSchemas holds everything that was said against the schemas.
func (s *stage) checkSchemas() {
	clause := s.results[len(s.results)-1].ID
	all, _ := s.manager.since(0)
	s.check(clause, true, "", "")
	for _, h := range all {
		if err := s.schemas.Check(schema.Report, h.raw); err != nil {
			s.check(clause, false, "a report as docs/schema/report.json says", fmt.Sprintf("%s\n%v", h.raw, err))
		}
		s.check(clause, h.kind == handover.TypeReport, "AMQP type "+handover.TypeReport, h.kind)
	}
	if s.entries == nil {
		return
	}
	for _, e := range s.relayed() {
		for _, p := range e.parts {
			n := int(p.Body[0])<<24 | int(p.Body[1])<<16 | int(p.Body[2])<<8 | int(p.Body[3])
			if err := s.schemas.Check(schema.Entry, p.Body[4:4+n]); err != nil {
				s.check(clause, false, "an entry as docs/schema/entry.json says", fmt.Sprintf("%s\n%v", p.Body[4:4+n], err))
			}
			s.check(clause, p.Type == handover.TypeEntry, "AMQP type "+handover.TypeEntry, p.Type)
		}
	}
}
