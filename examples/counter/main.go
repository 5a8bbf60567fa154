// Command counter is the example service: it counts the messages of a queue in
// its memory, chains a hash over them, and publishes one output for each. It
// keeps nothing on disk, so a counter that lost its memory shows.
//
// Environment:
//
//	AMQP_URL      the broker
//	QUEUE         the queue to count
//	OUTPUT_QUEUE  the queue for the outputs
//	LISTEN        address of the HTTP server (default :8080): /count for clients;
//	              /state, what is in the memory of this very process; /healthz
//	READS         what /count does in a process that does not own the state: pass
//	              (default: wait for it, or pass the request on to who owns it),
//	              refuse (503), any (answer with what is in memory, right or wrong)
//	WORK          time that each message takes, for example 2ms (default none)
//	OUTSIDE       time of a call to the outside that each message makes (default: no
//	              call). Its answer becomes part of the state; a replay has the recorded one
//	PREFETCH      messages in flight (default: the library's)
//	FILE          a file to which the count is written with each message, opened and
//	              closed each time: none may be open at a checkpoint (default: no file)
//	BALLAST_MB    memory to fill with noise, in MiB (default 0)
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/host"
	"ms2m.dev/ms2m/sdk"
	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/ownerhttp"
)

func main() { host.Run("counter", run) }

// counter is the service.
type counter struct {
	ledger   *ledger.Ledger
	consumer *sdk.Consumer
	outputs  string
	file     string
	work     time.Duration
	outside  time.Duration
	answers  ledger.Sum // chain of the answers from outside; of the handler, which runs alone
	mark     string
	started  time.Time
	ballast  []byte // held, never read: it is there to be carried
}

func run(ctx context.Context) error {
	c := &counter{
		ledger:  ledger.New(),
		outputs: os.Getenv("OUTPUT_QUEUE"),
		file:    os.Getenv("FILE"),
		mark:    rand.Text(),
		started: time.Now(),
	}
	if c.outputs == "" {
		return errors.New("OUTPUT_QUEUE is not set")
	}
	prefetch, err := c.burden()
	if err != nil {
		return err
	}
	how := os.Getenv("READS")
	c.consumer, err = sdk.New(sdk.Config{
		URL:       os.Getenv("AMQP_URL"),
		Queue:     os.Getenv("QUEUE"),
		Prefetch:  prefetch,
		Handler:   c.count,
		OwnerOnly: how == "" || how == passReads, // the rest of what it answers is not the service's
		Digest:    func() []byte { s := c.ledger.Chain(); return append(s[:], c.answers[:]...) },
	})
	if err != nil {
		return err
	}
	reads, err := c.reads(how)
	if err != nil {
		return err
	}
	stop, err := host.Serve(ctx, c.routes(reads))
	if err != nil {
		return err
	}
	defer stop()
	return c.consumer.Run(ctx)
}

// burden makes the counter slower and bigger than it would be.
func (c *counter) burden() (prefetch int, err error) {
	number := func(name string) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return 0
		}
		n, failed := strconv.ParseUint(text, 10, 16)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, failed))
		}
		return n
	}
	duration := func(name string) time.Duration {
		text := os.Getenv(name)
		if text == "" {
			return 0
		}
		d, failed := time.ParseDuration(text)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, failed))
		}
		return d
	}
	c.work, c.outside, prefetch = duration("WORK"), duration("OUTSIDE"), int(number("PREFETCH"))
	c.ballast = make([]byte, number("BALLAST_MB")<<20)
	_, _ = rand.Read(c.ballast) // noise: zeros would cost a checkpoint nothing
	return prefetch, err
}

// ask calls the outside and lets the state depend on the answer. The answer is
// another each time, so a replay that called again would not come to the
// source's digest.
func (c *counter) ask(m *sdk.Message) error {
	if c.outside == 0 {
		return nil
	}
	answer, err := m.Once("ask", func() ([]byte, error) {
		time.Sleep(c.outside)
		return []byte(rand.Text()), nil
	})
	if err != nil {
		return err
	}
	c.answers = c.answers.Next("", 0, ledger.Body(answer))
	return nil
}

// count is the handler: it depends on the state and the message alone.
func (c *counter) count(_ context.Context, m *sdk.Message) error {
	producer, seq, err := ledger.ParseMessageID(m.Identity())
	if err != nil {
		return sdk.Reject(err)
	}
	if err := c.ask(m); err != nil {
		return err
	}
	time.Sleep(c.work) // what a real service would do here
	entry := c.ledger.Add(producer, seq, m.Body)
	if c.file != "" { // a replay writes the same again
		if err := os.WriteFile(c.file, []byte(strconv.FormatUint(entry.Count, 10)), 0o644); err != nil {
			return err
		}
	}
	body, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	m.Publish(sdk.Output{
		RoutingKey: c.outputs,
		Properties: handover.Properties{
			ContentType: "application/json",
			Headers:     handover.Table{ledger.MarkHeader: c.mark},
		},
		Body: body,
	})
	return nil
}

func (c *counter) routes(reads http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /count", reads)
	mux.HandleFunc("GET /state", c.serveState)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func (c *counter) serveState(w http.ResponseWriter, _ *http.Request) {
	s := c.ledger.State()
	s.Mark, s.StartedAt = c.mark, c.started
	s.Hostname, _ = os.Hostname()
	s.Owner, s.Consumer = c.consumer.Owner(), string(c.consumer.State())
	s.Goroutines = runtime.NumGoroutine()
	host.Answer(w, s)
}

// passReads has /count answered by the owner, whichever pod was asked.
const passReads = "pass"

// reads is /count, as READS says.
func (c *counter) reads(how string) (http.Handler, error) {
	count := http.HandlerFunc(c.serveCount)
	switch how {
	case "", passReads:
		return ownerhttp.Handler(c.consumer, count), nil
	case "refuse":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !c.consumer.Owner() {
				w.Header().Set("Retry-After", "1")
				http.Error(w, "this process does not own the count", http.StatusServiceUnavailable)
				return
			}
			count(w, r)
		}), nil
	case "any":
		return count, nil
	}
	return nil, fmt.Errorf("READS is %q, must be pass, refuse or any", how)
}

func (c *counter) serveCount(w http.ResponseWriter, _ *http.Request) {
	answer := ledger.Count{Owner: c.consumer.Owner()}
	answer.Hostname, _ = os.Hostname()
	answer.Count = c.ledger.State().Count
	host.Answer(w, answer)
}
