package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/test/harness"
)

// rich is a template with something of everything that a pod may have and take along.
func rich(p *corev1.PodTemplateSpec) {
	metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationStatelessContainers, "beside,before")
	metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationDisposableVolumes, "scratch")
	metav1.SetMetaDataAnnotation(&p.ObjectMeta, "example.com/note", "kept")
	metav1.SetMetaDataLabel(&p.ObjectMeta, "example.com/tier", "gold")
	s := &p.Spec
	s.ServiceAccountName = "rich"
	s.PriorityClassName = "rich"
	s.Tolerations = append(s.Tolerations, corev1.Toleration{Key: "example.com/odd", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
	s.SecurityContext = &corev1.PodSecurityContext{
		RunAsUser: ptr.To[int64](65532), RunAsGroup: ptr.To[int64](65532), RunAsNonRoot: ptr.To(true), FSGroup: ptr.To[int64](2000)}
	s.DNSConfig = &corev1.PodDNSConfig{Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr.To("2")}}}
	s.Volumes = append(s.Volumes, corev1.Volume{
		Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	c := &s.Containers[0]
	c.Env = append(c.Env,
		corev1.EnvVar{Name: "GREETING", Value: "hello"},
		corev1.EnvVar{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}})
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "scratch", MountPath: "/scratch"})
	c.LivenessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")}},
		PeriodSeconds: 2, FailureThreshold: 5,
	}
	c.StartupProbe = c.LivenessProbe.DeepCopy()
	c.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
	}
	c.SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	pause := corev1.Container{Image: lab.Registry + "/pause:1"}
	s.InitContainers = []corev1.Container{
		{Name: "once", Image: lab.Images.Manager, Args: []string{"-h"}}, // tells its flags and ends well
		pause, // a sidecar
	}
	s.InitContainers[1].Name, s.InitContainers[1].RestartPolicy = "before", ptr.To(corev1.ContainerRestartPolicyAlways)
	pause.Name = "beside"
	s.Containers = append(s.Containers, pause)
}

// richNeeds makes what pods of that template refer to.
func richNeeds(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, o := range []client.Object{
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "rich"}, Value: 1000},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "e2e"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "rich", Namespace: "e2e"}},
	} {
		if err := client.IgnoreAlreadyExists(lab.Client.Create(ctx, o)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFidelity moves pods with something of everything, of every owner, and
// compares field by field what became of them.
func TestFidelity(t *testing.T) {
	for name, start := range map[string]func(context.Context, *testing.T) *harness.Flow{
		"statefulset-shadow": func(ctx context.Context, t *testing.T) *harness.Flow {
			return startStateful(ctx, t, harness.WorkloadConfig{Name: "rich-shadow", Replicas: 1, Change: rich}).Ordinals[0]
		},
		"statefulset-sequential": func(ctx context.Context, t *testing.T) *harness.Flow {
			return startStateful(ctx, t, harness.WorkloadConfig{Name: "rich-sequential", Replicas: 1, Change: rich}).Ordinals[0]
		},
		"deployment": func(ctx context.Context, t *testing.T) *harness.Flow {
			return startDeployment(ctx, t, harness.WorkloadConfig{Name: "rich-deployment", Replicas: 1, Change: rich}).Flow
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			richNeeds(ctx, t)
			flow := start(ctx, t)
			if err := flow.Counted(ctx, 100); err != nil {
				t.Fatal(err)
			}
			m := moveNext(ctx, t, flow, 1, func(m *v1alpha1.StatefulMigration) {
				m.Spec.Container = harness.CounterContainer
				if strings.HasSuffix(name, "sequential") {
					m.Spec.Strategy = v1alpha1.StrategySequential
				}
			})
			sameSpec(t, m.Source, m.Target)
			for _, c := range slices.Concat(m.Target.Status.ContainerStatuses, m.Target.Status.InitContainerStatuses) {
				if c.RestartCount != 0 || c.State.Running == nil && (c.State.Terminated == nil || c.State.Terminated.ExitCode != 0) {
					t.Errorf("container %s: %d restarts, %+v", c.Name, c.RestartCount, c.State)
				}
			}
			o, err := flow.Finish(ctx, flow.Pod)
			if err != nil {
				t.Fatal(err)
			}
			judged(t, o)
		})
	}
}

// sameSpec asserts that a copy is what the source was, but for the few fields of
// docs/fidelity.md. A moved pod of an owner belongs to it as the source did.
func sameSpec(t *testing.T, source, target *corev1.Pod) {
	t.Helper()
	for _, path := range migration.SpecDiff(source, target) {
		t.Errorf("%s is not what it was", path)
	}
	was, is := metav1.GetControllerOf(source), metav1.GetControllerOf(target)
	if (was == nil) != (is == nil) || was != nil && was.UID != is.UID {
		t.Errorf("controller %v, was %v", is, was)
	}
}
