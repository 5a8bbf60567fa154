package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/docs/schema"
	"ms2m.dev/ms2m/sdk/handover"
)

// Config says what is tested, and where.
type Config struct {
	URL     string   // of the broker, with credentials: amqp://
	Command []string // starts the implementation
	Dir     string   // for logs and files
	// NoDigest says that the service gives no digest of its state.
	NoDigest bool
	// Patience is how long an answer may take.
	Patience time.Duration
}

const (
	prefetch = 4
	lease    = 20 * time.Second
)

// stage is what a scenario plays on: names, broker, proxy and process of its own.
type stage struct {
	cfg     Config
	schemas schema.Set
	results []Result
	log     string

	conn  *amqp.Connection
	ch    *amqp.Channel // publishes, with confirms
	proxy *Proxy
	impl  *exec.Cmd
	ended chan struct{}

	id, queue, output, replay string
	pod, podName, podFile     string
	migration                 string
	attempt                   int
	epoch                     int64
	lease                     time.Duration
	correlations              int

	manager *manager
	outputs *collector
	entries *collector // of the replay queue
	model   model
}

// stopped ends a scenario that makes no sense any more.
type stopped struct{ why string }

// Play plays a scenario.
func Play(ctx context.Context, cfg Config, sc Scenario) (out Outcome) {
	out.Scenario = sc.Name
	s := &stage{cfg: cfg, attempt: 1, epoch: 1, lease: lease}
	for _, c := range sc.Clauses {
		s.results = append(s.results, Result{Clause: c})
	}
	s.results = append(s.results, Result{Clause: Clause{sc.Name + ".messages", "Every report and entry is as its JSON Schema says, with its AMQP type."}})
	defer func() {
		switch r := recover().(type) {
		case nil:
		case stopped:
			out.Ended = r.why
		default:
			panic(r)
		}
		s.close()
		out.Results, out.Log = s.results, s.log
		if ctx.Err() != nil && out.Ended == "" {
			out.Ended = ctx.Err().Error()
		}
	}()
	s.open()
	sc.play(s)
	s.checkSchemas()
	return out
}

// stop ends the scenario.
func (s *stage) stop(format string, args ...any) { panic(stopped{fmt.Sprintf(format, args...)}) }

func (s *stage) must(err error) {
	if err != nil {
		s.stop("%v", err)
	}
}

// check notes whether a clause holds.
func (s *stage) check(id string, ok bool, want string, got any) bool {
	i := slices.IndexFunc(s.results, func(r Result) bool { return r.ID == id })
	if i < 0 {
		panic("no clause " + id)
	}
	r := &s.results[i]
	if r.Checked = true; !ok && r.Want == "" {
		r.Want, r.Got = want, fmt.Sprint(got)
	}
	return ok
}

// need is check; without it the scenario cannot go on.
func (s *stage) need(id string, ok bool, want string, got any) {
	if !s.check(id, ok, want, got) {
		s.stop("%s does not hold", id)
	}
}

// open makes names, queues and the proxy.
func (s *stage) open() {
	var err error
	s.schemas, err = schema.Load()
	s.must(err)
	s.id = strings.ToLower(rand.Text()[:10])
	s.queue, s.output, s.migration = "conformance.in."+s.id, "conformance.out."+s.id, "migration-"+s.id
	s.replay = handover.ReplayQueue(s.migration)
	s.pod, s.podName = "pod-a-"+s.id, "name-"+s.id
	s.log = filepath.Join(s.cfg.Dir, s.id+".log")
	s.podFile = filepath.Join(s.cfg.Dir, s.id+".pod")
	s.conn, err = amqp.Dial(s.cfg.URL)
	s.must(err)
	s.ch, err = s.conn.Channel()
	s.must(err)
	s.must(s.ch.Confirm(false))
	for _, q := range []string{s.queue, s.output} {
		_, err := s.ch.QueueDeclare(q, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeClassic})
		s.must(err)
	}
	s.makeReplayQueue()
	s.manager = newManager(s)
	s.outputs = s.collect(s.output, nil)
	u, err := url.Parse(s.cfg.URL)
	s.must(err)
	broker := u.Host
	if u.Port() == "" {
		broker += ":5672"
	}
	s.proxy, err = NewProxy(broker)
	s.must(err)
	s.enter(s.pod)
}

func (s *stage) makeReplayQueue() {
	_, err := s.ch.QueueDeclare(s.replay, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeStream})
	s.must(err)
}

// enter makes the process find itself in a pod.
func (s *stage) enter(pod string) {
	s.pod = pod
	tmp := s.podFile + "~"
	s.must(os.WriteFile(tmp, []byte(pod+"\n"), 0o600))
	s.must(os.Rename(tmp, s.podFile))
}

