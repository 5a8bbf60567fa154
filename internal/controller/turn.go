package controller

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/queue"
)

// turns are the places that were given away and do not show in the cache yet:
// without them two workers, or one that is quicker than the watch, would both
// take the last one.
type turns struct {
	mu    sync.Mutex
	taken map[types.UID]queue.Migration
}

// plan plans. A plan to begin is one only if the migration's turn has come.
func (s *scope) plan(ctx context.Context, facts migration.Facts) (migration.Plan, error) {
	plan := migration.Next(facts)
	if s.object.Status.StartedAt != nil || plan.Status.StartedAt == nil {
		if pending(plan.Status.Phase) || plan.Ended {
			s.giveBack(ctx, s.object.UID)
		}
		return plan, nil
	}
	ready := *s.object
	ready.Status = plan.Status
	turn, err := s.turn(ctx, &ready, true)
	if err != nil || turn == nil {
		return plan, err
	}
	facts.Turn = turn
	return migration.Next(facts), nil
}

// turn is why a migration may not begin yet; nil: it may. With take its place is
// kept until its status shows that it has begun, or it turns out not to.
func (r *Reconciler) turn(ctx context.Context, m *v1alpha1.StatefulMigration, take bool) (*migration.Turn, error) {
	r.turns.mu.Lock()
	defer r.turns.mu.Unlock()
	all, _, err := r.contenders(ctx, m)
	if err != nil {
		return nil, err
	}
	v := queue.Decide(all, r.Limits)[m.UID]
	if !v.Begin {
		return &migration.Turn{Ahead: int32(v.Ahead), Reason: string(v.Reason), Message: r.words(m, v)}, nil
	}
	if take {
		if r.turns.taken == nil {
			r.turns.taken = map[types.UID]queue.Migration{}
		}
		taken := contender(m)
		taken.Active = true
		r.turns.taken[m.UID] = taken
	}
	return nil, nil
}

// giveBack gives a place back that was taken, and not used.
func (r *Reconciler) giveBack(ctx context.Context, uid types.UID) {
	r.turns.mu.Lock()
	_, had := r.turns.taken[uid]
	delete(r.turns.taken, uid)
	r.turns.mu.Unlock()
	if !had {
		return
	}
	for _, key := range r.next(ctx) {
		r.Sessions.wake(key)
	}
}

// words says why a migration waits.
func (r *Reconciler) words(m *v1alpha1.StatefulMigration, v queue.Verdict) string {
	limits, total, perNode := r.Limits, "--max-migrations", "--max-migrations-per-node"
	if v.Policy != "" {
		limits = under(m)
		total = fmt.Sprintf("bounds.maxMigrations of the MigrationPolicy %q", v.Policy)
		perNode = fmt.Sprintf("bounds.maxMigrationsPerNode of the MigrationPolicy %q", v.Policy)
	}
	switch v.Reason {
	case queue.ReasonCluster:
		return fmt.Sprintf("%d migrations are active, as many as may be (%s)", limits.Migrations, total)
	case queue.ReasonNode:
		return fmt.Sprintf("%d migrations from or to the node %q are active, as many as may be (%s)", limits.PerNode, v.Node, perNode)
	case queue.ReasonTurn:
		return fmt.Sprintf("the room on the node %q is for those that come first (%s is %d)", v.Node, perNode, limits.PerNode)
	}
	return "another migration has the pod, or comes first for it"
}

// contenders are those that are active or wait, by the objects and by what this
// process has let in itself; m waits, whatever the cache says. waiting are the
// objects of those that wait, to be read only. The lock is held.
func (r *Reconciler) contenders(ctx context.Context, m *v1alpha1.StatefulMigration) (all []queue.Migration, waiting map[types.UID]*v1alpha1.StatefulMigration, _ error) {
	var list v1alpha1.StatefulMigrationList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, err
	}
	there := map[types.UID]bool{}
	waiting = map[types.UID]*v1alpha1.StatefulMigration{}
	for i := range list.Items {
		other := &list.Items[i]
		there[other.UID] = true
		if m != nil && other.UID == m.UID {
			continue
		}
		if begun(other) || ended(other) {
			delete(r.turns.taken, other.UID) // it shows
		}
		_, taken := r.turns.taken[other.UID]
		switch {
		case ended(other) || taken:
		case begun(other):
			all = append(all, contender(other))
		case queued(other):
			all = append(all, contender(other))
			waiting[other.UID] = other
		}
	}
	for uid, taken := range r.turns.taken {
		switch {
		case !there[uid]:
			delete(r.turns.taken, uid)
		case m == nil || uid != m.UID:
			all = append(all, taken)
		}
	}
	if m != nil {
		all = append(all, contender(m))
		all[len(all)-1].Active = false
	}
	return all, waiting, nil
}

