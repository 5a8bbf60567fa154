package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/load"
)

const (
	// CounterContainer is the name of the counter's container.
	CounterContainer = "counter"
	// BrokerSecret holds the broker's URL under the key url, in the namespace of
	// each counter.
	BrokerSecret = "broker"

	counterPort = 8080
)

// CounterConfig says how a counter runs.
type CounterConfig struct {
	Namespace, Name string
	Node            string        // default node-a
	Work            time.Duration // time that each message takes
	Outside         time.Duration // time of a call to the outside that each message makes
	BallastMB       int           // memory that it carries
	Prefetch        int           // messages in flight; default: the library's
	Reads           string        // who answers reads: default pass, the owner, which needs no readiness gate; see examples/counter
	Queues          load.Kind     // default classic
	Queue           string        // of another counter, to be shared; default one of its own
	NoToken         bool          // its pod mounts no token for the API, which a counter never calls
}

// Counter is a counter with queues of its own.
type Counter struct {
	CounterConfig
	Outputs string
	Pod     *corev1.Pod // that it runs in, as it was when it became ready

	shares   bool      // another counter's queue
	workload *Workload // that it belongs to, if any
	lab      *Lab
}

// StartCounter makes namespace, Secret, queues and pod of a counter, and waits
// until it serves.
func (l *Lab) StartCounter(ctx context.Context, cfg CounterConfig) (*Counter, error) {
	if cfg.Node == "" {
		cfg.Node = NodeA
	}
	c := &Counter{
		CounterConfig: cfg, lab: l, shares: cfg.Queue != "",
		Outputs: cfg.Namespace + "." + cfg.Name + ".out",
	}
	queues := []string{c.Outputs}
	if !c.shares {
		c.Queue = cfg.Namespace + "." + cfg.Name + ".in"
		queues = append(queues, c.Queue)
	}
	if err := l.ensureNamespace(ctx, cfg.Namespace); err != nil {
		return nil, err
	}
	if err := load.DeclareQueues(l.BrokerURL, cfg.Queues, queues...); err != nil {
		return nil, err
	}
	pod := c.pod()
	if err := l.Client.Create(ctx, pod); err != nil {
		return nil, err
	}
	ready, err := l.PodReady(ctx, client.ObjectKeyFromObject(pod))
	c.Pod = ready
	return c, err
}

// ensureNamespace makes a namespace in which counters can run.
func (l *Lab) ensureNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := client.IgnoreAlreadyExists(l.Client.Create(ctx, namespace)); err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: BrokerSecret},
		StringData: map[string]string{"url": l.BrokerURL},
	}
	if err := client.IgnoreAlreadyExists(l.Client.Create(ctx, secret)); err != nil {
		return err
	}
	// Without it, pods of the namespace are refused.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "default"}}
	return Until(ctx, l, account, &corev1.ServiceAccountList{}, func(a *corev1.ServiceAccount) (bool, error) {
		return a != nil, nil
	})
}

func (c *Counter) pod() *corev1.Pod {
	container := c.lab.counterContainer(
		corev1.EnvVar{Name: "QUEUE", Value: c.Queue},
		corev1.EnvVar{Name: "OUTPUT_QUEUE", Value: c.Outputs},
		corev1.EnvVar{Name: "WORK", Value: c.Work.String()},
		corev1.EnvVar{Name: "OUTSIDE", Value: c.Outside.String()},
		corev1.EnvVar{Name: "BALLAST_MB", Value: strconv.Itoa(c.BallastMB)},
		corev1.EnvVar{Name: "PREFETCH", Value: strconv.Itoa(c.Prefetch)},
		corev1.EnvVar{Name: "READS", Value: c.Reads})
	grace := int64(2)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name, Labels: counterLabels(c.Name)},
		Spec: corev1.PodSpec{
			NodeName:                      c.Node, // a selector would bind its copy, too
			TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken:  ptr.To(!c.NoToken),
			Containers:                    []corev1.Container{container},
		},
	}
}

// counterContainer is a counter with the broker's URL and more environment.
func (l *Lab) counterContainer(env ...corev1.EnvVar) corev1.Container {
	return corev1.Container{
		Name:  CounterContainer,
		Image: l.Images.Counter,
		Env: append([]corev1.EnvVar{{Name: "AMQP_URL", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: BrokerSecret}, Key: "url"}}}}, env...),
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: counterPort}},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: "/healthz", Port: intstr.FromString("http")}},
			PeriodSeconds: 1,
		},
	}
}

// PodReady waits until a pod is ready and returns it.
func (l *Lab) PodReady(ctx context.Context, key client.ObjectKey) (*corev1.Pod, error) {
	var ready *corev1.Pod
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	err := Until(ctx, l, pod, &corev1.PodList{}, func(p *corev1.Pod) (bool, error) {
		ready = p
		if p == nil {
			return false, fmt.Errorf("there is no pod %s", key)
		}
		if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			return false, fmt.Errorf("pod %s has ended: %s", key, p.Status.Message)
		}
		return podReady(p), nil
	})
	return ready, err
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil
		}
	}
	return false
}

// State asks the counter in a pod for its state.
func (l *Lab) State(ctx context.Context, pod *corev1.Pod) (ledger.State, error) {
	if pod.Status.PodIP == "" {
		return ledger.State{}, fmt.Errorf("pod %s has no address", pod.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return load.ReadState(ctx, fmt.Sprintf("http://%s:%d", pod.Status.PodIP, counterPort))
}

// Delete removes the counter's pods, the original and what became of it, and
// its queues, unless they are another's.
func (c *Counter) Delete(ctx context.Context) error {
	pods, err := c.Pods(ctx)
	for i := range pods {
		err = errors.Join(err,
			client.IgnoreNotFound(c.lab.Client.Delete(ctx, &pods[i])),
			Gone(ctx, c.lab, &pods[i], &corev1.PodList{}))
	}
	queues := []string{c.Outputs}
	if !c.shares {
		queues = append(queues, c.Queue)
	}
	return errors.Join(err, load.DeleteQueues(c.lab.BrokerURL, queues...))
}

// Pods are the counter's pods: the original and its copies. Of a workload's
// counter, they are told by the name.
func (c *Counter) Pods(ctx context.Context) ([]corev1.Pod, error) {
	if c.workload == nil {
		return c.lab.podsOf(ctx, c.Namespace, counterLabels(c.Name))
	}
	pods, err := c.workload.AllPods(ctx)
	return slices.DeleteFunc(pods, func(p corev1.Pod) bool {
		return p.Name != c.Pod.Name && !strings.HasPrefix(p.Name, c.Pod.Name+"-")
	}), err
}

func (l *Lab) podsOf(ctx context.Context, namespace string, labels map[string]string) ([]corev1.Pod, error) {
	pods := &corev1.PodList{}
	err := l.Client.List(ctx, pods, client.InNamespace(namespace), client.MatchingLabels(labels))
	return pods.Items, err
}

func counterLabels(instance string) map[string]string {
	return map[string]string{"app.kubernetes.io/name": "counter", "app.kubernetes.io/instance": instance}
}
