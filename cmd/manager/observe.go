package main

import (
	"context"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/broker"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/metrics"
)

// scrapeTimeout bounds a look into the cache, which does not wait for anything once it is filled.
const scrapeTimeout = 5 * time.Second

// observe has Prometheus told of what the reconciler does, and of what there is.
func observe(mgr ctrl.Manager, r *controller.Reconciler, pool *broker.Pool) error {
	counts, err := metrics.NewManager(ctrlmetrics.Registry)
	if err != nil {
		return err
	}
	r.Observers, r.Failures = append(r.Observers, counts), counts
	return ctrlmetrics.Registry.Register(&metrics.Active{
		List:        func() ([]v1alpha1.StatefulMigration, bool) { return list(mgr) },
		Connections: pool.Connections,
		Limits:      r.Limits,
		Clock:       clock.RealClock{},
	})
}

// list reads the migrations if this is the active manager: its cache is filled then.
func list(mgr ctrl.Manager) ([]v1alpha1.StatefulMigration, bool) {
	select {
	case <-mgr.Elected():
	default:
		return nil, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var all v1alpha1.StatefulMigrationList
	if err := mgr.GetClient().List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, false // the cache has stopped: so does the manager
	}
	return all.Items, true
}