// begun reports whether a migration has been let in: recorded before its first
// effect, so that every process counts the same.
func begun(m *v1alpha1.StatefulMigration) bool { return !pending(m.Status.Phase) && !ended(m) }

func queued(m *v1alpha1.StatefulMigration) bool {
	return m.Status.Queued != nil && m.DeletionTimestamp == nil
}

func contender(m *v1alpha1.StatefulMigration) queue.Migration {
	st := &m.Status
	q := queue.Migration{
		UID: m.UID, Namespace: m.Namespace, Name: m.Name, Created: m.CreationTimestamp.Time,
		Nodes: []string{st.SourceNode, st.TargetNode}, Under: under(m), Active: begun(m),
	}
	if st.Policy != nil {
		q.Policy = st.Policy.Name
	}
	for _, uid := range []types.UID{st.SourcePodUID, st.TargetPodUID} {
		if uid != "" {
			q.Pods = append(q.Pods, uid)
		}
	}
	return q
}

// under are the limits of a migration's policy, as it has recorded them.
func under(m *v1alpha1.StatefulMigration) queue.Limits {
	s := m.Status.Settings
	if s == nil || m.Status.Policy == nil {
		return queue.Limits{}
	}
	return queue.Limits{Migrations: int(s.MaxMigrations), PerNode: int(s.MaxMigrationsPerNode)}
}

// next are those whose turn has come, and those that have come so far forward
// that their status should say so.
func (r *Reconciler) next(ctx context.Context) []types.NamespacedName {
	r.turns.mu.Lock()
	defer r.turns.mu.Unlock()
	all, waiting, err := r.contenders(ctx, nil)
	if err != nil {
		log.FromContext(ctx).Error(err, "who comes next cannot be found out") // the cache has stopped: so does the manager
		return nil
	}
	var keys []types.NamespacedName
	for uid, v := range queue.Decide(all, r.Limits) {
		if m := waiting[uid]; v.Begin || migration.Outdated(m.Status.Queued, int32(v.Ahead)) {
			keys = append(keys, client.ObjectKeyFromObject(m))
		}
	}
	return keys
}

// makesWay reports whether a change can be what others wait for, or have one less before
// them by it. Who comes, and who takes a node or pod in addition, does nothing for others,
// and looks by itself: to look for all of them at each would cost the square of their number.
func makesWay(before, after *v1alpha1.StatefulMigration) bool {
	had, has := contender(before), contender(after)
	switch {
	case !begun(before) && !queued(before):
		return false
	case begun(before) && begun(after):
		return gone(had.Nodes, has.Nodes) || gone(had.Pods, has.Pods) || had.Policy != has.Policy || had.Under != has.Under
	}
	return ended(before) != ended(after) || queued(before) != queued(after) || !reflect.DeepEqual(had, has)
}

// gone reports whether there was something that is not there any more.
func gone[T ~string](had, has []T) bool {
	return slices.ContainsFunc(had, func(one T) bool { return one != "" && !slices.Contains(has, one) })
}

// turnChanges wakes those that wait when something has changed that they wait
// for: one has ended, has left a node, or does not wait any more.
func (r *Reconciler) turnChanges() handler.Funcs {
	type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]
	wake := func(ctx context.Context, q requests) {
		for _, key := range r.next(ctx) {
			q.Add(reconcile.Request{NamespacedName: key})
		}
	}
	return handler.Funcs{
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q requests) {
			before, ok := e.ObjectOld.(*v1alpha1.StatefulMigration)
			after, ok2 := e.ObjectNew.(*v1alpha1.StatefulMigration)
			if ok && ok2 && makesWay(before, after) {
				wake(ctx, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q requests) {
			if m, ok := e.Object.(*v1alpha1.StatefulMigration); ok && !ended(m) {
				wake(ctx, q)
			}
		},
	}
}
