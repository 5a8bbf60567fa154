package integration

import (
	"maps"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/instancetest"
	"ms2m.dev/ms2m/sdk/handover"
)

const queue = "orders"

// plane is the simulated data plane of one test: what outlives managers. Holds,
// decisions and replay queues are by hand-over.
type plane struct {
	mu        sync.Mutex
	queues    map[string]bool
	holds     map[string]handover.Hold
	decisions map[string]handover.Decision
	ends      map[string]bool                   // END_REPLAY is written
	commits   map[string]int                    // how often COMMIT was written, kept when it is removed
	instances map[string]*instancetest.Instance // by pod UID
	started   map[string]*corev1.Pod            // pods whose containers have started, by UID
	archives  map[string]instancetest.Instance  // what was checkpointed
	images    map[string]instancetest.Instance
	files     map[string]bool // what was fetched and staged on the nodes

	down        bool                       // the broker
	checkpoints []func() error             // errors of the next kubelet calls
	transfer    map[string]func() *outcome // by direction: how the next legs end; nil: well
	wakes       func(pod string, in *instancetest.Instance)
	flowing     bool              // a message is handled, and another replayed, with every look
	inboxes     map[string]*inbox // by name: the managers that are connected
	entered     int               // how many have been
	taken       int               // checkpoints
	unwritable  error             // why nothing can be pushed
}

// outcome is how a leg ends; one without a reason never ends.
type outcome struct{ reason, message string }

func newPlane() *plane {
	return &plane{
		queues: map[string]bool{queue: true}, holds: map[string]handover.Hold{},
		decisions: map[string]handover.Decision{}, ends: map[string]bool{}, commits: map[string]int{},
		instances: map[string]*instancetest.Instance{}, started: map[string]*corev1.Pod{},
		archives: map[string]instancetest.Instance{}, images: map[string]instancetest.Instance{}, files: map[string]bool{},
		transfer: map[string]func() *outcome{}, inboxes: map[string]*inbox{},
	}
}

// traces are what a migration has left.
func (p *plane) traces() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left []string
	for q := range p.queues {
		if q != queue {
			left = append(left, "queue "+q)
		}
	}
	for k := range p.holds {
		left = append(left, "hold "+k)
	}
	for m := range p.decisions {
		left = append(left, "decision of "+m)
	}
	for a := range p.archives {
		left = append(left, "archive "+a)
	}
	for i := range p.images {
		left = append(left, "image "+i)
	}
	for f := range p.files {
		left = append(left, "file "+f)
	}
	return left
}

// tell delivers a report. The lock is held.
func (p *plane) tell(to, correlation string, r handover.Report) {
	m := p.inboxes[to]
	if m == nil {
		return // it was for a manager that is gone
	}
	pod := r.Status.PodUID
	h := m.heard[pod]
	if h == nil {
		h = &broker.Heard{Answers: map[handover.CommandKind]broker.Answer{}}
		m.heard[pod] = h
	}
	now := time.Now()
	h.Last, h.At = r, now
	if r.Answers != "" {
		h.Answers[r.Answers] = broker.Answer{Correlation: correlation, At: now, Report: r}
	}
	go m.wake(pod)
}

// begin starts a fresh process in a pod. The lock is held.
func (p *plane) begin(pod *corev1.Pod) {
	uid := string(pod.UID)
	in := &instancetest.Instance{Status: handover.Status{
		PodUID: uid, State: handover.Held, Queue: queue, Identity: handover.IdentityMessageID, Incarnation: uid,
	}}
	p.started[uid], p.instances[uid] = pod, in
	p.await(pod, in)
}

// holder finds the hold that a process which starts in a pod is under.
func (p *plane) holder(pod *corev1.Pod) (h handover.Hold, key string) {
	keys := []string{string(pod.UID), handover.PodSlot(pod.Namespace, pod.Name), handover.QueueSlot(queue)}
	for _, c := range pod.Spec.Containers {
		for _, e := range c.Env {
			if e.Name == handover.EnvMigration {
				keys = append([]string{e.Value}, keys...)
			}
		}
	}
	for _, key := range keys {
		if h, ok := p.holds[key]; ok {
			return h, key
		}
	}
	return handover.Hold{}, ""
}

// await lets a process that has not begun look at the hold. The lock is held.
func (p *plane) await(pod *corev1.Pod, in *instancetest.Instance) {
	h, key := p.holder(pod)
	in.Migration, in.Decision = h.Migration, p.decisions[h.Migration]
	target := key == h.Migration
	switch {
	case key == "":
		in.State = handover.Live
	case in.Decision == handover.Undecided:
	case target && in.Decision == handover.Aborted:
		in.State = handover.Void
	case target && h.Sequential, key == handover.QueueSlot(queue) && in.Decision == handover.Commit: // until the hold is gone
	case target, in.Decision == handover.Aborted:
		in.State = handover.Live
	default:
		in.State = handover.Retired
	}
}

// settle lets the instances decide among themselves, as the library does without
// the manager. The lock is held.
func (p *plane) settle() {
	for again := true; again; {
		again = false
		for pod, in := range p.instances {
			before := in.State
			p.advance(pod, in)
			if in.State != before {
				p.tell(in.ReplyTo, "", in.Report(in.Kind(), ""))
				again = true
			}
		}
	}
}

// advance lets one instance do what it can by itself.
func (p *plane) advance(pod string, in *instancetest.Instance) {
	switch in.State {
	case handover.Held:
		p.await(p.started[pod], in)
		return
	case handover.Frozen:
		p.ends[in.Migration] = true
	case handover.Replaying:
		p.replay(in)
	case handover.Restored, handover.Paused, handover.Relaying:
	default:
		return
	}
	switch in.Wants() {
	case handover.Commit:
		p.commit(in.Migration)
	case handover.Aborted:
		p.abort(in.Migration)
	}
	if in.State == handover.Frozen || in.Wants() != handover.Undecided {
		in.Obey(p.decisions[in.Migration])
	}
}

// replay lets a copy apply everything, if that has an end.
func (p *plane) replay(in *instancetest.Instance) {
	switch {
	case !p.queues[handover.ReplayQueue(in.Migration)]:
		in.GiveUp(handover.ReasonGap)
	case in.Fence != nil || p.ends[in.Migration]:
		in.AtEnd = true
		if source := p.sourceOf(in); source != nil {
			in.Number = source.Number
		}
	}
}

// sourceOf is the source of a copy, if it is still there.
func (p *plane) sourceOf(in *instancetest.Instance) *instancetest.Instance {
	for _, source := range p.instances {
		if source.Migration == in.Migration && (source.State == handover.Relaying || source.State == handover.Frozen) {
			return source
		}
	}
	return nil
}

// commit writes COMMIT, if nothing stands yet. The lock is held.
func (p *plane) commit(migration string) {
	if p.decisions[migration] == handover.Undecided {
		p.decisions[migration] = handover.Commit
		p.commits[migration]++
	}
}

// abort writes ABORT, if nothing stands yet. The lock is held.
func (p *plane) abort(migration string) {
	if p.decisions[migration] == handover.Undecided {
		p.decisions[migration] = handover.Aborted
	}
}

// sweep removes the archives of a container, as an agent does. The lock is held.
func (p *plane) sweep(prefix string) {
	maps.DeleteFunc(p.archives, func(name string, _ instancetest.Instance) bool { return strings.HasPrefix(name, prefix) })
}
