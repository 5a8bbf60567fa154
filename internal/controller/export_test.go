package controller

import (
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Queue is what wakes reconciles; a controller's own in production.
func (ss *Sessions) Queue(q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.queue = q
}
