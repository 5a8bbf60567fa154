package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// TestGuarded installs MS2M as one would who gives away as little as can be, and does
// without it at no time: kubelets are called with nodes/checkpoint and nothing else, metrics are shown to those who may
// see them, nothing but the ports that are needed is let out, and of two managers the
// second takes over when the first is deleted in the middle of a replay.
func TestGuarded(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := lab.Deploy(ctx, *chart); err != nil {
			t.Errorf("install it as it was: %v", err)
		}
	})
	err := lab.Deploy(ctx, *chart, "kubelet.access=direct", "manager.replicas=2", "metrics.secure=true", "networkPolicy.egress.restrict=true")
	if err != nil {
		t.Fatal(err)
	}
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "guarded"}})
	var first string
	m, err := flow.Move(ctx, harness.MoveConfig{Target: harness.NodeB, Warm: 200, Backlog: 1000, After: 100, Tell: func(m *v1alpha1.StatefulMigration) {
		if m.Status.Phase != v1alpha1.PhaseReplaying || first != "" {
			return
		}
		first = leader(ctx, t)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: harness.SystemNamespace, Name: first}}
		if err := lab.Client.Delete(ctx, pod); err != nil {
			t.Errorf("delete the leader: %v", err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	judged(t, m.Outcome)
	if second := leader(ctx, t); first == "" || second == first {
		t.Errorf("the leader was %q and is %q", first, second)
	}
	assertMetricsGuarded(ctx, t)
}

// leader is the pod of the manager that has the lease.
func leader(ctx context.Context, t *testing.T) string {
	t.Helper()
	lease := &coordinationv1.Lease{}
	if err := lab.Client.Get(ctx, client.ObjectKey{Namespace: harness.SystemNamespace, Name: "manager.migration.ms2m.dev"}, lease); err != nil {
		t.Error(err)
	}
	pod, _, _ := strings.Cut(ptr.Deref(lease.Spec.HolderIdentity, ""), "_")
	return pod
}

// assertMetricsGuarded asks manager and agents for their metrics as somebody who is nobody.
func assertMetricsGuarded(ctx context.Context, t *testing.T) {
	t.Helper()
	pods, err := lab.AgentPods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	manager, err := lab.ManagerPod(ctx)
	if err != nil {
		t.Fatal(err)
	}
	nobody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the answer is no, whoever gives it
	for _, pod := range append(pods, *manager) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(pod.Status.PodIP, "8080")+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := nobody.Do(req)
		if err != nil {
			t.Errorf("%s: %v", pod.Name, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: metrics for nobody: %s", pod.Name, resp.Status)
		}
	}
}
