package migration_test

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/instancetest"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

// world is everything but the planner: the object as it is stored, pods and who
// makes them again, instances, nodes and broker, and one process of the manager
// at a time. The pod "counter" is the only one of its service.
type world struct {
	now    time.Time
	object *v1alpha1.StatefulMigration
	kind   owner.Kind // of the pod's owner

	pods      map[string]*corev1.Pod
	instances map[types.UID]*instancetest.Instance
	born      int       // pods made until now
	state     types.UID // the pod whose memory is the truth; empty: it is in image and replay queue
	crashed   bool      // a process was lost: what is true then is the protocol's affair
	blind     bool      // the API server has not seen the placement yet
	busy      bool      // as many others are active as may be
	ownerOnly bool      // the service answers as the owner only

	legs     map[string]*v1alpha1.CheckpointTransfer
	archives map[string]bool
	images   map[string]bool
	calls    int
	badImage bool               // the next copy wakes outside the safe point
	failing  *migration.Error   // of the next call of the kubelet
	frozen   bool               // the source, by the call under way
	inbox    []handover.Command // what it was sent meanwhile
	changing bool               // files change after the next dump
	spoilt   string             // an archive that must not be used

	decisions map[string]handover.Decision // by hand-over
	ends      map[string]bool              // END_REPLAY is written by the source
	holds     map[string]string            // by key: whose
	holdFor   time.Duration                // how long a newcomer waits under a hold that lasts
	heldSince map[types.UID]time.Time      // by pod: since when it does
	queues    map[string]bool
	gone      map[string]bool // queues that were deleted

	process
	wrong string // an invariant that did not hold
}

// process is what a process of the manager remembers.
type process struct {
	claimed    bool
	hop        int32
	sent       map[migration.Role]map[handover.CommandKind]migration.Sent
	heard      map[types.UID]*handover.Report
	calling    *migration.CheckpointResult // what the kubelet will answer
	checkpoint *migration.CheckpointResult
	decision   migration.Verdict
	done       map[migration.Step]bool
	failure    *migration.Error
}

const (
	counter  = "counter-0"
	ownerUID = "owner-uid"
	revision = "rev1"
)

func newWorld(kind owner.Kind, strategy v1alpha1.Strategy, ownerOnly bool) *world {
	w := &world{
		now: now, object: object(""), kind: kind, ownerOnly: ownerOnly,
		pods: map[string]*corev1.Pod{}, instances: map[types.UID]*instancetest.Instance{},
		legs: map[string]*v1alpha1.CheckpointTransfer{}, archives: map[string]bool{}, images: map[string]bool{},
		decisions: map[string]handover.Decision{}, ends: map[string]bool{}, holds: map[string]string{}, heldSince: map[types.UID]time.Time{},
		queues: map[string]bool{}, gone: map[string]bool{},
	}
	w.object.Status = v1alpha1.StatefulMigrationStatus{}
	w.object.Spec.Strategy, w.object.Spec.SourcePod.Name = strategy, counter
	w.crash()
	w.birth(counter, w.ownerReference())
	w.settleNodes()
	w.state = w.pods[counter].UID
	return w
}

// ownerReference is what the pods of the service have, if they have an owner.
func (w *world) ownerReference() *metav1.OwnerReference {
	if w.kind == owner.Standalone {
		return nil
	}
	yes := true
	return &metav1.OwnerReference{APIVersion: "apps/v1", Kind: string(w.kind), Name: "counter", UID: ownerUID, Controller: &yes}
}

// birth makes a pod, whose container does not run yet.
func (w *world) birth(name string, ref *metav1.OwnerReference) *corev1.Pod {
	w.born++
	p := pod(name, fmt.Sprintf("uid-%d", w.born), "")
	p.Status = corev1.PodStatus{Phase: corev1.PodPending}
	if ref != nil {
		p.OwnerReferences = []metav1.OwnerReference{*ref}
		p.Labels[map[owner.Kind]string{owner.StatefulSet: "controller-revision-hash", owner.ReplicaSet: "pod-template-hash"}[w.kind]] = revision
	}
	w.pods[name] = p
	return p
}