// start starts the implementation; env is added to its environment.
func (s *stage) start(env ...string) {
	u, err := url.Parse(s.cfg.URL)
	s.must(err)
	u.Host = s.proxy.Addr()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.must(err)
	defer log.Close()
	s.impl = exec.Command(s.cfg.Command[0], s.cfg.Command[1:]...)
	s.impl.Stdout, s.impl.Stderr = log, log
	s.impl.Env = append(append(os.Environ(), "AMQP_URL="+u.String(), "QUEUE="+s.queue, "OUTPUT_QUEUE="+s.output, "PREFETCH="+strconv.Itoa(prefetch),
		"POD_UID_FILE="+s.podFile, "POD_NAMESPACE=conformance", "POD_NAME="+s.podName), env...)
	s.impl.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a command that starts others is ended with them
	s.must(s.impl.Start())
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // it is killed, or its end shows as silence
		close(ended)
	}(s.impl, s.ended)
}

// kill ends the implementation as a crash does.
func (s *stage) kill() {
	if s.impl == nil {
		return
	}
	_ = syscall.Kill(-s.impl.Process.Pid, syscall.SIGKILL) // it may have ended by itself
	<-s.ended
	s.impl = nil
}

func (s *stage) close() {
	s.kill()
	if s.proxy != nil {
		s.proxy.Close()
	}
	if s.conn == nil || s.conn.IsClosed() {
		return
	}
	if ch, err := s.conn.Channel(); err == nil {
		for _, q := range []string{s.queue, s.output, s.replay, handover.HoldQueue(s.pod), handover.HoldQueue(s.migration),
			handover.HoldQueue(handover.QueueSlot(s.queue)), handover.HoldQueue(handover.PodSlot("conformance", s.podName))} {
			_, _ = ch.QueueDelete(q, false, false, false) // what stays is told by its name
		}
		_ = ch.ExchangeDelete(handover.DecisionExchange(s.migration), false, false)
	}
	s.conn.Close()
}

// message is a message for the service.
type message struct {
	id    string
	words string // what the handler is to do
	body  []byte
	with  func(*amqp.Publishing)
	to    string // exchange; "" is the default one
}

// publish sends messages to the primary queue.
func (s *stage) publish(ms ...message) {
	for _, m := range ms {
		key := s.queue
		p := amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: m.id, Body: m.body, Headers: amqp.Table{"conformance": m.words}}
		if m.with != nil {
			m.with(&p)
		}
		s.send(m.to, key, p)
	}
}

// send publishes anything, confirmed and not returned.
func (s *stage) send(exchange, key string, p amqp.Publishing) {
	c, err := s.ch.PublishWithDeferredConfirmWithContext(context.Background(), exchange, key, false, false, p)
	s.must(err)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Patience)
	defer cancel()
	ok, err := c.WaitContext(ctx)
	s.must(err)
	if !ok {
		s.must(errors.New("the broker refused a message of the test"))
	}
}

// many are n plain messages.
func many(prefix string, n int) []message {
	out := make([]message, n)
	for i := range out {
		out[i] = message{id: fmt.Sprintf("%s-%d", prefix, i), body: []byte(prefix)}
	}
	return out
}

// collector collects what comes to a queue, or what is in a stream.
type collector struct {
	mu   sync.Mutex
	got  []amqp.Delivery
	grew chan struct{}
}

func (s *stage) collect(queue string, args amqp.Table) *collector {
	ch, err := s.conn.Channel()
	s.must(err)
	s.must(ch.Qos(1000, 0, false)) // a stream is not read without
	in, err := ch.Consume(queue, "", false, false, false, false, args)
	s.must(err)
	c := &collector{grew: make(chan struct{})}
	go func() {
		for d := range in {
			_ = d.Ack(false) // a channel that is gone shows as silence
			c.mu.Lock()
			c.got = append(c.got, d)
			close(c.grew)
			c.grew = make(chan struct{})
			c.mu.Unlock()
		}
	}()
	return c
}

func (c *collector) all() ([]amqp.Delivery, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got), c.grew
}

// wait waits until ok; it is asked again whenever one of the channels given
// back by it is closed.
func (s *stage) wait(patience time.Duration, ok func() (bool, <-chan struct{})) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		done, again := ok()
		if done {
			return true
		}
		select {
		case <-again:
		case <-deadline.C:
			done, _ = ok()
			return done
		}
	}
}

// poll waits until ok, which nothing tells of.
func (s *stage) poll(patience time.Duration, ok func() bool) bool {
	return s.wait(patience, func() (bool, <-chan struct{}) {
		if ok() {
			return true, nil
		}
		again := make(chan struct{})
		time.AfterFunc(20*time.Millisecond, func() { close(again) })
		return false, again
	})
}

// quiet lets time pass in which nothing is to happen.
func (s *stage) quiet(d time.Duration) { <-time.After(d) }
