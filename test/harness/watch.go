package harness

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Until watches the object with obj's namespace and name until done says so, or
// fails. done is told each version seen, and the zero T while there is no
// such object.
func Until[T client.Object](ctx context.Context, l *Lab, obj T, list client.ObjectList, done func(T) (bool, error)) error {
	for {
		over, err := until(ctx, l, obj, list, done)
		if over || err != nil {
			return err
		}
	}
}

// until is Until over one watch, which the API server may end at any time.
func until[T client.Object](ctx context.Context, l *Lab, obj T, list client.ObjectList, done func(T) (bool, error)) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("waiting for %T %s: %w", obj, client.ObjectKeyFromObject(obj), context.Cause(ctx))
	}
	only := &client.ListOptions{
		Namespace:     obj.GetNamespace(),
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, obj.GetName()),
	}
	if err := l.Client.List(ctx, list, only); err != nil {
		return false, unlessAgain(ctx, err)
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return false, err
	}
	var present T
	if len(items) > 0 {
		present = items[0].(T)
	}
	if over, err := done(present); over || err != nil {
		return over, err
	}
	only.Raw = &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}
	w, err := l.Client.Watch(ctx, list, only)
	if err != nil {
		return false, unlessAgain(ctx, err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		switch event.Type {
		case watch.Added, watch.Modified:
			present = event.Object.(T)
		case watch.Deleted:
			var gone T
			present = gone
		case watch.Error:
			return false, unlessAgain(ctx, apierrors.FromObject(event.Object))
		default:
			continue
		}
		if over, err := done(present); over || err != nil {
			return over, err
		}
	}
	return false, nil
}

// unlessAgain is nil for an error after which until is called again: a watch
// that fell behind begins anew, and one that ended with ctx is told as that.
func unlessAgain(ctx context.Context, err error) error {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return nil
	}
	return err
}

// Gone waits until there is no such object.
func Gone[T client.Object](ctx context.Context, l *Lab, obj T, list client.ObjectList) error {
	return Until(ctx, l, obj, list, func(o T) (bool, error) {
		var none T
		return client.Object(o) == client.Object(none), nil
	})
}
