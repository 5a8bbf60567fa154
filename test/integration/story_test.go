package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/controller"
)

// record makes a manager send its events to the API server.
func (w *world) record(r *controller.Reconciler) {
	w.t.Helper()
	set, err := kubernetes.NewForConfig(cfg)
	w.must(err)
	all := events.NewBroadcaster(&events.EventSinkImpl{Interface: set.EventsV1()})
	w.must(all.StartRecordingToSinkWithContext(w.ctx))
	w.t.Cleanup(all.Shutdown)
	r.Recorder = all.NewRecorder(scheme, "ms2m-manager")
}

// reasons are those of the events about an object, each once, by time.
func (w *world) reasons(about client.Object, warnings bool) (out []string) {
	w.t.Helper()
	var list eventsv1.EventList
	w.must(kube.List(w.ctx, &list, client.InNamespace(w.namespace)))
	slices.SortStableFunc(list.Items, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	for _, e := range list.Items {
		if e.Regarding.UID == about.GetUID() && (e.Type == "Warning") == warnings && !slices.Contains(out, e.Reason) {
			out = append(out, e.Reason)
		}
	}
	return out
}

// kubectl runs the real one.
func (w *world) kubectl(args ...string) (string, error) {
	w.t.Helper()
	dir, err := assets()
	w.must(err)
	file := filepath.Join(w.t.TempDir(), "kubeconfig")
	w.must(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"c": {Server: cfg.Host, CertificateAuthorityData: cfg.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"u": {
			ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData, Token: cfg.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u", Namespace: w.namespace}},
		CurrentContext: "x",
	}, file))
	cmd := exec.CommandContext(w.ctx, filepath.Join(dir, "kubectl"), append([]string{"--kubeconfig", file}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+w.t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestStory: who has no logs is told by events of the migration and of both pods, by the columns
// of kubectl get, and by kubectl wait, which ends well or badly with the migration.
func TestStory(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, standalone)
	w.start(nil, w.record)
	w.create()
	if out, err := w.kubectl("wait", "--for=condition=Succeeded", "--timeout=60s", "statefulmigration/move"); err != nil {
		t.Fatalf("kubectl wait: %v: %s", err, out)
	}
	m := w.phase(v1alpha1.PhaseCompleted)
	pod := w.moved(m)
	told := func(about client.Object, want ...string) {
		t.Helper()
		w.eventually("events", func() bool {
			got := w.reasons(about, false)
			return !slices.ContainsFunc(want, func(r string) bool { return !slices.Contains(got, r) })
		})
		if got := w.reasons(about, true); len(got) > 0 {
			t.Errorf("warnings about %s: %v", about.GetName(), got) // of what is no trouble
		}
	}
	told(m, "Pending", "Checkpointing", "Attempt", "Transferring", "Restoring", "Replaying", "CutOff", "Finalizing", "Committed", "Live", "Serving", "Completed")
	told(w.source, "Checkpointing", "Attempt", "CutOff", "Committed", "Completed")
	told(pod, "Replaying", "Committed", "Live", "Serving", "Completed")

	out, err := w.kubectl("get", "statefulmigrations", "-o", "wide")
	if err != nil {
		t.Fatalf("kubectl get: %v: %s", err, out)
	}
	for _, want := range []string{"PHASE", "FROM", "TO", "LAG", "PAUSE MS", "AGE", "REASON", "STRATEGY", "Completed", nodeA, nodeB, "Done", m.Status.TargetPodName} {
		if !strings.Contains(out, want) {
			t.Errorf("kubectl get does not show %s:\n%s", want, out)
		}
	}
}

// TestStoryOfFailure: a failed migration says why, and what to do.
func TestStoryOfFailure(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, standalone)
	w.start(nil, w.record)
	w.create(func(m *v1alpha1.StatefulMigration) { m.Spec.Container = "nothere" })
	if out, err := w.kubectl("wait", "--for=jsonpath={.status.endedAt}", "--timeout=60s", "statefulmigration/move"); err != nil {
		t.Fatalf("kubectl wait: %v: %s", err, out)
	}
	if out, err := w.kubectl("wait", "--for=condition=Succeeded=false", "--timeout=10s", "statefulmigration/move"); err != nil {
		t.Errorf("kubectl wait: %v: %s", err, out)
	}
	m := w.phase(v1alpha1.PhaseFailed)
	w.eventually("warnings", func() bool {
		return slices.Equal(w.reasons(m, true), []string{"ContainerNotFound", "Failed"})
	})
	out, err := w.kubectl("describe", "statefulmigration", "move")
	if err != nil || !strings.Contains(out, "Set spec.container to one of the pod's containers.") || !strings.Contains(out, "the pod was not touched") {
		t.Errorf("%v: %s", err, out)
	}
}
