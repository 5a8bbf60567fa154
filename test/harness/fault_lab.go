package harness

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Undo takes a fault back, and returns when all is as it was. A second call does nothing more.
type Undo func(context.Context) error

// undo makes an Undo of what takes a fault back, after which the lab has to settle.
func (l *Lab) undo(back func(context.Context) error) Undo {
	done := false
	return func(ctx context.Context) error {
		if done {
			return nil
		}
		if err := back(ctx); err != nil {
			return err
		}
		done = true
		return l.settled(ctx)
	}
}

// settled waits until every component of the lab is ready.
func (l *Lab) settled(ctx context.Context) error {
	again := time.NewTicker(300 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := output(ctx, nil, l.command, "status")
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// Stop ends a component of the lab (rabbitmq, registry, kubelet@node-a, …) as a
// crash does. It is not started again until that is undone.
func (l *Lab) Stop(ctx context.Context, component string) (Undo, error) {
	_, err := output(ctx, nil, l.command, "stop", component, "--signal", "SIGKILL")
	return l.undo(func(ctx context.Context) error {
		_, err := output(ctx, nil, l.command, "start", component)
		return err
	}), err
}

// Cut takes a node off the network: what is sent to it or by it is lost, and
// nobody is told. A node whose links are down would know.
func (l *Lab) Cut(ctx context.Context, node string) (Undo, error) {
	return l.run(ctx, ctl, []string{"bridge", "link", "set", "dev", "to-" + node, "state", "disabled"},
		[]string{"bridge", "link", "set", "dev", "to-" + node, "state", "forwarding"})
}

// CutBroker loses what a node's pods send to the broker, and nothing else.
func (l *Lab) CutBroker(ctx context.Context, node string) (Undo, error) {
	return l.run(ctx, node,
		[]string{"ip", "rule", "add", "priority", "100", "to", "10.99.0.1", "ipproto", "tcp", "dport", "5672", "blackhole"},
		[]string{"ip", "rule", "del", "priority", "100"})
}

// run does something in a machine that another command takes back.
func (l *Lab) run(ctx context.Context, machine string, do, back []string) (Undo, error) {
	_, err := l.Exec(ctx, machine, do...)
	return l.undo(func(ctx context.Context) error {
		_, err := l.Exec(ctx, machine, back...)
		return err
	}), err
}

// ctl is the machine of the control plane, broker and registry.
const ctl = "ctl"

// DiskAlarm has the broker believe that its disk is full: it takes nothing from
// producers any more, and confirms nothing.
func (l *Lab) DiskAlarm(ctx context.Context) (Undo, error) {
	set := func(limit string) []string { return []string{"rabbitmqctl", "-q", "set_disk_free_limit", limit} }
	return l.run(ctx, ctl, set("100000000000000"), set("50MB"))
}

// DropQueue deletes a queue at the broker, whoever uses it.
func (l *Lab) DropQueue(ctx context.Context, name string) error {
	_, err := l.Exec(ctx, ctl, "rabbitmqctl", "-q", "delete_queue", name)
	return err
}

// Evict asks the API server to evict a pod, as a drain does.
func (l *Lab) Evict(ctx context.Context, pod *corev1.Pod) error {
	return l.Client.SubResource("eviction").Create(ctx, pod, &policyv1.Eviction{})
}

// BrokerSecret makes another Secret with the broker's URL.
func (l *Lab) BrokerSecret(ctx context.Context, namespace, name string) (Undo, error) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		StringData: map[string]string{"url": l.BrokerURL},
	}
	return l.undo(func(ctx context.Context) error { return l.Client.Delete(ctx, secret) }), l.Client.Create(ctx, secret)
}

// Pause stops the process of a pod, which holds its connections and says nothing.
func (l *Lab) Pause(ctx context.Context, pod *corev1.Pod) (Undo, error) {
	pid, err := l.Process(ctx, pod)
	if err != nil {
		return nil, err
	}
	// The process may be gone by the time that it is let go on.
	return l.run(ctx, pod.Spec.NodeName, []string{"kill", "-STOP", pid}, []string{"sh", "-c", "kill -CONT " + pid + " || true"})
}

// BreakCRIU has CRIU fail on a node: it does not know an option of its configuration.
func (l *Lab) BreakCRIU(ctx context.Context, node string) (Undo, error) {
	const option, config = "no-such-option", "/etc/criu/runc.conf"
	return l.run(ctx, node, []string{"sh", "-c", "echo " + option + " >> " + config}, []string{"sed", "-i", "/" + option + "/d", config})
}
