// Command exchange is the example of a service whose result depends on the order of its
// messages: it matches orders to buy and to sell, and publishes what came of each. The order
// book is in its memory alone.
//
// Environment:
//
//	AMQP_URL       the broker
//	QUEUE          the queue of the commands
//	REPORT_QUEUE   the queue for the reports
//	LISTEN         address of the HTTP server (default :8080): /book for clients;
//	               /state, what is in the memory of this very process; /healthz
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"ms2m.dev/ms2m/examples/exchange/book"
	"ms2m.dev/ms2m/examples/host"
	"ms2m.dev/ms2m/sdk"
	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/ownerhttp"
)

func main() { host.Run("exchange", run) }

// exchange is the service.
type exchange struct {
	reports  string
	mark     string
	consumer *sdk.Consumer

	mu    sync.Mutex // the handler writes, HTTP reads
	book  *book.Book
	done  uint64
	chain string
}

func run(ctx context.Context) error {
	e := &exchange{reports: os.Getenv("REPORT_QUEUE"), mark: rand.Text(), book: book.New()}
	if e.reports == "" {
		return errors.New("REPORT_QUEUE is not set")
	}
	var err error
	e.consumer, err = sdk.New(sdk.Config{
		URL:     os.Getenv("AMQP_URL"),
		Queue:   os.Getenv("QUEUE"),
		Handler: e.handle,
		Digest:  e.digest,
		// GET /book is the service's one answer; GET /state is for whoever looks into this pod.
		OwnerOnly: true,
	})
	if err != nil {
		return err
	}
	stop, err := host.Serve(ctx, e.routes())
	if err != nil {
		return err
	}
	defer stop()
	return e.consumer.Run(ctx)
}

// handle does a command. Everything that the report says comes from the state and the
// message, but for the time, which a replay reads from the source's record.
func (e *exchange) handle(_ context.Context, m *sdk.Message) error {
	var c book.Command
	if err := json.Unmarshal(m.Body, &c); err != nil {
		return sdk.Reject(err)
	}
	if err := c.Validate(); err != nil {
		return sdk.Reject(err)
	}
	r := e.do(m.Identity(), c, m.Now().UTC())
	body, err := json.Marshal(r)
	if err != nil {
		return sdk.Reject(err)
	}
	m.Publish(sdk.Output{
		RoutingKey: e.reports,
		Properties: handover.Properties{ContentType: "application/json"},
		Body:       body,
	})
	return nil
}

// do does a command and tells what came of it.
func (e *exchange) do(id string, c book.Command, at time.Time) book.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done++
	r := book.Report{Number: e.done, Command: id, Result: e.book.Apply(id, c), At: at}
	e.chain = r.Next(e.chain)
	r.Chain = e.chain
	return r
}

// digest stands for the whole past. A copy that has come to another one does not take over.
func (e *exchange) digest() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return []byte(e.chain)
}

func (e *exchange) state() book.State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return book.State{Done: e.done, Chain: e.chain, View: e.book.View(), Mark: e.mark}
}

// routes are the reads. There is nothing but reads: what changes the book comes by the queue.
func (e *exchange) routes() http.Handler {
	state := http.HandlerFunc(e.serveState)
	mux := http.NewServeMux()
	mux.Handle("GET /book", ownerhttp.Handler(e.consumer, state)) // waits for the owner, or asks it
	mux.Handle("GET /state", state)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func (e *exchange) serveState(w http.ResponseWriter, _ *http.Request) {
	owner := e.consumer.Owner() // before the look: a frozen source may lose it during the look
	s := e.state()
	s.Owner = owner
	s.Hostname, _ = os.Hostname()
	host.Answer(w, s)
}
