package sdk

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/rabbitmq"
)

// Bounds of the waiting between two attempts to connect. The first follows at
// once: a restored process has nothing else to do.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
	// steady is how long a session must have lasted for the next attempt to
	// follow at once again.
	steady = 2 * time.Second
	// openWithin bounds the opening of a session. The client's own bound, the
	// heartbeat, is armed by a frame that it reads, and disarmed when the
	// connection is open: a broker that is silent from that moment on would be
	// waited for until TCP gives up, a quarter of an hour.
	openWithin = 15 * time.Second
)

// dialer makes sessions, one at a time.
type dialer struct {
	cfg     Config
	inbox   *inbox
	backoff time.Duration
	busy    sync.WaitGroup
}

// ended notes that a session has ended that began at the time given.
func (d *dialer) ended(began time.Time) {
	if time.Since(began) > steady {
		d.backoff = 0
	}
}

// begin makes the next session in the background. What stands at the broker is
// looked at after connecting and before the instance acts on the connection.
func (d *dialer) begin(ctx context.Context, in *handover.Instance) {
	begun, migration, inPod := in.Begun(), in.Migration(), in.Status().PodUID != ""
	wait := d.backoff
	d.backoff = min(max(2*d.backoff, minBackoff), maxBackoff)
	d.busy.Go(func() {
		if wait > 0 {
			wait = wait/2 + d.cfg.jitter(wait/2) // many services lose one broker at once
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
		s, ev, err := d.open(begun, inPod, migration)
		if ctx.Err() != nil && s != nil {
			s.end(ctx.Err())
			return
		}
		if err != nil {
			d.inbox.post(posted{lost: err})
			return
		}
		d.inbox.post(posted{session: s, event: ev})
	})
}

func (d *dialer) open(begun, inPod bool, migration string) (*session, handover.Event, error) {
	cfg := d.cfg
	var bound *time.Timer
	cfg.Dial = func(network, addr string) (net.Conn, error) {
		c, err := d.cfg.Dial(network, addr)
		if err == nil {
			bound = time.AfterFunc(openWithin, func() { _ = c.Close() })
		}
		return c, err
	}
	defer func() {
		if bound != nil {
			bound.Stop()
		}
	}()
	s, err := openSession(cfg, d.inbox)
	if err != nil {
		return nil, nil, err
	}
	ev := handover.Connected{}
	fail := func(err error) (*session, handover.Event, error) {
		_ = s.conn.Close()
		return nil, nil, err
	}
	if ev.Pod, err = d.cfg.Pod.UID(); err != nil {
		if inPod { // it could tell before: not to know now is no reason to act
			return fail(err)
		}
		d.cfg.Logger.Warn("ms2m: this service cannot be migrated", "error", err)
	}
	if ev.Pod != "" { // before anything is read: see handover.Fence
		if err := s.declareControl(ev.Pod); err != nil {
			return fail(err)
		}
	}
	switch {
	case !begun:
		if ev.Hold, err = findHold(s.conn, d.cfg); err != nil {
			return fail(fmt.Errorf("look for a hold: %w", err))
		}
	case migration != "":
		if ev.Decision, err = rabbitmq.ReadDecision(s.conn, migration); err != nil {
			return fail(err)
		}
	}
	return s, ev, nil
}

func (d *dialer) wait() { d.busy.Wait() }
