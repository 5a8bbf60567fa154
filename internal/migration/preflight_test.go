package migration_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// TestPreflight has what the tests against an API server do not have: things
// that come up while the migration is Pending, and odd pods.
func TestPreflight(t *testing.T) {
	waits := func(name string, c change, reason string) row {
		return row{name: name, change: c, phase: v1alpha1.PhasePending, check: func(t *testing.T, p migration.Plan) {
			ready := p.Status.Conditions[0]
			if ready.Type != v1alpha1.ConditionReady || ready.Status != metav1.ConditionFalse || ready.Reason != reason {
				t.Errorf("%+v", ready)
			}
			if p.Until.IsZero() || p.Until.After(now.Add(time.Minute)) {
				t.Errorf("looks again at %v", p.Until)
			}
		}}
	}
	refused := func(name string, c change, reason string) row {
		return row{name: name, change: c, action: "ended", phase: v1alpha1.PhaseFailed, reason: reason}
	}
	source := func(c func(*corev1.Pod)) change { return func(f *migration.Facts) { c(f.Source.Pod) } }
	volume := func(v corev1.VolumeSource) change {
		return source(func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: v}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
		})
	}
	target := func(n *v1alpha1.TargetNode) change {
		return func(f *migration.Facts) { f.Object.Spec.TargetNode = n }
	}
	run(t, v1alpha1.PhasePending, []row{
		refused("foreign namespace", func(f *migration.Facts) { f.Object.Spec.SourcePod.Namespace = "x" }, migration.ReasonInvalidSpec),
		refused("replaced while it waited", func(f *migration.Facts) { f.Object.Status.SourcePodUID = "x" }, migration.ReasonSourceLost),
		refused("ended", source(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), migration.ReasonPodNotRunning),
		refused("going", source(func(p *corev1.Pod) { at := metav1.NewTime(now); p.DeletionTimestamp = &at }), migration.ReasonPodNotRunning),
		waits("not running yet", source(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }), migration.ReasonPodNotRunning),
		waits("container not running", source(func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }), migration.ReasonPodNotRunning),
		waits("a rival", func(f *migration.Facts) { f.Preflight.Rival = "other" }, migration.ReasonOtherMigration),
		refused("static", source(func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }), migration.ReasonPodUnsupported),
		refused("host network", source(func(p *corev1.Pod) { p.Spec.HostNetwork = true }), migration.ReasonPodUnsupported),
		refused("host processes", source(func(p *corev1.Pod) { p.Spec.HostPID = true }), migration.ReasonPodUnsupported),
		refused("devices", source(func(p *corev1.Pod) { p.Spec.ResourceClaims = []corev1.PodResourceClaim{{}} }), migration.ReasonPodUnsupported),
		refused("emptyDir", volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}), migration.ReasonPodUnsupported),
		refused("claim", volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}), migration.ReasonPodUnsupported),
		refused("other volume", volume(corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{}}), migration.ReasonPodUnsupported),
		{name: "shared volume", change: volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}), action: "SetHolds"},
		waits("the source's node is unknown", func(f *migration.Facts) { f.Preflight.Nodes = f.Preflight.Nodes[1:] }, migration.ReasonNodeNotFound),
		waits("the only node", all(target(nil), func(f *migration.Facts) { f.Preflight.Nodes = f.Preflight.Nodes[:1] }), migration.ReasonNodeNotFound),
		waits("not ready", func(f *migration.Facts) { f.Preflight.Nodes[1].Status.Conditions = nil }, migration.ReasonNodeNotReady),
		waits("cordoned", func(f *migration.Facts) { f.Preflight.Nodes[1].Spec.Unschedulable = true }, migration.ReasonNodeNotReady),
		waits("only nodes of another architecture", all(target(nil), func(f *migration.Facts) {
			f.Preflight.Nodes[1].Status.NodeInfo.Architecture = "arm64"
		}), migration.ReasonInvalidSpec),
		{name: "one of several nodes will do", change: all(target(nil), func(f *migration.Facts) {
			bad := node("node-c")
			bad.Status.Conditions = nil
			f.Preflight.Nodes = append([]corev1.Node{bad}, f.Preflight.Nodes...)
		}), action: "SetHolds"},
		waits("no RuntimeClass", func(f *migration.Facts) { f.Preflight.RuntimeClass = false }, migration.ReasonNotInstalled),
		waits("Secret missing", func(f *migration.Facts) {
			f.Preflight.Broker = migration.Passing(migration.ReasonSecretUnavailable, errTest)
		}, migration.ReasonSecretUnavailable),
		refused("no queue", func(f *migration.Facts) { f.Preflight.Queue = nil }, migration.ReasonQueueNotFound),
	})
}
