package integration

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/failpoint"
	"ms2m.dev/ms2m/internal/metrics"
)

// TestCountedOnce: a migration whose manager died on the way is counted once, with what the
// dead one measured.
func TestCountedOnce(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shadowed)
	registry := prometheus.NewRegistry()
	counts, err := metrics.NewManager(registry)
	w.must(err)
	observed := func(r *controller.Reconciler) { r.Observers = append(r.Observers, counts) }
	dead := make(chan struct{})
	var once sync.Once
	first := w.start(func(e failpoint.Effect) bool {
		hit := e.Name == "DeleteImage" && e.Side == failpoint.Before // the second hop is done, and not ended
		if hit {
			once.Do(func() { close(dead) })
		}
		return hit
	}, observed)
	w.create()
	<-dead
	first.end()
	w.start(nil, observed)
	m := w.phase(v1alpha1.PhaseCompleted)
	w.moved(m)
	got := map[string]float64{}
	families, err := registry.Gather()
	w.must(err)
	for _, f := range families {
		for _, series := range f.GetMetric() {
			got[f.GetName()] += series.GetCounter().GetValue() + float64(series.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{"ms2m_migrations_total": 1, "ms2m_handovers_total": 2, "ms2m_pause_seconds": 4, "ms2m_cutoffs_total": 2} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// TestGuard: with --metrics-secure only who may get /metrics reads them, by the word of a real API server.
func TestGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, err := rest.HTTPClientFor(cfg)
	w.must(err)
	filter, err := metrics.Serving(":0", true).FilterProvider(cfg, client)
	w.must(err)
	guarded, err := filter(logr.Discard(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w.must(err)
	for _, account := range []string{"prometheus", "guest"} {
		w.must(kube.Create(w.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: w.namespace}}))
	}
	get := func(account string) int {
		t.Helper()
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: w.namespace}}
		token := &authenticationv1.TokenRequest{}
		w.must(kube.SubResource("token").Create(w.ctx, sa, token))
		r := httptest.NewRequestWithContext(w.ctx, http.MethodGet, "/metrics", nil)
		r.Header.Set("Authorization", "Bearer "+token.Status.Token)
		answer := httptest.NewRecorder()
		guarded.ServeHTTP(answer, r)
		return answer.Code
	}
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-metrics"},
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}},
	}
	w.must(kube.Create(w.ctx, role))
	w.must(kube.Create(w.ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "prometheus", Namespace: w.namespace}},
	}))
	w.eventually("the role to count", func() bool { return get("prometheus") == http.StatusOK })
	if got := get("guest"); got != http.StatusForbidden {
		t.Errorf("a guest gets %d", got)
	}
}
