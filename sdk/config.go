package sdk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// Handler handles one message. Messages come one at a time, in the order of the
// queue, unless [Config.Concurrency] lets several run at once. Returning nil acknowledges; returning an error made by [Reject] gives
// the message up (the broker drops or dead-letters it); any other error gives
// it back to the broker to be delivered again. Outputs leave only on success.
type Handler func(ctx context.Context, m *Message) error

// Config configures a [Consumer]. URL, Queue (or Queues) and Handler are required.
type Config struct {
	URL     string  // AMQP URL, amqp:// or amqps://
	Queue   string  // the queue to consume; it must exist or come to exist
	Handler Handler // what to do with a message

	// Queues are the queues to consume, instead of Queue, if there are several.
	// Each keeps its order; how they mix is as it comes ([Message.Queue] says
	// whence). Nothing is consumed while one of them is missing.
	Queues []string

	// Prefetch bounds the messages in flight, of each queue. It must not change
	// over the life of the state. Default 10.
	Prefetch int
	// Remember is how many messages of each queue that were finished are known again. One that its
	// producer publishes again, because a connection was lost before the confirm,
	// counts once if no more than that many were finished in between; a broker that
	// is killed can keep producers away for many seconds, and some for longer
	// than others. It costs about 100 bytes of memory each, which travel in the
	// checkpoint. Default 4096, at least 4·Prefetch + 16.
	Remember int
	// Concurrency is how many handlers may run at once, each on a message of
	// another Key. Default 1. More than Prefetch is of no use. Like Prefetch it
	// must not change over the life of the state.
	Concurrency int
	// Key gives the key of a message. Messages of one key are handled one at a
	// time in the order of the queue (of each, if they come from several), here and in a replay; handlers of different
	// keys must not share state that depends on their order. It is called once
	// a message, must depend on nothing but the message, and not change it.
	// Required if Concurrency is above 1.
	Key func(m *Message) string
	// Digest gives a digest of the state, or is nil. It is called when no
	// handler runs; a target whose digest differs from the source's does not
	// take over.
	Digest func() []byte
	// OwnerOnly says that whatever this service answers, it answers as the state's
	// owner, or passes on to [Consumer.Home]: [ms2m.dev/ms2m/sdk/ownerhttp.Handler] does, for HTTP.
	// Services may send to its copy before that is live, then, so that none is
	// waited for when it is.
	OwnerOnly bool
	// IdentityHeader names the header by which a message is known again among
	// those of its queue.
	// Default: the message-id property.
	IdentityHeader string
	// TLS configures amqps. Default: the system's roots.
	TLS *tls.Config
	// Dial makes the network connection. Default: TCP with a time-out of 5 s.
	Dial func(network, addr string) (net.Conn, error)
	// Heartbeat of the connection. Default 10 s.
	Heartbeat time.Duration
	// ShutdownGrace bounds how long Run, told to stop, waits for what is in
	// hand, and after it for the broker to hear that it is settled. Default 5 s.
	ShutdownGrace time.Duration
	// Logger for what the library does. Default slog.Default().
	Logger *slog.Logger

	// Pod tells which pod this process is in. The defaults are right in
	// Kubernetes.
	Pod PodInfo

	migration string                            // what the environment says this process's pod was made for
	jitter    func(time.Duration) time.Duration // a random time below the one given
}

// PodInfo tells which pod a process is in.
type PodInfo struct {
	// UID is asked after every connect, and must tell the truth in a process
	// that was restored in another pod: environment variables do not. Default:
	// what the kubelet's own mounts show in /proc/self/mountinfo.
	UID func() (string, error)
	// Namespace and Name of the pod at the start of the process. Defaults: the
	// service account's namespace file, and the host name.
	Namespace, Name string
}

