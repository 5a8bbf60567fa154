package integration

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/cli"
)

// kubeconfig writes how the API server is reached, as a user would have it.
func kubeconfig(t *testing.T, cfg *rest.Config) string {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["envtest"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	c.AuthInfos["user"] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
	c.Contexts["envtest"] = &clientcmdapi.Context{Cluster: "envtest", AuthInfo: "user"}
	c.CurrentContext = "envtest"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// terminal is a user at the command line.
type terminal struct {
	t         *testing.T
	config    string
	namespace string
	// seen is what happens when it has read something: once.
	seen func()
	read string
}

func newTerminal(t *testing.T, namespace string) terminal {
	return terminal{t: t, config: kubeconfig(t, cfg), namespace: namespace}
}

// when has something done as soon as the verb that is run has said something.
func (c terminal) when(says string, do func()) terminal {
	c.read, c.seen = says, do
	return c
}

// ms2m runs a verb, and returns what it printed, on both streams, and its exit code.
func (c terminal) ms2m(ctx context.Context, args ...string) (string, int) {
	c.t.Helper()
	var out bytes.Buffer
	both := &lockedWriter{w: &out, read: c.read, seen: c.seen}
	argv := append([]string{"/usr/local/bin/kubectl-ms2m", "--kubeconfig", c.config, "-n", c.namespace}, args...)
	code := cli.Main(ctx, genericiooptions.IOStreams{In: strings.NewReader(""), Out: both, ErrOut: both}, argv)
	both.mu.Lock()
	defer both.mu.Unlock()
	c.t.Logf("$ kubectl ms2m %s\n%s(%d)", strings.Join(args, " "), out.String(), code)
	return out.String(), code
}

// want runs a verb that ends with a code, and says some things.
func (c terminal) want(code int, args []string, says ...string) string {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	out, got := c.ms2m(ctx, args...)
	if got != code {
		c.t.Errorf("%v: exit code %d, want %d", args, got, code)
	}
	for _, s := range says {
		if !strings.Contains(out, s) {
			c.t.Errorf("%v: it does not say %q", args, s)
		}
	}
	return out
}

type lockedWriter struct {
	mu   sync.Mutex
	w    *bytes.Buffer
	seen func()
	read string
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.w.Write(p)
	if l.seen != nil && strings.Contains(l.w.String(), l.read) {
		go l.seen()
		l.seen = nil
	}
	return n, err
}

// annotated makes a pod say what its migration needs.
func annotated(queueName string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Annotations = map[string]string{
			v1alpha1.AnnotationQueueName: queueName, v1alpha1.AnnotationBrokerURLSecret: "broker",
			v1alpha1.AnnotationRepository: "registry.example.com/ms2m/checkpoints",
		}
	}
}

// TestCLIMigrates moves a pod by the command line, with a real manager.
func TestCLIMigrates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	w.must(kube.Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "broker"}, StringData: map[string]string{"url": "amqp://broker.example.com"},
	}))
	user := newTerminal(t, w.namespace)
	pod := w.source.Name

	user.want(2, []string{"migrate", pod}, "nobody says the primary queue", "--queue", "kubectl annotate pod")
	flags := []string{"--queue", queue, "--broker-secret", "broker", "--repository", "registry.example.com/ms2m/checkpoints"}
	w.source.Annotations = map[string]string{v1alpha1.AnnotationQueueName: queue, v1alpha1.AnnotationBrokerURLSecret: "broker"}
	w.must(kube.Update(w.ctx, w.source))

	user.want(2, []string{"migrate", pod[:len(pod)-1]}, `there is no pod`, "did you mean "+pod)
	user.want(2, []string{"migrate", pod, "--to", "node-bb", "--repository", "r/a"}, `there is no node "node-bb"`, "did you mean")
	user.want(1, []string{"migrate", pod, "--to", nodeA, "--repository", "r/a"}, "is on node-a already")
	user.want(1, append([]string{"preflight", pod, "--to", nodeX}, flags...), "NO: InvalidSpec", "arm64", "cannot be moved")
	user.want(0, append([]string{"preflight", pod, "--to", nodeB}, flags...), "Library", "ok", "can be moved from node-a (Shadow)")
	user.want(0, append([]string{"migrate", pod, "--dry-run", "-o", "yaml"}, flags...), "queueName: "+queue, "generateName: "+pod+"-")
	user.want(0, append([]string{"migrate", pod, "--dry-run=server"}, flags...), "created (server dry run)")
	if out := user.want(0, []string{"list", "-o", "name"}); strings.Contains(out, "statefulmigration") {
		t.Errorf("preflight and dry run leave something: %s", out)
	}

	user.want(0, append([]string{"migrate", pod, "--to", nodeB, "--name", "move", "--wait"}, flags...),
		"Replaying", "Completed", "on node-b as ")
	user.want(0, []string{"list"}, "move", "Completed", nodeB)
	user.want(0, []string{"list", "-A", "-o", "wide"}, w.namespace, "CaughtUp")
	user.want(0, []string{"status", "move"}, "Phases:", "Conditions:", "Committed", "report -n "+w.namespace+" move")
	user.want(0, []string{"status", "move", "-o", "json"}, `"kind": "StatefulMigration"`)
	file := filepath.Join(t.TempDir(), "report.html")
	user.want(0, []string{"report", "move", "-o", file}, file)
	if page, err := os.ReadFile(file); err != nil || !bytes.Contains(page, []byte("Hand-over pause")) {
		t.Errorf("the report: %v", err)
	}
	user.want(2, []string{"status", "moove"}, "did you mean move?")
	user.want(0, []string{"cancel", "move", "--wait"}, "had ended", `"move" is gone`)
	user.want(0, []string{"__complete", "migrate", pod[:3]}, pod)
	user.want(0, []string{"__complete", "migrate", pod, "--to", "node-"}, nodeA, nodeB)
}

