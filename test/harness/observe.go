package harness

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// observation sees every version of some objects, by a watch. A watch that breaks
// off is an error: what was in between would be unseen.
type observation struct {
	client client.WithWatch
	list   client.ObjectList // of the kind
	opts   []client.ListOption
	each   func(present map[types.UID]client.Object)
	cancel context.CancelFunc
	done   chan struct{}
	bell   chan struct{} // rings when a version was seen

	mu      sync.Mutex
	present map[types.UID]client.Object
	err     error
}

// observe calls each with the objects that there are now, and again with every
// change, from one goroutine, until finish.
func (l *Lab) observe(ctx context.Context, list client.ObjectList, each func(map[types.UID]client.Object), opts ...client.ListOption) (*observation, error) {
	ctx, cancel := context.WithCancel(ctx)
	o := &observation{
		client: l.Client, list: list, opts: opts, each: each, cancel: cancel,
		done: make(chan struct{}), bell: make(chan struct{}, 1), present: make(map[types.UID]client.Object),
	}
	first, version, err := o.look(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	o.present = first
	each(first)
	from := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}}
	w, err := l.Client.Watch(ctx, list, append(opts, from)...)
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(o.done)
		defer w.Stop()
		for event := range w.ResultChan() {
			o.take(event)
		}
		if ctx.Err() == nil {
			o.fail(fmt.Errorf("the watch of %T ended", list))
		}
	}()
	return o, nil
}

// look lists what there is.
func (o *observation) look(ctx context.Context) (map[types.UID]client.Object, string, error) {
	list := o.list.DeepCopyObject().(client.ObjectList)
	if err := o.client.List(ctx, list, o.opts...); err != nil {
		return nil, "", err
	}
	items := make(map[types.UID]client.Object)
	err := meta.EachListItem(list, func(item runtime.Object) error {
		object := item.(client.Object)
		items[object.GetUID()] = object
		return nil
	})
	return items, list.GetResourceVersion(), err
}

func (o *observation) take(event watch.Event) {
	switch event.Type {
	case watch.Added, watch.Modified, watch.Deleted:
		object := event.Object.(client.Object)
		o.mu.Lock()
		if event.Type == watch.Deleted {
			delete(o.present, object.GetUID())
		} else {
			o.present[object.GetUID()] = object
		}
		o.each(o.present)
		o.mu.Unlock()
		ring(o.bell)
	case watch.Error:
		o.fail(apierrors.FromObject(event.Object))
	}
}

func (o *observation) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
	ring(o.bell)
}

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// finish ends the observation when all was seen that had happened before.
func (o *observation) finish(ctx context.Context) error {
	defer func() {
		o.cancel()
		<-o.done
	}()
	for {
		now, _, err := o.look(ctx)
		if err != nil {
			return err
		}
		if level, err := o.level(now); level || err != nil {
			return err
		}
		select {
		case <-o.bell:
		case <-ctx.Done():
			return fmt.Errorf("the watch of %T lags behind: %w", o.list, context.Cause(ctx))
		}
	}
}

// level reports whether what was seen is not older than now.
func (o *observation) level(now map[types.UID]client.Object) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil || len(now) != len(o.present) {
		return false, o.err
	}
	for uid, object := range now {
		seen, ok := o.present[uid]
		if !ok || version(seen) < version(object) {
			return false, nil
		}
	}
	return true, nil
}

// version is an object's resource version, which grows.
func version(o client.Object) uint64 {
	v, _ := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	return v
}
