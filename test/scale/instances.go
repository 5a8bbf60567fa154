package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/internal/instancetest"
	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/rabbitmq"
)

// plane is the services: instances of the protocol without messages, all on one
// connection to the broker. Control queues, decisions and consumers of the primary
// queues are real; nothing is written into the replay queues.
type plane struct {
	conn *amqp.Connection

	channels sync.Mutex // declaring and consuming is one thing at a time on a channel
	control  *amqp.Channel
	primary  *amqp.Channel
	reports  *amqp.Channel

	mu        sync.Mutex
	instances map[string]*instance             // by pod UID
	pairs     map[string]*pair                 // by hand-over
	archives  map[string]instancetest.Instance // what was checkpointed, by file name
	images    map[string]instancetest.Instance // by digest
	dumped    map[string]func()                // by name of the pod: whom to tell that it is dumped
	commits   map[string]int                   // how often COMMIT was written, by hand-over
	errs      []error                          // of what cannot be given back to anybody
	done      chan struct{}
}

// instance is one process.
type instance struct {
	instancetest.Instance
	pod   string        // its name
	every time.Duration // between reports of its progress
	told  time.Time
}

// pair are the two sides of a hand-over.
type pair struct{ source, copied *instance }

func newPlane(url string) (*plane, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, err
	}
	p := &plane{
		conn: conn, instances: map[string]*instance{}, pairs: map[string]*pair{},
		archives: map[string]instancetest.Instance{}, images: map[string]instancetest.Instance{},
		dumped: map[string]func(){}, commits: map[string]int{}, done: make(chan struct{}),
	}
	for _, ch := range []**amqp.Channel{&p.control, &p.primary, &p.reports} {
		if *ch, err = conn.Channel(); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	go p.tell()
	return p, nil
}

func (p *plane) close() error {
	close(p.done)
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(append(p.errs, p.conn.Close())...)
}

// fail notes an error that nobody waits for: it fails the run at its end.
func (p *plane) fail(err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, err)
}

// queueOf is the primary queue of a pod, and of the copy of its state.
func queueOf(pod *corev1.Pod) string { return pod.Annotations[annotationQueue] }

// begin starts a fresh process in a pod.
func (p *plane) begin(pod *corev1.Pod) error {
	uid := string(pod.UID)
	in := &instance{pod: pod.Name, Instance: instancetest.Instance{Status: handover.Status{
		PodUID: uid, State: handover.Live, Queue: queueOf(pod), Identity: handover.IdentityMessageID, Incarnation: uid, Rate: 10,
	}}}
	if err := p.listen(in); err != nil {
		return err
	}
	return p.consume(in)
}

// restore wakes the copy of a checkpointed process in a pod.
func (p *plane) restore(pod, uid, digest string) error {
	if p.there(uid) {
		return nil // the leg is done again: it was not seen yet that it was done
	}
	p.mu.Lock()
	in := &instance{pod: pod, Instance: p.images[digest]}
	p.mu.Unlock()
	in.PodUID, in.State = uid, handover.Restored
	if err := p.listen(in); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if both := p.pairs[in.Migration]; both != nil {
		both.copied = in
	}
	return nil
}

// there reports whether a process is in a pod already.
func (p *plane) there(uid string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.instances[uid] != nil
}

// listen has an instance take commands.
func (p *plane) listen(in *instance) error {
	p.channels.Lock()
	defer p.channels.Unlock()
	name := handover.ControlQueue(in.PodUID)
	if _, err := p.control.QueueDeclare(name, false, false, true, false, nil); err != nil {
		return err
	}
	commands, err := p.control.Consume(name, name, true, true, false, false, nil)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.instances[in.PodUID] = in
	p.mu.Unlock()
	go func() {
		for d := range commands {
			p.fail(p.take(in, d))
		}
	}()
	return nil
}

// consume has an instance consume its primary queue.
func (p *plane) consume(in *instance) error {
	p.channels.Lock()
	defer p.channels.Unlock()
	_, err := p.primary.Consume(in.Queue, in.PodUID, true, false, false, false, nil)
	return err
}

// release has it stop that, if it does.
func (p *plane) release(in *instance) error {
	p.channels.Lock()
	defer p.channels.Unlock()
	return p.primary.Cancel(in.PodUID, false)
}

// end ends the process in a pod.
func (p *plane) end(uid string) error {
	p.mu.Lock()
	in := p.instances[uid]
	delete(p.instances, uid)
	p.mu.Unlock()
	if in == nil {
		return nil
	}
	if err := p.release(in); err != nil {
		return err
	}
	p.channels.Lock()
	defer p.channels.Unlock()
	_, err := p.control.QueueDelete(handover.ControlQueue(uid), false, false, false)
	return err
}

