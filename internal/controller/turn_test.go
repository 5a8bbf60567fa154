package controller_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/queue"
)

// crowd is a rig with migrations that wait, the oldest first, each of a pod of its own.
func crowd(t *testing.T, n int, limits queue.Limits) (*rig, []*v1alpha1.StatefulMigration) {
	t.Helper()
	var all []*v1alpha1.StatefulMigration
	var objects []client.Object
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range n {
		m := object(v1alpha1.PhasePending)
		m.Name, m.UID = fmt.Sprintf("m%02d", i), types.UID(fmt.Sprintf("uid-%02d", i))
		m.CreationTimestamp = metav1.NewTime(start.Add(time.Duration(i) * time.Second))
		m.Status.SourcePodUID = types.UID(fmt.Sprintf("pod-%02d", i))
		m.Status.SourceNode, m.Status.TargetNode = fmt.Sprintf("from-%d", i), fmt.Sprintf("to-%d", i)
		m.Status.Queued = &v1alpha1.Queued{Since: metav1.NewMicroTime(start), Ahead: int32(i), Reason: "MaxMigrations"}
		all, objects = append(all, m), append(objects, m)
	}
	r := newRig(t, object(v1alpha1.PhaseCompleted), interceptor.Funcs{}, objects...)
	r.Limits = limits
	for _, m := range all {
		if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
			t.Fatal(err)
		}
	}
	return r, all
}

func (r *rig) set(m *v1alpha1.StatefulMigration, change func(*v1alpha1.StatefulMigration)) {
	r.t.Helper()
	change(m)
	if err := r.Client.Status().Update(r.t.Context(), m); err != nil {
		r.t.Fatal(err)
	}
}

// TestLastPlace lets workers ask for places at once, while the cache shows nothing
// of what any of them has got.
func TestLastPlace(t *testing.T) {
	const places = 3
	r, all := crowd(t, 20, queue.Limits{Migrations: places})
	for _, m := range all { // nor that others wait
		r.set(m, func(m *v1alpha1.StatefulMigration) { m.Status.Queued = nil })
	}
	for range 3 { // who has a place may ask again
		var got atomic.Int32
		var workers sync.WaitGroup
		for _, m := range all {
			workers.Go(func() {
				turn, err := r.Turn(t.Context(), m, true)
				switch {
				case err != nil:
					t.Error(err)
				case turn == nil:
					got.Add(1)
				}
			})
		}
		workers.Wait()
		if got.Load() != places {
			t.Errorf("%d have got one of %d places", got.Load(), places)
		}
	}
}

// TestPlaces follows a place from one that finds that it cannot use it to one that
// does, and to the next when that has ended.
func TestPlaces(t *testing.T) {
	r, all := crowd(t, 4, queue.Limits{Migrations: 1})
	mayBegin := func(m *v1alpha1.StatefulMigration, want bool) {
		t.Helper()
		turn, err := r.Turn(t.Context(), m, true)
		if err != nil || (turn == nil) != want {
			t.Errorf("%s: %+v, %v, want %t", m.Name, turn, err, want)
		}
	}
	next := func(want ...string) {
		t.Helper()
		var names []string
		for _, k := range r.Next(t.Context()) {
			names = append(names, k.Name)
		}
		if slices.Sort(names); !slices.Equal(names, want) {
			t.Errorf("woken are %v, want %v", names, want)
		}
	}
	mayBegin(all[0], true)
	mayBegin(all[1], false)
	// The first does not begin: its pod is not ready any more.
	r.set(all[0], func(m *v1alpha1.StatefulMigration) { m.Status.Queued = nil })
	next("m01", "m02") // they have come forward to where half as many are ahead; m03 has not
	r.GiveBack(t.Context(), all[0].UID)
	next("m01", "m02", "m03")
	woken := map[string]bool{}
	for r.wakes.Len() > 0 {
		req, _ := r.wakes.Get()
		woken[req.Name] = true
		r.wakes.Done(req)
	}
	if !woken["m01"] {
		t.Errorf("the place was given back, and %v were woken", woken)
	}
	mayBegin(all[1], true)
	mayBegin(all[2], false)
	r.set(all[1], func(m *v1alpha1.StatefulMigration) {
		m.Status.Phase, m.Status.Queued = v1alpha1.PhaseCheckpointing, nil
	})
	mayBegin(all[2], false)
	r.set(all[1], func(m *v1alpha1.StatefulMigration) { m.Status.Phase = v1alpha1.PhaseFailed })
	next("m02", "m03")
	mayBegin(all[2], true)
	// It is gone before it could begin.
	all[2].Finalizers = nil
	if err := r.Client.Update(t.Context(), all[2]); err != nil {
		t.Fatal(err)
	}
	if err := r.Client.Delete(t.Context(), all[2]); err != nil {
		t.Fatal(err)
	}
	mayBegin(all[3], true)
}