// TestCLIWaits: who stops waiting does not stop the migration, and hears how to; of one
// that goes wrong they hear what and why.
func TestCLIWaits(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	user := newTerminal(t, s.namespace)
	s.pod("slow", annotated("slow"))
	s.pod("bad", annotated("bad"))
	s.play("slow", v1alpha1.PhaseReplaying)
	s.play("bad", v1alpha1.PhaseFailed)

	user.want(3, []string{"migrate", "slow", "--name", "slow", "--wait", "--timeout", "6s"}, "Replaying", "--timeout", `"slow" goes on`, "status -n "+s.namespace+" slow", "cancel -n")
	user.want(1, []string{"migrate", "slow"}, "is being moved already", `by the migration "slow"`)
	user.want(0, []string{"cancel", "slow"}, `"slow" is given up in Replaying`, "goes on on "+s.node)
	user.want(1, []string{"migrate", "bad", "--name", "bad", "--wait"}, "failed: NotEnoughDisk", "Ready is False", "What to do next", "The pod was not touched")

	ctx, interrupt := context.WithCancel(t.Context())
	s.pod("slow2", annotated("slow2"))
	s.play("slow2", v1alpha1.PhaseReplaying)
	if out, code := user.when("Replaying", interrupt).ms2m(ctx, "migrate", "slow2", "--wait"); code != 3 || !strings.Contains(out, "interrupted, and the migration") {
		t.Errorf("Ctrl-C: code %d", code)
	}
}

// TestCLIForbidden: who may not do something hears who can help.
func TestCLIForbidden(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	user := newTerminal(t, s.namespace)
	user.want(2, []string{"list", "--as", "nobody"}, "forbidden", "ms2m-editor", "auth can-i")
}

// TestCLIEvacuates empties a node, with a script in the manager's place.
func TestCLIEvacuates(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	user := newTerminal(t, s.namespace)
	s.pod("good-1", annotated("good-1"))
	s.pod("good-2", annotated("good-2"))
	s.pod("alone", func(p *corev1.Pod) { annotated("alone")(p); p.Labels = map[string]string{"app": "alone"} })
	s.pod("web")
	s.pod("stays", annotated("stays"))
	s.play("stays", v1alpha1.PhaseFailed)
	s.sequential("alone")
	s.budget("alone", false)

	user.want(1, []string{"evacuate", s.node, "--dry-run"}, "stays", "NO", "NotEnoughDisk", "free space", "1 of 4 pods can't go", "allows a gap", "kubectl drain (1)")
	if s.cordoned() {
		t.Error("a dry run has cordoned the node")
	}
	user.want(1, []string{"evacuate", s.node}, "cordoned", "none was moved", "stays cordoned; to use it again: kubectl uncordon "+s.node)
	if !s.cordoned() || len(s.moved()) > 0 {
		t.Errorf("cordoned %v, moved %v", s.cordoned(), s.moved())
	}

	user.when("Waiting", func() { s.budget("alone", true) }).want(1, []string{"evacuate", s.node, "--continue-on-error"},
		"good-1", "Completed", "Waiting", "Remaining:", s.namespace+"/stays: NotEnoughDisk", "3 of 4 pods have left "+s.node, "kubectl drain "+s.node)
	if got := strings.Join(s.moved(), " "); got != "alone good-1 good-2" {
		t.Errorf("moved: %s", got)
	}
	if s.before("alone") {
		t.Error("a pod was moved against its budget")
	}
	user.want(2, []string{"evacuate", "no-" + s.node}, "there is no node", "did you mean "+s.node)
}

// TestCLIEvacuatesAside: who does not wait hears what has begun and what has not.
func TestCLIEvacuatesAside(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	user := newTerminal(t, s.namespace)
	s.pod("slow", annotated("slow"))
	s.play("slow", v1alpha1.PhaseReplaying)
	user.want(0, []string{"evacuate", s.node, "--dry-run=client"}, "slow", "yes")
	user.want(0, []string{"evacuate", s.node, "--wait=false"}, "cordoned", "Begun", "status -n "+s.namespace)
	s.pod("alone", func(p *corev1.Pod) { annotated("alone")(p); p.Labels = map[string]string{"app": "alone"} })
	s.sequential("alone")
	s.budget("alone", false)
	user.want(1, []string{"evacuate", s.node, "--wait=false"}, "on its way: migration", "not begun: "+s.namespace+"/alone: it needs --wait", "1 of 2 pods are not on their way")
	user.want(3, []string{"evacuate", s.node, "--timeout", "8s"}, "Waiting", "what has begun goes on", "cancel -n "+s.namespace, "stays cordoned")
	if got := s.moved(); len(got) > 0 {
		t.Errorf("moved: %v", got)
	}
}

// TestCLIListWatches: a line is printed for each change.
func TestCLIListWatches(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	user := newTerminal(t, s.namespace)
	s.pod("watched", annotated("watched"))
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	var made sync.WaitGroup
	made.Go(func() { user.want(0, []string{"migrate", "watched", "--name", "watched", "--wait"}) })
	out, code := user.ms2m(ctx, "list", "--watch")
	made.Wait()
	if code != 0 || strings.Count(out, "NAME") != 1 || !strings.Contains(out, "Completed") {
		t.Errorf("code %d: want one header, and Completed", code)
	}
}
