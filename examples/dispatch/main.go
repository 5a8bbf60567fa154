// Command dispatch is the example of a service with several queues: it has orders, payments and
// cancellations, each from a queue of their own, and sends an order to the warehouse when it is
// paid, unless it was cancelled before. Which of the three comes first is decided by nobody but
// the desk; a copy has to come to the same.
//
// Environment:
//
//	AMQP_URL             the broker
//	ORDER_QUEUE          the queue of the orders
//	PAYMENT_QUEUE        … of the payments
//	CANCELLATION_QUEUE   … of the cancellations
//	SHIPMENT_QUEUE       the queue for what is to be sent
//	JOURNAL_QUEUE        the queue for what came of each message
//	LISTEN               address of the HTTP server (default :8080): /orders for clients;
//	                     /state, what is in the memory of this very process; /healthz
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"

	"ms2m.dev/ms2m/examples/dispatch/desk"
	"ms2m.dev/ms2m/examples/host"
	"ms2m.dev/ms2m/sdk"
	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/ownerhttp"
)

func main() { host.Run("dispatch", run) }

// dispatch is the service.
type dispatch struct {
	kinds              map[string]desk.Kind // by queue
	shipments, journal string
	mark               string
	consumer           *sdk.Consumer

	mu    sync.Mutex // the handler writes, HTTP reads
	desk  *desk.Desk
	done  uint64
	chain string
}

func run(ctx context.Context) error {
	d := &dispatch{mark: rand.Text(), desk: desk.New()}
	if err := d.queues(os.Getenv); err != nil {
		return err
	}
	var err error
	d.consumer, err = sdk.New(d.config(os.Getenv("AMQP_URL")))
	if err != nil {
		return err
	}
	stop, err := host.Serve(ctx, d.routes())
	if err != nil {
		return err
	}
	defer stop()
	return d.consumer.Run(ctx)
}

// queues reads which queue is for what.
func (d *dispatch) queues(env func(string) string) error {
	get := func(name string) (queue string, err error) {
		if queue = env(name); queue == "" {
			err = fmt.Errorf("%s is not set", name)
		}
		return queue, err
	}
	var missing error
	d.kinds = map[string]desk.Kind{}
	for name, kind := range map[string]desk.Kind{"ORDER_QUEUE": desk.Order, "PAYMENT_QUEUE": desk.Payment, "CANCELLATION_QUEUE": desk.Cancellation} {
		queue, err := get(name)
		if other, taken := d.kinds[queue]; err == nil && taken {
			err = fmt.Errorf("%s is %q, which is the queue of the kind %q already", name, queue, other)
		}
		d.kinds[queue] = kind
		missing = errors.Join(missing, err)
	}
	var noShipments, noJournal error
	d.shipments, noShipments = get("SHIPMENT_QUEUE")
	d.journal, noJournal = get("JOURNAL_QUEUE")
	return errors.Join(missing, noShipments, noJournal)
}

func (d *dispatch) config(url string) sdk.Config {
	return sdk.Config{URL: url, Queues: slices.Sorted(maps.Keys(d.kinds)), Handler: d.handle, Digest: d.digest, OwnerOnly: true}
}

// handle does a message. What comes of it depends on it, its queue, and what came before.
func (d *dispatch) handle(_ context.Context, m *sdk.Message) error {
	var body desk.Message
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return sdk.Reject(err)
	}
	if body.Order == "" {
		return sdk.Reject(errors.New("order is missing"))
	}
	e := d.do(d.kinds[m.Queue], m.Identity(), body.Order)
	if e.Result == desk.Shipped {
		if err := publish(m, d.shipments, desk.Shipment{Order: e.Order}); err != nil {
			return sdk.Reject(err)
		}
	}
	return publish(m, d.journal, e)
}

func publish(m *sdk.Message, queue string, what any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	m.Publish(sdk.Output{RoutingKey: queue, Properties: handover.Properties{ContentType: "application/json"}, Body: body})
	return nil
}

// do does a message and tells what came of it.
func (d *dispatch) do(kind desk.Kind, id, order string) desk.Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done++
	e := desk.Entry{Number: d.done, Kind: kind, ID: id, Order: order, Result: d.desk.Apply(kind, order)}
	d.chain = e.Next(d.chain)
	e.Chain = d.chain
	return e
}

// digest stands for the whole past. A copy that has come to another one does not take over.
func (d *dispatch) digest() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return []byte(d.chain)
}

func (d *dispatch) state() desk.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return desk.State{Done: d.done, Chain: d.chain, Counts: d.desk.Counts(), Mark: d.mark}
}

func (d *dispatch) routes() http.Handler {
	state := http.HandlerFunc(d.serveState)
	mux := http.NewServeMux()
	mux.Handle("GET /orders", ownerhttp.Handler(d.consumer, state)) // waits for the owner, or asks it
	mux.Handle("GET /state", state)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func (d *dispatch) serveState(w http.ResponseWriter, _ *http.Request) {
	owner := d.consumer.Owner() // before the look: a frozen source may lose it during the look
	s := d.state()
	s.Owner = owner
	s.Hostname, _ = os.Hostname()
	host.Answer(w, s)
}
