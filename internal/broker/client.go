package broker

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"k8s.io/apimachinery/pkg/util/wait"

	"ms2m.dev/ms2m/internal/broker/address"
)

const (
	heartbeat   = 10 * time.Second
	dialTimeout = 10 * time.Second
)

// Client is the connection to one broker.
type Client struct {
	url     string
	pool    *Pool
	users   int // guarded by the pool
	stop    context.CancelFunc
	reports reports

	mu         sync.Mutex
	link       *link // nil: not connected
	generation int64
	err        error // why it is not connected
}

// link is one life of the connection.
type link struct {
	conn    *amqp.Connection
	replyTo string
	reports <-chan amqp.Delivery

	publishing sync.Mutex // a return belongs to the publish before it
	pub        *amqp.Channel
	returns    chan amqp.Return
}

func newClient(rawURL string, p *Pool) *Client {
	return &Client{
		url: rawURL, pool: p,
		reports: newReports(),
		err:     fmt.Errorf("%w: connecting", ErrUnavailable),
	}
}

// Generation counts the connections: what was sent in an earlier one was
// answered to a queue that is gone.
func (c *Client) Generation() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// run keeps the connection until the context ends.
func (c *Client) run(ctx context.Context) {
	first := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 15 * time.Second}
	for backoff := first; ctx.Err() == nil; {
		l, err := c.dial(ctx)
		c.set(l, err)
		if err == nil {
			backoff = first
			c.serve(ctx, l)
			c.set(nil, fmt.Errorf("%w: the connection was lost", ErrUnavailable))
			continue
		}
		timer := c.pool.clock.NewTimer(backoff.Step())
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
}

// serve takes reports until the link breaks or the context ends.
func (c *Client) serve(ctx context.Context, l *link) {
	defer l.close()
	for {
		select {
		case <-ctx.Done():
			return
		case d, ok := <-l.reports:
			if !ok {
				return
			}
			if pod, ok := c.reports.take(d, c.pool.clock.Now()); ok {
				c.pool.wake(pod)
			}
		}
	}
}

func (c *Client) set(l *link, err error) {
	c.mu.Lock()
	c.link, c.err = l, err
	if l != nil {
		c.generation++
	}
	c.mu.Unlock()
	c.pool.wake("")
}

func (c *Client) current() (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link, c.err
}

func (c *Client) dial(ctx context.Context) (*link, error) {
	if err := address.Check(c.url); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := amqp.DialConfig(c.url, amqp.Config{
		Heartbeat:  heartbeat,
		Locale:     "en_US",
		Properties: amqp.Table{"connection_name": "ms2m-manager", "product": "ms2m"},
		Dial: func(network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			// Bounds the handshake; the library clears it when that is done.
			return conn, conn.SetDeadline(time.Now().Add(dialTimeout))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l := &link{conn: conn, returns: make(chan amqp.Return, 1)}
	if err := l.open(); err != nil {
		l.close()
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return l, nil
}

// open makes the channel for commands and the queue for reports.
func (l *link) open() (err error) {
	if l.pub, err = l.conn.Channel(); err != nil {
		return err
	}
	l.pub.NotifyReturn(l.returns)
	if err := l.pub.Confirm(false); err != nil {
		return err
	}
	in, err := l.conn.Channel()
	if err != nil {
		return err
	}
	q, err := in.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return err
	}
	l.replyTo = q.Name
	l.reports, err = in.Consume(q.Name, "", true, true, false, false, nil)
	return err
}

// close ends the link without waiting for a broker that does not answer.
func (l *link) close() {
	_ = l.conn.CloseDeadline(time.Now().Add(time.Second))
}

// publish sends a message to a queue and waits for the broker's confirm.
// routed is false if there is no such queue: RabbitMQ confirms then, too, and
// only the mandatory flag makes it say so.
func (c *Client) publish(ctx context.Context, queue string, msg amqp.Publishing) (routed bool, err error) {
	l, err := c.current()
	if err != nil {
		return false, err
	}
	l.publishing.Lock()
	defer l.publishing.Unlock()
	if msg.ReplyTo == replyHere {
		msg.ReplyTo = l.replyTo
	}
	confirm, err := l.pub.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, msg)
	if err != nil {
		return false, lost(err)
	}
	acked, err := confirm.WaitContext(ctx)
	if err != nil {
		// A confirm or return that comes later would be taken for the next
		// publish's: this link is done with.
		l.close()
		return false, fmt.Errorf("%w: no confirm: %w", ErrUnavailable, err)
	}
	if !acked { // refused, or the channel was closed
		l.close()
		return false, fmt.Errorf("%w: the broker did not take a message", ErrUnavailable)
	}
	select {
	case <-l.returns: // the broker sends it before the confirm
		return false, nil
	default:
		return true, nil
	}
}

// connection runs f on the connection.
func (c *Client) connection(f func(*amqp.Connection) error) error {
	l, err := c.current()
	if err != nil {
		return err
	}
	return lost(f(l.conn))
}

// channel runs f on a channel of its own: a refused declare closes its channel.
func (c *Client) channel(f func(*amqp.Channel) error) error {
	return c.connection(func(conn *amqp.Connection) error {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		defer ch.Close()
		return f(ch)
	})
}
