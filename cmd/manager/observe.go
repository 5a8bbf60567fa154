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
	"ms2m.dev/ms2m/internal/tracing"
	"ms2m.dev/ms2m/internal/version"
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

// flushTimeout bounds how long a manager that ends waits for a collector to take the last traces.
const flushTimeout = 5 * time.Second

// traced has a trace made of each migration that ends, if the environment says where to.
func traced(ctx context.Context, r *controller.Reconciler) (sent func(), err error) {
	tracer, err := tracing.FromEnvironment(ctx, version.String())
	if err != nil || tracer == nil {
		return func() {}, err
	}
	r.Observers = append(r.Observers, tracer)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		if err := tracer.Close(ctx); err != nil {
			ctrl.Log.Error(err, "the last traces are lost")
		}
	}, nil
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
