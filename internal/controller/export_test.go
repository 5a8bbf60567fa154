package controller

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// Queue is what wakes reconciles; a controller's own in production.
func (ss *Sessions) Queue(q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.queue = q
}

// Turn, GiveBack and Next are how places are given away.
func (r *Reconciler) Turn(ctx context.Context, m *v1alpha1.StatefulMigration, take bool) (*migration.Turn, error) {
	return r.turn(ctx, m, take)
}

func (r *Reconciler) GiveBack(ctx context.Context, uid types.UID) { r.giveBack(ctx, uid) }

func (r *Reconciler) Next(ctx context.Context) []types.NamespacedName { return r.next(ctx) }

// Legs counts, as often as it is asked, the legs of a migration that has had them deleted.
func (r *Reconciler) Legs(m *v1alpha1.StatefulMigration) func(context.Context) (int, error) {
	s := &scope{Reconciler: r, session: newSession(m.UID), object: m}
	s.session.done[migration.StepTransfersDeleted] = true
	return func(ctx context.Context) (int, error) {
		var f migration.Facts
		err := s.transfers(ctx, &f)
		return f.Transfers, err
	}
}

// MakesWay is what wakes those that wait.
func MakesWay(before, after *v1alpha1.StatefulMigration) bool { return makesWay(before, after) }