// crash ends the manager's process; the next one remembers nothing.
func (w *world) crash() {
	w.unfreeze() // the kubelet's client has hung up
	w.process = process{heard: map[types.UID]*handover.Report{}}
	w.enter(0)
}

// enter is what a process forgets at the end of a hop.
func (w *world) enter(hop int32) {
	w.hop = hop
	w.sent = map[migration.Role]map[handover.CommandKind]migration.Sent{migration.RoleSource: {}, migration.RoleTarget: {}}
	w.done = map[migration.Step]bool{}
	w.calling, w.checkpoint, w.decision, w.failure = nil, nil, migration.Unread, nil
}

func (w *world) violated(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// id is the identity of the present hand-over.
func (w *world) id() string { return migration.HandoverID(w.object) }

func (w *world) pod(role migration.Role) *corev1.Pod {
	st := &w.object.Status
	if role == migration.RoleTarget {
		return w.pods[st.TargetPodName]
	}
	return w.pods[migration.SourceName(w.object, st)]
}

func (w *world) uid(role migration.Role) types.UID {
	if role == migration.RoleTarget {
		return w.object.Status.TargetPodUID
	}
	return w.object.Status.SourcePodUID
}

func (w *world) instance(role migration.Role) *instancetest.Instance { return w.instances[w.uid(role)] }

func (w *world) facts() migration.Facts {
	if hop := w.object.Status.Hop; hop != w.hop {
		w.enter(hop)
	}
	f := migration.Facts{
		Now: w.now, Policy: migration.DefaultPolicy(), Object: w.object.DeepCopy(),
		Source:    migration.Instance{Pod: w.pod(migration.RoleSource), Report: w.heard[w.uid(migration.RoleSource)], Sent: w.sent[migration.RoleSource]},
		Target:    migration.Instance{Pod: w.pod(migration.RoleTarget), Report: w.heard[w.uid(migration.RoleTarget)], Sent: w.sent[migration.RoleTarget]},
		Transfers: len(w.legs), Decision: w.process.decision, Calling: w.calling != nil, Checkpoint: w.checkpoint, Failure: w.failure, Done: w.done,
		Preflight: preflight(), Owner: workload(w.kind),
	}
	if w.busy && w.object.Status.StartedAt == nil {
		f.Turn = &migration.Turn{Ahead: 3, Reason: "MaxMigrations", Message: "others are active"}
	}
	for _, p := range w.pods {
		if w.kind == owner.ReplicaSet && metav1.GetControllerOf(p) != nil && p.UID != w.uid(migration.RoleSource) && p.UID != w.uid(migration.RoleTarget) {
			f.Newcomers = append(f.Newcomers, *p)
		}
	}
	if node := w.object.Status.TargetNode; node != "" {
		f.Hostname = "host-of-" + node
	}
	for _, l := range w.legs {
		if l.Spec.Attempt != w.object.Status.Attempt || !strings.Contains(l.Name, short(w.id())) {
			continue
		}
		switch l.Spec.Direction {
		case v1alpha1.TransferThaw:
			f.Thaw = l
		case v1alpha1.TransferPush:
			f.Push = l
		case v1alpha1.TransferFetch:
			f.Fetch = l
		case v1alpha1.TransferStage:
			if l.Spec.PodUID == w.object.Status.TargetPodUID {
				f.Stage = l
			}
		case v1alpha1.TransferSweep:
			f.Sweep = l
		}
	}
	return f
}

// short is how the names of a hop's objects are told from those of others.
func short(id string) string {
	m := &v1alpha1.StatefulMigration{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: types.UID(id)}}
	return strings.TrimSuffix(strings.TrimPrefix(migration.TransferName(m, "a", 1), "x-"), "-a-1")
}

// holder finds the hold that a process which starts in a pod is under.
func (w *world) holder(p *corev1.Pod) (id, key string) {
	for _, c := range p.Spec.Containers {
		for _, e := range c.Env {
			if e.Name == handover.EnvMigration && w.holds[e.Value] != "" {
				return w.holds[e.Value], e.Value
			}
		}
	}
	for _, key := range []string{string(p.UID), handover.PodSlot("ns", p.Name), handover.QueueSlot("orders")} {
		if w.holds[key] != "" {
			return w.holds[key], key
		}
	}
	return "", ""
}