const (
	defaultPrefetch      = 10
	defaultRemember      = 4096
	defaultHeartbeat     = 10 * time.Second
	defaultShutdownGrace = 5 * time.Second
	dialTimeout          = 5 * time.Second
	namespaceFile        = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
)

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" {
		errs = append(errs, errors.New("config: URL must be an amqp:// or amqps:// URL")) // not quoted: it may hold a password
	}
	var err error
	if c.Queues, err = c.queues(); err != nil {
		errs = append(errs, err)
	}
	if len(c.Queues) == 1 {
		c.Queue = c.Queues[0]
	}
	if c.Handler == nil {
		errs = append(errs, errors.New("config: Handler is required"))
	}
	if c.Prefetch < 0 || c.Prefetch > 65535 {
		errs = append(errs, fmt.Errorf("config: Prefetch is %d, must be 1 to 65535", c.Prefetch))
	}
	if c.Prefetch == 0 {
		c.Prefetch = defaultPrefetch
	}
	if c.Remember < 0 {
		errs = append(errs, fmt.Errorf("config: Remember is %d, must be 0 (for the default) or more", c.Remember))
	}
	if c.Remember == 0 {
		c.Remember = defaultRemember
	}
	if c.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("config: Concurrency is %d, must be 1 or more", c.Concurrency))
	}
	if c.Concurrency > 1 && c.Key == nil {
		errs = append(errs, errors.New("config: Concurrency above 1 needs Key: only messages of different keys may be handled at once"))
	}
	c.Concurrency = max(1, c.Concurrency)
	if c.Heartbeat == 0 {
		c.Heartbeat = defaultHeartbeat
	}
	if c.ShutdownGrace == 0 {
		c.ShutdownGrace = defaultShutdownGrace
	}
	if c.Dial == nil {
		c.Dial = amqp.DefaultDial(dialTimeout)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Pod.UID == nil {
		c.Pod.UID = podUIDFromMounts
	}
	if c.Pod.Namespace == "" {
		if b, err := os.ReadFile(namespaceFile); err == nil {
			c.Pod.Namespace = strings.TrimSpace(string(b))
		}
	}
	if c.Pod.Name == "" {
		c.Pod.Name, _ = os.Hostname()
	}
	c.migration, c.jitter = os.Getenv(handover.EnvMigration), rand.N[time.Duration]
	return c, errors.Join(errs...)
}

// queues are the primary queues.
func (c Config) queues() ([]string, error) {
	switch {
	case (c.Queue != "") == (len(c.Queues) > 0):
		return nil, errors.New("config: Queue is required, or Queues if there are several; not both")
	case c.Queue != "":
		return []string{c.Queue}, nil
	}
	for i, q := range c.Queues {
		if q == "" || slices.Contains(c.Queues[:i], q) {
			return nil, fmt.Errorf("config: Queues[%d] is %q: a queue must have a name, and be named once", i, q)
		}
	}
	return slices.Clone(c.Queues), nil
}

// named is how the protocol names a queue: not at all if there is only one.
func (c Config) named(queue string) string {
	if len(c.Queues) == 1 {
		return ""
	}
	return queue
}

// queueOf is the queue that an entry's message came from.
func (c Config) queueOf(h handover.EntryHeader) (string, error) {
	for _, q := range c.Queues {
		if c.named(q) == h.Queue {
			return q, nil
		}
	}
	return "", fmt.Errorf("%w: number %d is of the queue %q, which this service does not consume", handover.ErrEntry, h.Number, h.Queue)
}

// keyOf is the key of a message; all have one if nothing runs in parallel.
func (c Config) keyOf(m *Message) string {
	if c.Concurrency == 1 {
		return ""
	}
	return c.Key(m)
}

func (c Config) amqpConfig() amqp.Config {
	name := "ms2m " + c.Queues[0]
	if more := len(c.Queues) - 1; more > 0 { // not all: the broker bounds what comes with the log-in
		name = fmt.Sprintf("%s and %d more", name, more)
	}
	return amqp.Config{
		Heartbeat:       c.Heartbeat,
		TLSClientConfig: c.TLS,
		Dial:            c.Dial,
		Properties:      amqp.Table{"connection_name": name, "product": "ms2m-sdk"},
	}
}

type rejection struct{ error }

func (r rejection) Unwrap() error { return r.error }

// Reject makes an error by which a handler gives a message up for good.
func Reject(err error) error { return rejection{err} }
