package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// inventory is everything that there is in the world: at the broker, in the
// repository, on the nodes and in the API. A migration leaves it as it was; moved is
// the pod that has the state, and may have another name than before.
func (w *world) inventory(moved string) []string {
	w.t.Helper()
	all := w.traces()
	var legs v1alpha1.CheckpointTransferList
	w.must(kube.List(w.ctx, &legs, client.InNamespace(w.namespace)))
	for _, l := range legs.Items {
		all = append(all, fmt.Sprintf("leg %s %v", l.Name, l.Finalizers))
	}
	var migrations v1alpha1.StatefulMigrationList
	w.must(kube.List(w.ctx, &migrations, client.InNamespace(w.namespace)))
	for _, m := range migrations.Items {
		if len(m.Finalizers) > 0 {
			all = append(all, fmt.Sprintf("finalizers %v of %s", m.Finalizers, m.Name))
		}
	}
	for _, p := range w.pods() {
		name, owner := p.Name, "nobody"
		if name == moved {
			name = "the one with the state"
		}
		if ref := metav1.GetControllerOf(&p); ref != nil {
			owner = ref.Kind + " " + ref.Name
		}
		all = append(all, fmt.Sprintf("pod %s of %s, finalizers %v, labels %v", name, owner, p.Finalizers, slices.Sorted(maps.Keys(p.Labels))))
	}
	w.mu.Lock()
	for _, in := range w.instances {
		all = append(all, fmt.Sprintf("an instance that is %s", in.State))
	}
	w.mu.Unlock()
	slices.Sort(all)
	return all
}

// unchanged fails the test unless everything is as it was in an inventory.
func (w *world) unchanged(before []string, moved string) {
	w.t.Helper()
	if after := w.inventory(moved); !slices.Equal(before, after) {
		w.t.Errorf("before:\n  %s\nafter:\n  %s", strings.Join(before, "\n  "), strings.Join(after, "\n  "))
	}
}

// ended is the end of a migration without what differs from one run to another:
// times, positions, identities and how often something was tried.
func (w *world) ended(m *v1alpha1.StatefulMigration) string {
	st := &m.Status
	var b strings.Builder
	fmt.Fprintf(&b, "%s by %s to %s, hop %d, placement %v\n", st.Phase, st.Strategy, st.TargetNode, st.Hop, st.Placement)
	for _, h := range st.Hops {
		fmt.Fprintf(&b, "  hop %d %s from %s to %s, image %t\n", h.Hop, h.Result, h.SourceNode, h.TargetNode, h.CheckpointImage != nil)
	}
	kinds := map[string]string{}
	for _, c := range st.Conditions {
		kinds[c.Type] = fmt.Sprintf("%s %s", c.Status, c.Reason)
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "  %s %s\n", kind, kinds[kind])
	}
	return b.String()
}