// take takes a command.
func (p *plane) take(in *instance, d amqp.Delivery) error {
	var c handover.Command
	if err := json.Unmarshal(d.Body, &c); err != nil {
		return err
	}
	decision := handover.Undecided
	if c.Kind == handover.Abort || c.Kind == handover.Retire {
		var err error
		if decision, err = rabbitmq.ReadDecision(p.conn, c.Migration); err != nil {
			return err
		}
	}
	p.mu.Lock()
	answer := in.Take(c, decision)
	var both *pair
	if c.Migration == in.Migration && c.Migration != "" {
		in.ReplyTo = d.ReplyTo
		if c.ReportMillis > 0 {
			in.every = time.Duration(c.ReportMillis) * time.Millisecond
		}
		if both = p.pairs[c.Migration]; both == nil {
			both = &pair{source: in}
			p.pairs[c.Migration] = both
		}
	}
	p.mu.Unlock()
	if err := p.report(d.ReplyTo, d.CorrelationId, answer); err != nil || both == nil {
		return err
	}
	return p.settle(c.Migration, both)
}

// settle lets the two sides do what they do without the manager: the copy catches up at
// once, and at the source's end it commits.
func (p *plane) settle(migration string, both *pair) error {
	p.mu.Lock()
	source, copied := both.source, both.copied
	frozen := source.State == handover.Frozen
	commits := copied != nil && copied.State == handover.Replaying && frozen && !copied.AtEnd
	if commits {
		copied.AtEnd, copied.Number = true, source.Number
	}
	p.mu.Unlock()
	if frozen {
		if err := p.release(source); err != nil {
			return err
		}
	}
	if !commits {
		return nil
	}
	decision, err := rabbitmq.Decide(p.conn, migration, handover.Commit)
	if err != nil {
		return err
	}
	if err := p.consume(copied); err != nil {
		return err
	}
	p.mu.Lock()
	p.commits[migration]++
	copied.Obey(decision)
	to, live := copied.ReplyTo, copied.Report(copied.Kind(), "")
	p.mu.Unlock()
	return p.report(to, "", live)
}

// tell has those that relay and replay say how far they are.
func (p *plane) tell() {
	const resolution = 50 * time.Millisecond
	ticker := time.NewTicker(resolution)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return
		case now := <-ticker.C:
			for _, in := range p.due(now) {
				p.fail(p.report(in.ReplyTo, "", in.Report(handover.ReportProgress, "")))
			}
		}
	}
}

// due are those whose report is due, as they are now.
func (p *plane) due(now time.Time) []instancetest.Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []instancetest.Instance
	for _, both := range p.pairs {
		for _, in := range []*instance{both.source, both.copied} {
			if in == nil || in.every <= 0 || now.Sub(in.told) < in.every || in.ReplyTo == "" {
				continue
			}
			switch in.State {
			case handover.Replaying:
				in.Number, in.Rate = both.source.Confirmed, 10
			case handover.Relaying:
			default:
				continue
			}
			in.told = now
			out = append(out, in.Instance)
		}
	}
	return out
}

// report publishes a report.
func (p *plane) report(to, correlation string, r handover.Report) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = p.reports.PublishWithContext(context.Background(), "", to, false, false, amqp.Publishing{
		Type: handover.TypeReport, ContentType: "application/json", CorrelationId: correlation, Body: body,
	})
	select {
	case <-p.done:
		return nil // what is said after the end is nobody's
	default:
		return err
	}
}

// forget drops hand-overs that are over, between two cases.
func (p *plane) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.pairs)
	clear(p.commits)
}

// left are what migrations have left behind here and at the broker. It is called when
// only the pods of the services are there.
func (p *plane) left(queues, exchanges []string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for name := range p.archives {
		out = append(out, "archive "+name)
	}
	for name := range p.images {
		out = append(out, "image "+name)
	}
	for _, q := range queues {
		if uid, ok := strings.CutPrefix(q, handover.ControlQueue("")); ok && p.instances[uid] != nil {
			continue
		}
		if strings.HasPrefix(q, "ms2m.") {
			out = append(out, "queue "+q)
		}
	}
	for _, e := range exchanges {
		if strings.HasPrefix(e, "ms2m.") {
			out = append(out, "exchange "+e)
		}
	}
	return out
}

// declare makes a primary queue.
func (p *plane) declare(queue string) error {
	p.channels.Lock()
	defer p.channels.Unlock()
	_, err := p.primary.QueueDeclare(queue, true, false, false, false, nil)
	return err
}

// stateIn is which state is in a pod, and whether it is live.
func (p *plane) stateIn(uid string) (state string, live bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in := p.instances[uid]; in != nil {
		return in.Incarnation, in.State == handover.Live
	}
	return "", false
}

// committed counts the hand-overs that are, and those that are more than once.
func (p *plane) committed() (all, doubled int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.commits {
		if n > 1 {
			doubled++
		}
	}
	return len(p.commits), doubled
}
