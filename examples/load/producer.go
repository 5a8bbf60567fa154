package load

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

const (
	// window bounds the messages that a producer has sent without a confirm.
	// After a lost connection as many may be sent twice, which the counter's
	// library tells by their message-id as long as they are not too many.
	window = 8
	// pause between attempts to connect.
	pause = 100 * time.Millisecond
)

// errReturned is the end of a producer whose queue does not exist.
var errReturned = errors.New("the broker returned a message: no such queue")

// producer sends messages numbered from 1, in their order.
type producer struct {
	cfg         Config
	name        string
	exchange    string        // where it publishes; "" is the default exchange
	key         string        // with this routing key
	bell        chan struct{} // rings when wanted or last changes
	onConfirmed func()

	mu     sync.Mutex
	wanted uint64 // send up to this number
	last   bool   // nothing more will be wanted
	bodies []ledger.Sum
	due    []time.Time // when each was wanted
	held   bool        // send nothing
	idle   bool        // held, and all that was sent is confirmed
	resent []uint64

	pending []pending // of run alone: sent and not confirmed, in order
}

type pending struct {
	seq     uint64
	body    []byte
	confirm *amqp.DeferredConfirmation
}

func newProducer(cfg Config, name string, onConfirmed func()) *producer {
	return &producer{cfg: cfg, name: name, key: cfg.Queue, bell: make(chan struct{}, 1), onConfirmed: onConfirmed}
}

func (p *producer) want(n uint64) {
	now := time.Now()
	p.mu.Lock()
	p.wanted += n
	for range n {
		p.due = append(p.due, now)
	}
	p.mu.Unlock()
	ring(p.bell)
}

func (p *producer) finish() {
	p.mu.Lock()
	p.last = true
	p.mu.Unlock()
	ring(p.bell)
}

// ring wakes who waits for the bell, now or later.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

func (p *producer) sent() []ledger.Sum {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.bodies)
}

func (p *producer) confirmedSoFar() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return uint64(len(p.bodies))
}

// next is the number to send next, if one is wanted; over tells that all that
// will ever be wanted is confirmed.
func (p *producer) next() (seq uint64, wanted, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq = uint64(len(p.bodies)+len(p.pending)) + 1
	if p.idle = p.held && len(p.pending) == 0; p.idle {
		p.onConfirmed()
	}
	return seq, seq <= p.wanted && len(p.pending) < window && !p.held, p.last && uint64(len(p.bodies)) == p.wanted
}

// run sends until it is finished, over as many connections as it takes.
func (p *producer) run(ctx context.Context) error {
	for {
		conn, err := amqp.DialConfig(p.cfg.URL, amqp.Config{
			Properties: amqp.Table{"connection_name": "load " + p.name},
			Dial:       amqp.DefaultDial(5 * time.Second),
		})
		if err == nil {
			var over bool
			over, err = p.session(ctx, conn)
			_ = conn.Close()
			if over || errors.Is(err, errReturned) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

// session sends over one connection. What an earlier one left unconfirmed goes
// first, under the same message-ids: it may or may not have arrived.
func (p *producer) session(ctx context.Context, conn *amqp.Connection) (over bool, err error) {
	ch, err := conn.Channel()
	if err != nil {
		return false, err
	}
	if err := ch.Confirm(false); err != nil {
		return false, err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	// The broker returns a message before it confirms it: what is in this
	// channel when a confirm comes was meant.
	returns := ch.NotifyReturn(make(chan amqp.Return, window))
	for i := range p.pending {
		p.mu.Lock()
		p.resent = append(p.resent, p.pending[i].seq)
		p.mu.Unlock()
		if err := p.publish(ctx, ch, &p.pending[i]); err != nil {
			return false, err
		}
	}
	for {
		seq, wanted, over := p.next()
		if over {
			return true, nil
		}
		if wanted {
			p.pending = append(p.pending, pending{seq: seq, body: p.cfg.Body(p.name, seq)})
			if err := p.publish(ctx, ch, &p.pending[len(p.pending)-1]); err != nil {
				return false, err
			}
			continue
		}
		var confirmed <-chan struct{}
		if len(p.pending) > 0 {
			confirmed = p.pending[0].confirm.Done()
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case err := <-closed:
			if err == nil {
				return false, amqp.ErrClosed
			}
			return false, err
		case <-confirmed:
			if err := p.confirmed(returns); err != nil {
				return false, err
			}
		case <-p.bell:
		}
	}
}

func (p *producer) publish(ctx context.Context, ch *amqp.Channel, m *pending) (err error) {
	m.confirm, err = ch.PublishWithDeferredConfirmWithContext(ctx, p.exchange, p.key, true, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent,
		MessageId:    ledger.MessageID(p.name, m.seq),
		Body:         m.body,
	})
	return err
}

// confirmed takes the confirm of the first pending message.
func (p *producer) confirmed(returns <-chan amqp.Return) error {
	select {
	case r, ok := <-returns:
		if ok { // not closed with the connection
			return fmt.Errorf("%w (%s: %s)", errReturned, r.RoutingKey, r.ReplyText)
		}
	default:
	}
	m := p.pending[0]
	if !m.confirm.Acked() {
		// Also how the library ends what a lost connection leaves open.
		return fmt.Errorf("%s was not confirmed", ledger.MessageID(p.name, m.seq))
	}
	p.pending = slices.Delete(p.pending, 0, 1)
	p.mu.Lock()
	p.bodies = append(p.bodies, ledger.Body(m.body))
	p.mu.Unlock()
	p.onConfirmed()
	return nil
}

// body is a body of n bytes that is no other message's.
func body(producer string, seq uint64, n int) []byte {
	sum := ledger.Body([]byte(ledger.MessageID(producer, seq)))
	text := hex.EncodeToString(sum[:])
	return []byte(strings.Repeat(text, n/len(text)+1)[:n])
}
