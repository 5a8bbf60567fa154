package cli

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

type (
	migration  = v1alpha1.StatefulMigration
	migrations = v1alpha1.StatefulMigrationList
)

// errGone is what has become of a migration that is followed.
var errGone = errors.New("the migration is gone: somebody deleted it, or its ttlSecondsAfterFinished has passed")

// again is how long an API server that does not answer is left alone: while
// somebody waits for a node to be emptied, it may well be upgraded.
const again = 2 * time.Second

// follow tells every version of a migration until seen says that it is enough, or ctx
// ends. One of the same name and another UID is not the one that is followed.
func (e *env) follow(ctx context.Context, c client.WithWatch, key types.NamespacedName, uid types.UID, seen func(*migration) bool) error {
	for {
		over, err := followOnce(ctx, c, key, uid, seen)
		switch {
		case over:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			continue
		case errors.Is(err, errGone) || !passing(err):
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-e.clock.After(again):
		}
	}
}

// passing reports whether an error of the API server may go away by itself.
func passing(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true // the network
	}
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}

// followOnce is follow over one watch, which the API server may end at any time.
func followOnce(ctx context.Context, c client.WithWatch, key types.NamespacedName, uid types.UID, seen func(*migration) bool) (bool, error) {
	one := &client.ListOptions{
		Namespace: key.Namespace, FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, key.Name),
	}
	list := &migrations{}
	if err := c.List(ctx, list, one); err != nil {
		return false, err
	}
	if len(list.Items) == 0 || list.Items[0].UID != uid {
		return false, errGone
	}
	if seen(&list.Items[0]) {
		return true, nil
	}
	one.Raw = &metav1.ListOptions{ResourceVersion: list.ResourceVersion}
	w, err := c.Watch(ctx, list, one)
	if err != nil {
		return false, err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		switch m, ok := event.Object.(*migration); {
		case event.Type == watch.Error:
			return false, apierrors.FromObject(event.Object)
		case !ok || m.UID != uid:
			continue
		case event.Type == watch.Deleted:
			return false, errGone
		case seen(m):
			return true, nil
		}
	}
	return false, nil
}

// ended reports whether a migration is over.
func ended(m *migration) bool {
	return m.Status.Phase == v1alpha1.PhaseCompleted || m.Status.Phase == v1alpha1.PhaseFailed
}
