package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"k8s.io/utils/clock"

	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/sdk/handover"
)

const patience = 30 * time.Second

// wakes counts what a pool says.
type wakes struct {
	mu   sync.Mutex
	pods []string
	c    chan struct{}
}

func (w *wakes) wake(pod string) {
	w.mu.Lock()
	w.pods = append(w.pods, pod)
	w.mu.Unlock()
	select {
	case w.c <- struct{}{}:
	default:
	}
}

// wait waits until something holds, looking whenever the pool says something.
func (w *wakes) wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	end := time.After(patience)
	for !f() {
		select {
		case <-w.c:
		case <-end:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// connect gives a connected client.
func connect(t *testing.T) (*broker.Client, *wakes) {
	t.Helper()
	w := &wakes{c: make(chan struct{}, 1)}
	pool := broker.NewPool(clock.RealClock{}, w.wake)
	t.Cleanup(pool.Close)
	c := pool.Acquire(rabbit.URL)
	w.wait(t, "a connection", func() bool { return c.Generation() == 1 })
	return c, w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// foreign is a connection of somebody else.
func foreign(t *testing.T) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(rabbit.URL)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	must(t, err)
	return ch
}

// instance listens on the control queue of a pod.
func instance(t *testing.T, pod string) (*amqp.Channel, <-chan amqp.Delivery) {
	t.Helper()
	ch := foreign(t)
	_, err := ch.QueueDeclare(handover.ControlQueue(pod), false, true, true, false, nil)
	must(t, err)
	in, err := ch.Consume(handover.ControlQueue(pod), "", true, true, false, false, nil)
	must(t, err)
	return ch, in
}

func receive(t *testing.T, in <-chan amqp.Delivery) amqp.Delivery {
	t.Helper()
	select {
	case d := <-in:
		return d
	case <-time.After(patience):
		t.Fatal("no command came")
		return amqp.Delivery{}
	}
}

func answer(t *testing.T, ch *amqp.Channel, to, correlation string, r handover.Report) {
	t.Helper()
	body, err := json.Marshal(r)
	must(t, err)
	must(t, ch.PublishWithContext(t.Context(), "", to, false, false, amqp.Publishing{
		Type: handover.TypeReport, CorrelationId: correlation, Body: body,
	}))
}

func TestCommandsAndReports(t *testing.T) {
	c, w := connect(t)
	hello := handover.Command{Version: handover.Version, Kind: handover.Hello, Migration: "m", Epoch: 3, PodUID: "pod-1"}
	if err := c.Send(t.Context(), hello, "1"); !errors.Is(err, broker.ErrNoInstance) {
		t.Fatalf("to nobody: %v", err)
	}
	ch, in := instance(t, "pod-1")
	must(t, c.Send(t.Context(), hello, "2"))
	d := receive(t, in)
	var got handover.Command
	must(t, json.Unmarshal(d.Body, &got))
	if got != hello || d.Type != handover.TypeCommand || d.CorrelationId != "2" || d.ReplyTo == "" {
		t.Fatalf("got %+v in %+v", got, d)
	}

	// What is no report, or comes from nowhere, is dropped.
	must(t, ch.PublishWithContext(t.Context(), "", d.ReplyTo, false, false, amqp.Publishing{Body: []byte("{")}))
	answer(t, ch, d.ReplyTo, "", handover.Report{Kind: handover.ReportHello})
	report := handover.Report{
		Version: handover.Version, Kind: handover.ReportHello, Answers: handover.Hello,
		Status: handover.Status{PodUID: "pod-1", State: handover.Live, Number: 7},
	}
	answer(t, ch, d.ReplyTo, d.CorrelationId, report)
	progress := report
	progress.Kind, progress.Answers, progress.Status.Number = handover.ReportProgress, "", 8
	answer(t, ch, d.ReplyTo, "", progress)

	var heard broker.Heard
	w.wait(t, "the reports", func() bool {
		var ok bool
		heard, ok = c.Heard("pod-1")
		return ok && heard.Last.Kind == handover.ReportProgress
	})
	if a := heard.Answers[handover.Hello]; a.Correlation != "2" || !reflect.DeepEqual(a.Report, report) {
		t.Errorf("the answer to HELLO is %+v", a)
	}
	if !reflect.DeepEqual(heard.Last, progress) {
		t.Errorf("the last report is %+v", heard.Last)
	}
	if _, ok := c.Heard(""); ok {
		t.Error("a report from nowhere was taken in")
	}
	c.Forget("pod-1")
	if _, ok := c.Heard("pod-1"); ok {
		t.Error("not forgotten")
	}
}

func TestReconnect(t *testing.T) {
	c, w := connect(t)
	_, err := rabbit.Ctl("close_all_connections", "test")
	must(t, err)
	w.wait(t, "another connection", func() bool { return c.Generation() > 1 })
	_, in := instance(t, "pod-2")
	cmd := handover.Command{Kind: handover.Hello, PodUID: "pod-2"}
	must(t, c.Send(t.Context(), cmd, ""))
	receive(t, in)
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := 0
	for _, pod := range w.pods {
		if pod == "" {
			lost++
		}
	}
	if lost < 3 {
		t.Errorf("the pool said %d times that a connection came or went, want at least 3", lost)
	}
}

func TestUnavailable(t *testing.T) {
	w := &wakes{c: make(chan struct{}, 1)}
	pool := broker.NewPool(clock.RealClock{}, w.wake)
	defer pool.Close()
	for _, url := range []string{"amqp://user:secret@127.0.0.1:1/", "amqp://user:secret@[", "nonsense", "amqps://user:secret@127.0.0.1:1/?cacertfile=/etc/passwd"} {
		c := pool.Acquire(url)
		w.wait(t, "a failed try", func() bool {
			_, err := c.Look(context.Background(), "q")
			return err != nil && !strings.Contains(err.Error(), "connecting")
		})
		_, err := c.Look(t.Context(), "q")
		if !errors.Is(err, broker.ErrUnavailable) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
		pool.Release(c)
	}
}

// TestUnknownAuthority: a broker that shows a certificate of an unknown authority gets
// no password.
func TestUnknownAuthority(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	w := &wakes{c: make(chan struct{}, 1)}
	pool := broker.NewPool(clock.RealClock{}, w.wake)
	defer pool.Close()
	c := pool.Acquire("amqps://user:secret@" + server.Listener.Addr().String() + "/")
	defer pool.Release(c)
	w.wait(t, "a failed try", func() bool {
		_, err := c.Look(context.Background(), "q")
		return err != nil && !strings.Contains(err.Error(), "connecting")
	})
	_, err := c.Look(t.Context(), "q")
	if !errors.Is(err, broker.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v, want that the certificate is refused", err)
	}
}

func TestPoolShares(t *testing.T) {
	pool := broker.NewPool(clock.RealClock{}, func(string) {})
	defer pool.Close()
	a, b := pool.Acquire(rabbit.URL), pool.Acquire(rabbit.URL)
	if a != b {
		t.Error("two connections to one broker")
	}
	pool.Release(a)
	if c := pool.Acquire(rabbit.URL); c != b {
		t.Error("closed while in use")
	}
}

func TestQueues(t *testing.T) {
	c, _ := connect(t)
	if q, err := c.Look(t.Context(), "nothing"); q != nil || err != nil {
		t.Fatalf("%v, %v", q, err)
	}
	for range 2 { // the second finds what the first has made
		must(t, c.CreateReplayQueue(t.Context(), "replay"))
	}
	ch := foreign(t)
	must(t, ch.Confirm(false))
	confirm, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", "replay", true, false, amqp.Publishing{})
	must(t, err)
	confirm.Wait()
	if q, err := c.Look(t.Context(), "replay"); err != nil || q == nil || q.Consumers != 0 {
		t.Errorf("%+v, %v", q, err)
	}
	for range 2 {
		must(t, c.DeleteQueue(t.Context(), "replay"))
	}
	if q, err := c.Look(t.Context(), "replay"); q != nil || err != nil {
		t.Errorf("%v, %v", q, err)
	}
	_, err = ch.QueueDeclare("other", true, false, false, false, nil)
	must(t, err)
	if err := c.CreateReplayQueue(t.Context(), "other"); !errors.Is(err, broker.ErrMismatch) {
		t.Errorf("a queue of another kind: %v", err)
	}
	instance(t, "pod-3")
	if q, err := c.Look(t.Context(), handover.ControlQueue("pod-3")); err != nil || q == nil {
		t.Errorf("an exclusive queue: %v, %v", q, err)
	}
}

func TestHolds(t *testing.T) {
	c, _ := connect(t)
	hold := handover.Hold{Version: handover.Version, Migration: "m1", SourcePod: "p", DeadlineMillis: 1000}
	for range 2 {
		must(t, c.SetHold(t.Context(), "slot", hold))
	}
	ch := foreign(t)
	d, ok, err := ch.Get(handover.HoldQueue("slot"), false)
	must(t, err)
	var got handover.Hold
	if !ok || json.Unmarshal(d.Body, &got) != nil || got != hold || d.Type != handover.TypeHold || d.DeliveryMode != amqp.Persistent {
		t.Errorf("the hold is %+v in %+v", got, d)
	}
	if d.MessageCount != 0 {
		t.Errorf("%d records more", d.MessageCount)
	}
	must(t, d.Nack(false, true))

	other := hold
	other.Migration = "m2"
	if err := c.SetHold(t.Context(), "slot", other); !errors.Is(err, broker.ErrHeldByOther) {
		t.Errorf("held by two: %v", err)
	}
	must(t, c.RemoveHold(t.Context(), "slot", "m2"))
	if q, err := c.Look(t.Context(), handover.HoldQueue("slot")); q == nil || err != nil {
		t.Errorf("another migration's hold was removed: %v", err)
	}
	for range 2 {
		must(t, c.RemoveHold(t.Context(), "slot", "m1"))
	}
	if q, err := c.Look(t.Context(), handover.HoldQueue("slot")); q != nil || err != nil {
		t.Errorf("not removed: %v", err)
	}

	// A manager that died between making the queue and writing the record.
	_, err = ch.QueueDeclare(handover.HoldQueue("half"), true, false, false, false, amqp.Table{"x-queue-type": "classic"})
	must(t, err)
	must(t, c.SetHold(t.Context(), "half", hold))
	must(t, c.RemoveHold(t.Context(), "half", "m1"))
	_, err = ch.QueueDeclare(handover.HoldQueue("half"), true, false, false, false, amqp.Table{"x-queue-type": "classic"})
	must(t, err)
	must(t, c.RemoveHold(t.Context(), "half", "m1"))
	if q, err := c.Look(t.Context(), handover.HoldQueue("half")); q != nil || err != nil {
		t.Errorf("a half-made hold was left: %v", err)
	}
}

func TestDecisions(t *testing.T) {
	c, _ := connect(t)
	want := func(step string, want, got handover.Decision, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", step, got, err, want)
		}
	}
	for range 2 { // reading decides nothing
		d, err := c.ReadDecision(t.Context(), "a")
		want("undecided", handover.Undecided, d, err)
	}
	for range 2 {
		d, err := c.WriteAbort(t.Context(), "a")
		want("first", handover.Aborted, d, err)
	}
	d, err := c.ReadDecision(t.Context(), "a")
	want("read ABORT", handover.Aborted, d, err)
	for range 2 {
		must(t, c.RemoveDecision(t.Context(), "a"))
	}

	must(t, foreign(t).ExchangeDeclare(handover.DecisionExchange("b"), handover.CommitExchangeType, true, false, false, false, nil))
	d, err = c.WriteAbort(t.Context(), "b")
	want("too late", handover.Commit, d, err)
	d, err = c.ReadDecision(t.Context(), "b")
	want("read COMMIT", handover.Commit, d, err)
	must(t, c.RemoveDecision(t.Context(), "b"))
}
