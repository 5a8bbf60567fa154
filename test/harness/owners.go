package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// View is what a workload's owner and its clients saw of a time.
type View struct {
	Ready     Series            // status.readyReplicas of the owner
	Available Series            // status.availableReplicas
	Replicas  Series            // spec.replicas
	Healthy   Series            // the budget's status.currentHealthy
	Endpoints Series            // ready ones of the workload's Service
	Each      map[string]Series // of the Services of single pods
	// Generations of the owner: one, unless its spec was changed.
	Generations []int64
	// Pods are the pods that were there at any time, as they were last seen.
	Pods map[types.UID]*corev1.Pod
	// Before and After are the UIDs of the pods at the beginning and at the end.
	Before, After []types.UID
	End           time.Time
}

// OwnerWatch watches a workload until Finish.
type OwnerWatch struct {
	observations []*observation
	mu           sync.Mutex
	view         View
}

// WatchOwner begins to watch the owner of a workload, its pods, its budget, and
// these Services besides the one of its own name.
func (w *Workload) WatchOwner(ctx context.Context, owner client.ObjectList, services ...string) (*OwnerWatch, error) {
	o := &OwnerWatch{view: View{Each: make(map[string]Series), Pods: make(map[types.UID]*corev1.Pod)}}
	here := client.InNamespace(w.Namespace)
	named := client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector(metav1.ObjectNameField, w.Name)}
	begin := func(list client.ObjectList, each func(map[types.UID]client.Object), which client.ListOption) error {
		seen, err := w.lab.observe(ctx, list, func(present map[types.UID]client.Object) {
			o.mu.Lock()
			defer o.mu.Unlock()
			each(present)
		}, here, which)
		if err == nil {
			o.observations = append(o.observations, seen)
		}
		return err
	}
	err := errors.Join(
		begin(owner, o.owner, named),
		begin(&policyv1.PodDisruptionBudgetList{}, o.budget, named),
		begin(&corev1.PodList{}, o.pods, client.MatchingLabels(w.labels())))
	slicesOf := func(service string) client.MatchingLabels {
		return client.MatchingLabels{discoveryv1.LabelServiceName: service}
	}
	err = errors.Join(err, begin(&discoveryv1.EndpointSliceList{},
		func(present map[types.UID]client.Object) { o.view.Endpoints.add(ready(present), time.Now()) }, slicesOf(w.Name)))
	for _, s := range services {
		err = errors.Join(err, begin(&discoveryv1.EndpointSliceList{}, func(present map[types.UID]client.Object) {
			series := o.view.Each[s]
			series.add(ready(present), time.Now())
			o.view.Each[s] = series
		}, slicesOf(s)))
	}
	return o, err
}

func (o *OwnerWatch) owner(present map[types.UID]client.Object) {
	now, v := time.Now(), &o.view
	if len(present) == 0 {
		v.Ready.add(0, now)
		v.Available.add(0, now)
	}
	for _, object := range present {
		if g := object.GetGeneration(); !slices.Contains(v.Generations, g) {
			v.Generations = append(v.Generations, g)
		}
		switch owner := object.(type) {
		case *appsv1.StatefulSet:
			v.Replicas.add(int(ptr.Deref(owner.Spec.Replicas, 1)), now)
			v.Ready.add(int(owner.Status.ReadyReplicas), now)
			v.Available.add(int(owner.Status.AvailableReplicas), now)
		case *appsv1.Deployment:
			v.Replicas.add(int(ptr.Deref(owner.Spec.Replicas, 1)), now)
			v.Ready.add(int(owner.Status.ReadyReplicas), now)
			v.Available.add(int(owner.Status.AvailableReplicas), now)
		}
	}
}

func (o *OwnerWatch) budget(present map[types.UID]client.Object) {
	healthy := 0
	for _, object := range present {
		healthy = int(object.(*policyv1.PodDisruptionBudget).Status.CurrentHealthy)
	}
	o.view.Healthy.add(healthy, time.Now())
}

func (o *OwnerWatch) pods(present map[types.UID]client.Object) {
	var uids []types.UID
	for uid, object := range present {
		o.view.Pods[uid] = object.(*corev1.Pod)
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	if o.view.Before == nil {
		o.view.Before = uids
	}
	o.view.After = uids
}

// ready counts the ready endpoints in a Service's slices: by address, for one that
// goes from slice to slice is in both for a moment.
func ready(present map[types.UID]client.Object) int {
	addresses := make(map[string]bool)
	for _, object := range present {
		for _, e := range object.(*discoveryv1.EndpointSlice).Endpoints {
			if ptr.Deref(e.Conditions.Ready, true) {
				for _, a := range e.Addresses {
					addresses[a] = true
				}
			}
		}
	}
	return len(addresses)
}

// Finish ends the watching when all was seen that had happened before.
func (o *OwnerWatch) Finish(ctx context.Context) (View, error) {
	var err error
	for _, seen := range o.observations {
		err = errors.Join(err, seen.finish(ctx))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.view.End = time.Now()
	return o.view, err
}

// Disturbed tells what was different of the pods that neither came nor went: a pod
// may be replaced if its name begins with one of those that moved.
func (v View) Disturbed(moved ...string) []string {
	var told []string
	for _, uid := range v.Before {
		p := v.Pods[uid]
		mine := slices.ContainsFunc(moved, func(name string) bool { return p.Name == name || strings.HasPrefix(p.Name, name+"-") })
		if !mine && !slices.Contains(v.After, uid) {
			told = append(told, fmt.Sprintf("pod %s (%s) is gone", p.Name, uid))
		}
	}
	for _, p := range v.Pods {
		for _, c := range p.Status.ContainerStatuses {
			if c.RestartCount > 0 {
				told = append(told, fmt.Sprintf("container %s of pod %s was restarted", c.Name, p.Name))
			}
		}
	}
	return told
}
