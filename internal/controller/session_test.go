package controller

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// woken are the names of what is in the queue.
func woken(q workqueue.TypedRateLimitingInterface[reconcile.Request]) (names []string) {
	for q.Len() > 0 {
		r, _ := q.Get()
		q.Done(r)
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return names
}

func TestSessions(t *testing.T) {
	ss := NewSessions()
	ss.Wake("") // nothing to wake yet, and nobody to tell
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	if err := ss.source().Start(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	a, b := types.NamespacedName{Name: "a"}, types.NamespacedName{Name: "b"}
	first, _ := ss.open(a, "uid-a")
	ss.open(b, "uid-b")
	for range 2 {
		ss.follow("shared", a)
	}
	ss.follow("shared", b)
	ss.follow("own", a)
	ss.follow("", a)

	expect := func(what string, want ...string) {
		t.Helper()
		if got := woken(q); !slices.Equal(got, want) {
			t.Errorf("%s: woken %v, want %v", what, got, want)
		}
	}
	ss.Wake("shared")
	ss.Wake("shared")
	expect("a shared pod", "a", "b")
	ss.Wake("own")
	expect("a pod of one", "a")
	ss.Wake("strange")
	expect("a strange pod")
	ss.Wake("")
	expect("all", "a", "b")

	if s, stale := ss.open(a, "uid-a"); s != first || stale != nil {
		t.Error("the session was not kept")
	}
	if s, stale := ss.open(a, "uid-2"); s == first || stale != first {
		t.Error("another object of the same name has the session of the first")
	}
	if !slices.Equal(first.alone, []string{"own"}) {
		t.Errorf("alone with %v", first.alone)
	}
	if _, ok := ss.find("uid-a"); ok {
		t.Error("the first object is still found")
	}
	if ss.end(b) == nil || ss.end(b) != nil {
		t.Error("a session ends once")
	}
	ss.Wake("shared")
	expect("nobody follows any more")
}
