package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// TestDryRun asks whether pods can be moved. Each check is told, nothing is made
// and nothing changed, and the counter does not notice.
func TestDryRun(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	set := startStateful(ctx, t, harness.WorkloadConfig{Name: "dry-set"})
	d := startDeployment(ctx, t, harness.WorkloadConfig{Name: "dry-deployment"})
	alone := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "dry-alone"}})
	for name, flow := range map[string]*harness.Flow{"StatefulSet": set.Ordinals[0], "Deployment": d.Flow, "standalone": alone} {
		t.Run(name, func(t *testing.T) {
			if err := flow.Counted(ctx, 100); err != nil {
				t.Fatal(err)
			}
			m := dryRun(ctx, t, flow.Counter)
			if m.Status.Phase != v1alpha1.PhaseCompleted {
				t.Error(harness.Summary(m))
			}
			for _, c := range m.Status.Preflight {
				t.Logf("%s is %s: %s: %s", c.Type, c.Status, c.Reason, c.Message)
				if c.Status != metav1.ConditionTrue {
					t.Errorf("the check %s is %s", c.Type, c.Status)
				}
			}
			untouched(ctx, t, flow.Counter, m)
		})
	}
	finishAll(ctx, t, set, load.Verdict.OK)
	for _, flow := range []*harness.Flow{d.Flow, alone} {
		o, err := flow.Finish(ctx, flow.Pod)
		if err != nil {
			t.Fatal(err)
		}
		judged(t, o)
	}
}

// TestDryRunRefuses asks for pods that cannot be moved: the migration fails, with
// the reason, and the checks that are passed are told all the same.
func TestDryRunRefuses(t *testing.T) {
	scratch := func(p *corev1.PodTemplateSpec) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{
			Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts,
			corev1.VolumeMount{Name: "scratch", MountPath: "/scratch"})
	}
	for _, tc := range []struct {
		name, reason string // reason: words of the message
		list         client.ObjectList
		owner        func(metav1.ObjectMeta, corev1.PodTemplateSpec) client.Object
		change       func(*corev1.PodTemplateSpec)
	}{
		{"daemonset", "DaemonSet", &appsv1.DaemonSetList{}, daemonSet, func(p *corev1.PodTemplateSpec) {
			p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: harness.NodeA}
		}},
		{"job", "Job", &batchv1.JobList{}, job, func(p *corev1.PodTemplateSpec) {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
		}},
		{"emptydir", "scratch", &appsv1.StatefulSetList{}, statefulSet, scratch},
		{"sidecar", "beside", &appsv1.StatefulSetList{}, statefulSet, func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "beside", Image: lab.Registry + "/pause:1"})
		}},
		{"hostpath", "host", &appsv1.StatefulSetList{}, statefulSet, func(p *corev1.PodTemplateSpec) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{
				Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/etc"}}})
			p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts,
				corev1.VolumeMount{Name: "host", MountPath: "/host", ReadOnly: true})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx := within(t, 2*time.Minute)
			counter := startOwned(ctx, t, harness.WorkloadConfig{Name: "refused-" + tc.name, Change: tc.change}, tc.owner, tc.list)
			m := dryRun(ctx, t, counter)
			t.Log(harness.Summary(m))
			if m.Status.Phase != v1alpha1.PhaseFailed {
				t.Errorf("phase %s", m.Status.Phase)
			}
			against := slices.DeleteFunc(slices.Clone(m.Status.Preflight), func(c metav1.Condition) bool { return c.Status == metav1.ConditionTrue })
			if len(against) == len(m.Status.Preflight) && len(against) > 1 {
				t.Errorf("no check is told to be passed")
			}
			if !slices.ContainsFunc(against, func(c metav1.Condition) bool {
				return c.Status == metav1.ConditionFalse && strings.Contains(c.Message, tc.reason)
			}) {
				t.Errorf("no check tells of %s: %+v", tc.reason, against)
			}
			if !strings.Contains(harness.Summary(m), tc.reason) {
				t.Errorf("the conditions do not tell of %s", tc.reason)
			}
			untouched(ctx, t, counter, m)
		})
	}
}

// startOwned starts an idle counter of some owner. It is removed after the test.
func startOwned(ctx context.Context, t *testing.T, cfg harness.WorkloadConfig, owner func(metav1.ObjectMeta, corev1.PodTemplateSpec) client.Object, list client.ObjectList) *harness.Counter {
	t.Helper()
	o, err := lab.StartOwned(ctx, workload(cfg), owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closeWorkload(t, o.Counter, func(ctx context.Context) error { return o.Close(ctx, list) })
	})
	return o.Counter
}

// dryRun asks whether a counter can be moved, and follows the answer to its end.
func dryRun(ctx context.Context, t *testing.T, c *harness.Counter) *v1alpha1.StatefulMigration {
	t.Helper()
	m := c.Migration(next[c.Pod.Spec.NodeName])
	m.Spec.DryRun, m.Spec.Deadlines.PendingSeconds = true, 20
	if err := lab.Client.Create(ctx, m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteMigration(t, m) })
	m = follow(ctx, t, m, harness.Ended)
	if len(m.Status.Preflight) == 0 {
		t.Error("the status tells no check")
	}
	return m
}

// untouched asserts that a migration has done nothing: the pod is as it was, and
// there is nothing of it anywhere.
func untouched(ctx context.Context, t *testing.T, c *harness.Counter, m *v1alpha1.StatefulMigration) {
	t.Helper()
	if s := m.Status; s.Attempt != 0 || s.CheckpointImage != nil || s.TargetPodName != "" || s.Placement != nil {
		t.Errorf("the status tells of more than a preflight: %+v", s)
	}
	pod := &corev1.Pod{}
	if err := lab.Client.Get(ctx, keyOf(c.Pod), pod); err != nil {
		t.Fatal(err)
	}
	if pod.UID != c.Pod.UID || pod.Generation != c.Pod.Generation || pod.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the pod was changed, replaced or restarted")
	}
	for key := range pod.Annotations {
		if _, had := c.Pod.Annotations[key]; !had {
			t.Errorf("the pod has got the annotation %s", key)
		}
	}
	traces, err := lab.Traces(ctx, c, m, pod)
	if err != nil {
		t.Fatal(err)
	}
	if len(traces) > 0 {
		t.Errorf("traces: %v", traces)
	}
}

func daemonSet(meta metav1.ObjectMeta, template corev1.PodTemplateSpec) client.Object {
	return &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: meta.Labels}, Template: template}}
}

func job(meta metav1.ObjectMeta, template corev1.PodTemplateSpec) client.Object {
	return &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: template}}
}

// statefulSet has one pod; its queues are those of the workload.
func statefulSet(meta metav1.ObjectMeta, template corev1.PodTemplateSpec) client.Object {
	return &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: meta.Labels}, Template: template}}
}