// start starts a fresh process in a pod.
func (w *world) start(p *corev1.Pod) {
	in := &instancetest.Instance{Status: handover.Status{
		PodUID: string(p.UID), State: handover.Held, Queue: "orders", Identity: handover.IdentityMessageID, OwnerOnly: w.ownerOnly,
		Rate: 100, Capacity: 100, // busy enough to be slowed down for its copy
	}}
	w.instances[p.UID] = in
	delete(w.heldSince, p.UID)
	w.await(p, in)
}

// await lets a process that has not begun look at the hold.
func (w *world) await(p *corev1.Pod, in *instancetest.Instance) {
	id, key := w.holder(p)
	in.Migration, in.Decision = id, w.decisions[id]
	target := key == id && id != ""
	switch {
	case id == "":
		w.begin(p, in)
	case in.Decision == handover.Undecided:
	case target && in.Decision == handover.Aborted:
		in.State = handover.Void
	case target && w.sequential(), key == handover.QueueSlot("orders") && in.Decision == handover.Commit:
		// Until the hold is gone, but not for ever: see handover's waitForRelease.
		if since, ok := w.heldSince[p.UID]; !ok {
			w.heldSince[p.UID] = w.now
		} else if w.now.Sub(since) >= w.holdFor {
			w.begin(p, in)
		}
	case target, in.Decision == handover.Aborted:
		w.begin(p, in)
	default:
		in.State = handover.Retired
	}
}

func (w *world) sequential() bool { return w.object.Status.Strategy == v1alpha1.StrategySequential }

// begin lets a fresh process take from the queue, with an empty memory.
func (w *world) begin(p *corev1.Pod, in *instancetest.Instance) {
	in.State = handover.Live
	if owner := w.instances[w.state]; !w.crashed && w.born > 1 && (owner != nil || w.state == "") {
		w.violated("a fresh process in %s takes messages while the state is with %q", p.Name, w.state)
	}
	if w.born == 1 || w.crashed {
		w.state = p.UID
	}
}

// write writes a decision, if none stands, and returns what stands.
func (w *world) write(id string, d handover.Decision) handover.Decision {
	if w.decisions[id] == handover.Undecided {
		w.decisions[id] = d
	}
	return w.decisions[id]
}

// settleInstances lets the instances decide among themselves.
func (w *world) settleInstances() {
	for _, p := range w.pods {
		in := w.instances[p.UID]
		if in == nil {
			continue
		}
		switch in.State {
		case handover.Held:
			w.await(p, in)
			continue
		case handover.Frozen:
			w.ends[in.Migration] = true
		case handover.Replaying:
			w.replay(in)
		}
		before := in.State
		if d := in.Wants(); d != handover.Undecided {
			w.write(in.Migration, d)
		}
		if before == handover.Frozen || in.Wants() != handover.Undecided {
			in.Obey(w.decisions[in.Migration])
		}
		w.moved(p, in, before)
	}
}

// replay lets a copy apply what there is, to the end if that is written.
func (w *world) replay(in *instancetest.Instance) {
	source := w.instances[w.object.Status.SourcePodUID]
	if source != nil && source.State == handover.Relaying {
		in.Number = source.Confirmed
	}
	if !w.queues[handover.ReplayQueue(in.Migration)] {
		in.GiveUp(handover.ReasonGap)
		return
	}
	if in.Fence != nil {
		if source != nil && source.Migration == in.Migration && source.State == handover.Relaying {
			w.violated("TAKEOVER while the source lives: it is %s", source.State)
		}
		in.AtEnd = true
	}
	in.AtEnd = in.AtEnd || w.ends[in.Migration]
}

// moved takes note of where the state is after an instance has gone on.
func (w *world) moved(p *corev1.Pod, in *instancetest.Instance, before handover.State) {
	switch {
	case in.State == before:
	case in.State == handover.Live && before == handover.Replaying:
		w.state = p.UID
	case in.State == handover.Retired && in.Sequential && w.state == p.UID:
		w.state = ""
	}
}

// condition reports whether a condition of a leg is true.
func isTrue(l *v1alpha1.CheckpointTransfer, kind string) bool {
	return l != nil && meta.IsStatusConditionTrue(l.Status.Conditions, kind)
}
