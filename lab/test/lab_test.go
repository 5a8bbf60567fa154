package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/spec"
)

func TestLabLifecycle(t *testing.T) {
	l := newLab(t)
	l.must("up")
	if out := l.must("up"); !strings.Contains(out, "already up") {
		t.Errorf("a second up says %q", out)
	}
	l.must("status")

	l.runPod("a", "node-a")
	l.runPod("b", "node-b")
	for _, pod := range []string{"a", "b"} {
		if out := l.must("kubectl", "logs", pod); !strings.Contains(out, "api: 200 OK") {
			t.Errorf("pod %s can't ask the API server: %q", pod, out)
		}
	}
	t.Run("checkpoint", l.sub((lab).checkpoint))
	t.Run("containerd restarts under its pods", l.sub((lab).restartContainerd))
	t.Run("commands", l.sub((lab).commands))

	l.must("down")
	l.checkGone()
	l.must("down")
	l.must("up", "--nodes", "1")
	l.runPod("a", "node-a")
	l.must("down")
	l.checkGone()
}

func (l lab) sub(f func(lab)) func(*testing.T) {
	return func(t *testing.T) { f(lab{t, l.state}) }
}

// checkpoint asks the kubelet, by way of the API server, for a checkpoint of a pod
// that does not run as root.
func (l lab) checkpoint() {
	out := l.must("kubectl", "create", "--raw", "/api/v1/nodes/node-a/proxy/checkpoint/default/a/a", "-f", os.DevNull)
	_, rest, _ := strings.Cut(out, `["`)
	archive, _, _ := strings.Cut(rest, `"`)
	if list := l.must("exec", "node-a", "--", "tar", "--list", "--file", archive); !strings.Contains(list, "checkpoint/") {
		l.Errorf("the archive %s holds %q", archive, list)
	}
}

// restartContainerd kills containerd, as if it had crashed: it is started again at
// once, and the pod does not notice.
func (l lab) restartContainerd() {
	find := func() string { return l.must("exec", "node-a", "--", "pgrep", "--exact", "pod") }
	before := find()
	l.must("restart", "containerd@node-a", "--signal", "SIGKILL")
	l.eventually("containerd", func() error {
		return l.command("exec", "node-a", "--", "ctr", "version").Run()
	})
	if after := find(); after != before {
		l.Errorf("the pod's process was %s and is %s", before, after)
	}
	l.eventually("status", func() error { return l.command("status").Run() })
}

func (l lab) commands() {
	if got := l.status("exec", "node-a", "--", "sh", "-c", "exit 7"); got != 7 {
		l.Errorf("exec returns %d, not 7", got)
	}
	if got := l.status("run", "--", "sh", "-c", "exit 8"); got != 8 {
		l.Errorf("run returns %d, not 8", got)
	}
	if out := l.must("exec", "ctl", "--", "rabbitmqctl", "list_users", "--quiet"); !strings.Contains(out, "ms2m\t[administrator]") || strings.Contains(out, "guest") {
		l.Errorf("RabbitMQ has the users %q", out)
	}
	const script = `curl --silent --fail https://$MS2M_LAB_REGISTRY/v2/pod/tags/list && kubectl auth whoami -o name && echo $MS2M_LAB_AMQP_URL`
	out := l.must("run", "--", "sh", "-c", script)
	if !strings.Contains(out, `"tags":["1"]`) || !strings.Contains(out, "amqp://ms2m:ms2m-lab@10.99.0.1:5672/") {
		l.Errorf("run printed %q", out)
	}
	if out := l.must("logs", "kubelet@node-b"); !strings.Contains(out, "Kubelet version") {
		l.Errorf("the kubelet's log is %d bytes long", len(out))
	}
}

func TestLabDownWithAFrozenContainer(t *testing.T) {
	l := newLab(t)
	l.must("up", "--nodes", "1")
	l.runPod("frozen", "node-a")
	l.freeze()
	start := time.Now()
	l.must("down")
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("down took %s", took)
	}
	l.checkGone()
}

func TestLabDownAfterItsSupervisorWasKilled(t *testing.T) {
	l := newLab(t)
	l.must("up", "--nodes", "1")
	l.runPod("frozen", "node-a")
	// Frozen too, the pod outlives the supervisor.
	l.freeze()
	l.killSupervisor()
	if got := l.status("status"); got == 0 {
		t.Error("status calls the dead lab ready")
	}
	l.must("down")
	l.checkGone()
}

func TestLabUpOverADeadLab(t *testing.T) {
	l := newLab(t)
	l.must("up", "--nodes", "1")
	l.killSupervisor()
	l.must("up", "--nodes", "1")
	l.runPod("a", "node-a")
	l.must("down")
	l.checkGone()
}

func TestLabDownAfterUpWasKilledHalfWay(t *testing.T) {
	l := newLab(t)
	for _, after := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second} {
		up := l.command("up", "--nodes", "1")
		if err := up.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after) // any moment will do
		if err := up.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := up.Wait(); err == nil {
			t.Fatal("up was through before it was killed")
		}
		l.must("down")
		l.checkGone()
	}
}

func TestLabsDoNotMeet(t *testing.T) {
	a, b := newLab(t), newLab(t)
	a.must("up", "--nodes", "1")
	b.must("up", "--nodes", "1")
	a.runPod("only-in-a", "node-a")
	if out := b.must("kubectl", "get", "pods", "--output=name"); out != "" {
		t.Errorf("the other lab has pods: %s", out)
	}
	a.must("down")
	a.checkGone()
	b.must("status")
}

// freeze freezes the pod's container, as a checkpoint does, and leaves it so.
func (l lab) freeze() {
	l.Helper()
	const script = `group=$(sed -n 's/^.*:freezer://p' /proc/$(pgrep --exact pod)/cgroup)
cd /sys/fs/cgroup/freezer$group && echo FROZEN > freezer.state && cat freezer.state`
	l.eventually("freeze", func() error {
		out, err := l.command("exec", "node-a", "--", "sh", "-c", script).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if string(out) != "FROZEN\n" {
			return fmt.Errorf("the state is %q", out)
		}
		return nil
	})
}

func (l lab) killSupervisor() {
	l.Helper()
	record, err := spec.Read(l.state)
	if err != nil {
		l.Fatal(err)
	}
	if err := unix.Kill(record.Supervisor.PID, unix.SIGKILL); err != nil {
		l.Fatal(err)
	}
}

func TestEnvtestAssets(t *testing.T) {
	l := newLab(t)
	dir := strings.TrimSpace(l.must("envtest-assets"))
	for _, program := range []string{"kube-apiserver", "etcd", "kubectl"} {
		if err := exec.Command(filepath.Join(dir, program), "--help").Run(); err != nil {
			t.Errorf("%s: %v", program, err)
		}
	}
}
