package sdk

import (
	"context"
	"errors"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
	"ms2m.dev/ms2m/sdk/rabbitmq"
)

// errDropped ends a session that the instance wants no more of.
var errDropped = errors.New("dropped: this instance takes nothing any more")

// holdTimeout bounds the reading of the holds.
const holdTimeout = 5 * time.Second

func (s *session) settle(e handover.Settle) error {
	switch e.Outcome {
	case handover.Done:
		return s.primary.Ack(e.Tag, false)
	case handover.Rejected:
		return s.primary.Reject(e.Tag, false)
	default:
		return s.primary.Reject(e.Tag, true)
	}
}

// decide writes the decision, or only reads it if it is Undecided.
func (s *session) decide(migration string, d handover.Decision) error {
	var err error
	if d == handover.Undecided {
		d, err = rabbitmq.ReadDecision(s.conn, migration)
	} else {
		d, err = s.writeDecision(migration, d)
	}
	if err != nil {
		return err
	}
	s.post(handover.DecisionRead{Decision: d})
	return nil
}

// writeDecision writes a decision on the channel that was opened for it, if it was:
// the pause of a hand-over lasts until this is done.
func (s *session) writeDecision(migration string, d handover.Decision) (handover.Decision, error) {
	if s.decision == nil || s.decision.IsClosed() { // the broker closes it if the other decision stands
		return rabbitmq.Decide(s.conn, migration, d)
	}
	return rabbitmq.DecideOn(s.decision, migration, d)
}

// stopReplay closes what consumeReplay opened.
func (s *session) stopReplay() error {
	if s.replay == nil {
		return nil
	}
	replay, decision := s.replay, s.decision
	s.replay, s.decision = nil, nil
	_ = decision.Close() // closed by the broker already if it refused
	return replay.Close()
}

func (s *session) readHold(cfg Config) error {
	h, err := findHold(s.conn, cfg)
	if err != nil {
		return err
	}
	s.post(handover.HoldRead{Hold: h})
	return nil
}

// findHold looks for the hold that a process which starts here is under, in the
// order of docs/protocol.md, and for the decision of its migration.
func findHold(conn *amqp.Connection, cfg Config) (*handover.HoldView, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), holdTimeout, errors.New("its record is not given back"))
	defer cancel()
	pod, err := cfg.Pod.UID()
	if err != nil {
		pod = "" // not in Kubernetes: no pod to be held by
	}
	keys := []string{cfg.migration, pod, handover.PodSlot(cfg.Pod.Namespace, cfg.Pod.Name)}
	shared := len(keys) // from here on, siblings have them too
	for _, q := range cfg.Queues {
		keys = append(keys, handover.QueueSlot(q))
	}
	for i, key := range keys {
		if key == "" {
			continue
		}
		h, err := rabbitmq.ReadHold(ctx, conn, key)
		if err != nil {
			return nil, err
		}
		if h == nil {
			continue
		}
		d, err := rabbitmq.ReadDecision(conn, h.Migration)
		if err != nil {
			return nil, err
		}
		return &handover.HoldView{Hold: *h, Target: i == 0, Sibling: i >= shared, Decision: d}, nil
	}
	return nil, nil
}
