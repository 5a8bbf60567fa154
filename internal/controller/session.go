package controller

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

// session is what this process knows of one migration beyond its object. Only
// the reconcile of that object touches it, and there is one at a time.
type session struct {
	uid     types.UID
	claimed bool   // the epoch is ours
	epoch   int64  // the one that was claimed
	version string // of the object as last written by us
	rival   rival

	url        string // of the broker
	broker     Broker // nil: not acquired
	brokerErr  error  // why not
	suspect    bool   // the broker has failed us: its URL may have changed
	resolveAt  time.Time
	generation int64
	connected  time.Time // when this process found itself connected to the broker anew

	hop       int32             // that the rest is about
	hostnames map[string]string // of nodes

	sent       map[migration.Role]map[handover.CommandKind]sent
	calling    *calling // nil: the kubelet is not being called
	checkpoint *migration.CheckpointResult
	decision   migration.Verdict
	samples    []migration.Sample
	done       map[migration.Step]bool
	lastWrite  time.Time
	legless    bool // the API server has said that all legs are gone, and none was made since

	alone []string // pods that nobody else followed when the session ended

	reviewed review
	surveyed survey

	failure *migration.Error // a fatal one, for the planner
	retry   retry
	last    recent
}

// rival is another process that has claimed the migration after this one.
type rival struct {
	version string // of the object when it was last seen to change
	since   time.Time
}

// sent is a command that was sent.
type sent struct {
	migration.Sent
	correlation string
}

// answeredBy tells the answer to this command from that to one before it.
func (c sent) answeredBy(a broker.Answer) bool {
	if a.Correlation != "" {
		return a.Correlation == c.correlation
	}
	return !a.At.Before(c.At) && a.Report.Status.Attempt == int(c.Attempt)
}

// retry keeps a failing action from being done again with every event.
type retry struct {
	action string
	tries  int
	at     time.Time
}

func newSession(uid types.UID) *session {
	return &session{
		uid:  uid,
		sent: map[migration.Role]map[handover.CommandKind]sent{},
		done: map[migration.Step]bool{},
	}
}

// enter forgets what was about an earlier hop.
func (s *session) enter(hop int32) {
	if s.hop == hop {
		return
	}
	s.hop = hop
	s.sent, s.done = map[migration.Role]map[handover.CommandKind]sent{}, map[migration.Step]bool{}
	s.calling, s.checkpoint, s.samples = nil, nil, nil
	s.decision, s.failure, s.retry = migration.Unread, nil, retry{}
}

// reconnected forgets what was sent over a connection that is gone: the
// answers went to a queue that went with it.
func (s *session) reconnected(now time.Time) {
	s.connected = now
	s.sent = map[migration.Role]map[handover.CommandKind]sent{}
	s.retry = retry{}
}

// Sessions are the sessions of all migrations that this process carries, and
// the way by which a report wakes the right one.
type Sessions struct {
	mu    sync.Mutex
	byKey map[types.NamespacedName]*session
	byPod map[string]map[types.NamespacedName]bool // by pod UID: who follows it
	byUID map[types.UID]types.NamespacedName
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// NewSessions makes an empty set.
func NewSessions() *Sessions {
	return &Sessions{
		byKey: map[types.NamespacedName]*session{},
		byPod: map[string]map[types.NamespacedName]bool{},
		byUID: map[types.UID]types.NamespacedName{},
	}
}

// wake has a migration reconciled.
func (ss *Sessions) wake(key types.NamespacedName) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.queue != nil {
		ss.queue.Add(reconcile.Request{NamespacedName: key})
	}
}

// Wake has the migration reconciled that the pod takes part in; all of them if
// no pod is named. It never blocks: the queue merges what is in it already.
func (ss *Sessions) Wake(podUID string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.queue == nil {
		return
	}
	if podUID == "" {
		for key := range ss.byKey {
			ss.queue.Add(reconcile.Request{NamespacedName: key})
		}
		return
	}
	for key := range ss.byPod[podUID] {
		ss.queue.Add(reconcile.Request{NamespacedName: key})
	}
}

// source hands the controller's queue to Wake.
func (ss *Sessions) source() source.Source {
	return source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		ss.mu.Lock()
		defer ss.mu.Unlock()
		ss.queue = q
		return nil
	})
}

// open gives the session of an object, a new one if the object is another of
// the same name.
func (ss *Sessions) open(key types.NamespacedName, uid types.UID) (s, stale *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if s = ss.byKey[key]; s != nil && s.uid != uid {
		stale, s = s, nil
		ss.forget(key, stale)
	}
	if s == nil {
		s = newSession(uid)
		ss.byKey[key], ss.byUID[uid] = s, key
	}
	return s, stale
}

// peek is the session of an object, if there is one.
func (ss *Sessions) peek(key types.NamespacedName) *session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.byKey[key]
}

// end ends a session and returns it, if there was one.
func (ss *Sessions) end(key types.NamespacedName) *session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.byKey[key]
	if s != nil {
		ss.forget(key, s)
	}
	return s
}

// forget takes a session out, and leaves it the pods that nobody else follows.
func (ss *Sessions) forget(key types.NamespacedName, s *session) {
	delete(ss.byKey, key)
	delete(ss.byUID, s.uid)
	for pod, followers := range ss.byPod {
		if !followers[key] {
			continue
		}
		delete(followers, key)
		if len(followers) == 0 {
			delete(ss.byPod, pod)
			s.alone = append(s.alone, pod)
		}
	}
}

// follow makes reports of a pod wake the migration.
func (ss *Sessions) follow(pod types.UID, key types.NamespacedName) {
	if pod == "" {
		return
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.byPod[string(pod)] == nil {
		ss.byPod[string(pod)] = map[types.NamespacedName]bool{}
	}
	ss.byPod[string(pod)][key] = true
}

// find is the migration with a UID.
func (ss *Sessions) find(uid types.UID) (types.NamespacedName, bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	key, ok := ss.byUID[uid]
	return key, ok
}