// TestOneOfAPod lets in one of two that move the same pod, however little the two
// have seen of each other, and none that would move a copy in the making.
func TestOneOfAPod(t *testing.T) {
	r, all := crowd(t, 3, queue.Limits{})
	all[1].Status.SourcePodUID = all[0].Status.SourcePodUID
	for i, want := range []bool{true, false, true} {
		if turn, err := r.Turn(t.Context(), all[i], true); err != nil || (turn == nil) != want {
			t.Errorf("%s: %+v, %v, want %t", all[i].Name, turn, err, want)
		}
	}
	r, all = crowd(t, 2, queue.Limits{})
	r.set(all[0], func(m *v1alpha1.StatefulMigration) {
		m.Status.Phase, m.Status.Queued, m.Status.TargetPodUID = v1alpha1.PhaseReplaying, nil, all[1].Status.SourcePodUID
	})
	if turn, err := r.Turn(t.Context(), all[1], true); err != nil || turn == nil || turn.Reason != "OtherMigration" {
		t.Errorf("%+v, %v", turn, err)
	}
}

// TestExpires: an ended migration is deleted when its time has come, by its UID.
func TestExpires(t *testing.T) {
	deleted := false
	r := newRig(t, object(v1alpha1.PhaseCompleted), interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			deleted = true
			options := (&client.DeleteOptions{}).ApplyOptions(opts)
			if p := options.Preconditions; p == nil || p.UID == nil || *p.UID != uid {
				t.Errorf("preconditions %+v", p)
			}
			return c.Delete(ctx, o, opts...)
		},
	})
	ended := metav1.NewMicroTime(r.clock.Now())
	ttl := int32(60)
	m := r.get()
	m.Spec.TTLSecondsAfterFinished = &ttl
	if err := r.Client.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	r.set(m, func(m *v1alpha1.StatefulMigration) { m.Status.EndedAt = &ended })
	r.later(time.Second)
	if left := r.reconcile().RequeueAfter; left != 59*time.Second {
		t.Errorf("it is looked at again after %v", left)
	}
	if m := r.get(); len(m.Finalizers) > 0 {
		t.Errorf("finalizers %v", m.Finalizers)
	}
	if deleted {
		t.Error("it is deleted before its time")
	}
	r.later(59 * time.Second)
	r.reconcile()
	var left v1alpha1.StatefulMigrationList
	if err := r.Client.List(t.Context(), &left); err != nil || len(left.Items) != 0 || !deleted {
		t.Errorf("%d are left, %v", len(left.Items), err)
	}
}

// TestMakesWay: those that wait are woken by what they can wait for, and by nothing else.
func TestMakesWay(t *testing.T) {
	t.Parallel()
	type change = func(*v1alpha1.StatefulMigration)
	waits := func(m *v1alpha1.StatefulMigration) {
		m.Status.Phase, m.Status.Queued = v1alpha1.PhasePending, &v1alpha1.Queued{Reason: "MaxMigrations"}
	}
	in := func(phase v1alpha1.MigrationPhase) change {
		return func(m *v1alpha1.StatefulMigration) { m.Status.Phase, m.Status.Queued = phase, nil }
	}
	on := func(nodes ...string) change {
		return func(m *v1alpha1.StatefulMigration) { m.Status.SourceNode, m.Status.TargetNode = nodes[0], nodes[1] }
	}
	target := func(m *v1alpha1.StatefulMigration) { m.Status.TargetPodUID = "target" }
	for name, test := range map[string]struct {
		before, after []change
		want          bool
	}{
		"one comes":                     {[]change{in("")}, []change{in(v1alpha1.PhasePending), on("a", "b")}, false},
		"one begins to wait":            {[]change{in(v1alpha1.PhasePending)}, []change{waits}, false},
		"one that waits begins":         {[]change{waits}, []change{in(v1alpha1.PhaseCheckpointing)}, true},
		"one that waits is not ready":   {[]change{waits}, []change{in(v1alpha1.PhasePending)}, true},
		"one that waits fails":          {[]change{waits}, []change{in(v1alpha1.PhaseFailed)}, true},
		"one that waits goes elsewhere": {[]change{waits, on("a", "b")}, []change{waits, on("a", "c")}, true},
		"one goes on":                   {[]change{in(v1alpha1.PhaseRestoring)}, []change{in(v1alpha1.PhaseReplaying)}, false},
		"one gets its target":           {[]change{in(v1alpha1.PhaseRestoring), on("a", "")}, []change{in(v1alpha1.PhaseRestoring), on("a", "b"), target}, false},
		"one turns round":               {[]change{in(v1alpha1.PhaseRestoring), on("a", "b")}, []change{in(v1alpha1.PhaseRestoring), on("b", "a")}, false},
		"one leaves a node for another": {[]change{in(v1alpha1.PhaseRestoring), on("a", "b")}, []change{in(v1alpha1.PhaseRestoring), on("b", "c")}, true},
		"one loses its target":          {[]change{in(v1alpha1.PhaseRestoring), target}, []change{in(v1alpha1.PhaseRestoring)}, true},
		"one ends":                      {[]change{in(v1alpha1.PhaseFinalizing)}, []change{in(v1alpha1.PhaseCompleted)}, true},
		"one that has ended":            {[]change{in(v1alpha1.PhaseCompleted)}, []change{in(v1alpha1.PhaseCompleted), target}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := &v1alpha1.StatefulMigration{}, &v1alpha1.StatefulMigration{}
			for _, f := range test.before {
				f(before)
			}
			for _, f := range test.after {
				f(after)
			}
			if got := controller.MakesWay(before, after); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
