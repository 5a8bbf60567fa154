package migration_test

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
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
	agent := func(node string, c func(*v1alpha1.NodeFacts)) change {
		return func(f *migration.Facts) { f.Preflight.Agents[node] = nodeFacts(c) }
	}
	owned := func(kind owner.Kind, c func(*owner.Workload)) change {
		return func(f *migration.Facts) {
			yes, p := true, f.Source.Pod
			p.Name = "counter-0"
			f.Object.Spec.SourcePod.Name = p.Name
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: string(kind), Name: "counter", UID: ownerUID, Controller: &yes}}
			p.Labels["controller-revision-hash"] = revision
			f.Owner = workload(kind)
			if c != nil {
				c(f.Owner)
			}
		}
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
		refused("another processor", agent("node-b", func(n *v1alpha1.NodeFacts) { n.Features = []string{"sse"} }), migration.ReasonNodeMismatch),
		refused("an older kernel", agent("node-b", func(n *v1alpha1.NodeFacts) { n.Kernel = "5.10.0" }), migration.ReasonNodeMismatch),
		{name: "another node will do", change: all(target(nil), func(f *migration.Facts) {
			f.Preflight.Nodes = append(f.Preflight.Nodes, node("node-c"))
			f.Preflight.Agents["node-c"] = nodeFacts()
		}, agent("node-b", func(n *v1alpha1.NodeFacts) { n.CRIU = "3.1" })), action: "SetHolds"},
		waits("the agent has not said what its node is", func(f *migration.Facts) { f.Preflight.Agents["node-b"] = "" }, migration.ReasonNotInstalled),
		waits("no room for archives", agent("node-a", func(n *v1alpha1.NodeFacts) { n.ArchiveFreeBytes = 1 << 20 }), migration.ReasonDiskFull),
		waits("no room for what is staged", agent("node-b", func(n *v1alpha1.NodeFacts) { n.StageFreeBytes = 1 << 20 }), migration.ReasonDiskFull),
		waits("the manager may not", func(f *migration.Facts) { f.Preflight.Forbidden = []string{"patch pods"} }, migration.ReasonForbidden),
		waits("nothing can be pushed", func(f *migration.Facts) { f.Preflight.Repository = errTest }, migration.ReasonRepository),
		refused("a probe that kills", source(func(p *corev1.Pod) {
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1}
		}), migration.ReasonProbeBudget),
		waits("a rollout", owned(owner.StatefulSet, func(w *owner.Workload) { w.Update, w.Current = "rev2", "rev2" }), migration.ReasonRollout),
		waits("another ordinal is not ready", owned(owner.StatefulSet, func(w *owner.Workload) { w.Ordered, w.Unready = true, 1 }), migration.ReasonOwnerChanged),
		refused("an ordinal that is not wanted", owned(owner.StatefulSet, func(w *owner.Workload) { w.Replicas = 0 }), migration.ReasonOwnerChanged),
		refused("a ReplicaSet that is going", owned(owner.ReplicaSet, func(w *owner.Workload) { w.Deleting = true }), migration.ReasonOwnerChanged),
		refused("Sequential without a StatefulSet", func(f *migration.Facts) { f.Object.Spec.Strategy = v1alpha1.StrategySequential }, migration.ReasonPodUnsupported),
		{name: "a StatefulSet's pod", change: owned(owner.StatefulSet, nil), action: "SetHolds"},
		{name: "a ReplicaSet's pod", change: owned(owner.ReplicaSet, nil), action: "SetHolds", check: func(t *testing.T, p migration.Plan) {
			if !p.Action.(migration.SetHolds).Always {
				t.Error("the queue's slot is not held")
			}
		}},
		{name: "only asked", change: func(f *migration.Facts) { f.Object.Spec.DryRun = true }, action: "ended", phase: v1alpha1.PhaseCompleted, check: func(t *testing.T, p migration.Plan) {
			for _, c := range p.Status.Preflight {
				if c.Status != metav1.ConditionTrue || c.Reason != migration.ReasonPassed {
					t.Errorf("%+v", c)
				}
			}
		}},
		{name: "only asked: all of it is told", change: func(f *migration.Facts) {
			f.Object.Spec.DryRun, f.Source.Report = true, nil
			f.Source.Pod.Spec.HostNetwork = true
		}, phase: v1alpha1.PhasePending},
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
		{name: "several queues, named in another order", change: consumes("payments", "orders"), action: "SetHolds", check: func(t *testing.T, p migration.Plan) {
			if q := p.Action.(migration.SetHolds).Queues; !slices.Equal(q, []string{"orders", "payments"}) {
				t.Errorf("the slots of %q are held", q)
			}
		}},
		refused("one of several queues is not there", all(consumes("orders", "payments"), func(f *migration.Facts) { delete(f.Preflight.Queues, "payments") }), migration.ReasonQueueNotFound),
		refused("the pod consumes another one", all(consumes("orders", "payments"), func(f *migration.Facts) { f.Source.Report.Status.Queues = []string{"orders", "returns"} }), migration.ReasonLibraryMismatch),
		refused("the pod consumes one more", func(f *migration.Facts) {
			f.Source.Report.Status.Queue, f.Source.Report.Status.Queues = "", []string{"orders", "payments"}
		}, migration.ReasonLibraryMismatch),
		refused("the pod consumes one of them", all(consumes("orders", "payments"), func(f *migration.Facts) {
			f.Source.Report.Status.Queue, f.Source.Report.Status.Queues = "orders", nil
		}), migration.ReasonLibraryMismatch),
		refused("no queue", func(f *migration.Facts) { f.Preflight.Queues = nil }, migration.ReasonQueueNotFound),
	})
}

// consumes makes the service one of several queues.
func consumes(names ...string) func(*migration.Facts) {
	return func(f *migration.Facts) {
		c := &f.Object.Spec.MessageQueueConfig
		c.QueueName, c.QueueNames = "", names
		for _, n := range names {
			f.Preflight.Queues[n] = &migration.Queue{Consumers: 1}
		}
		f.Source.Report.Status.Queue, f.Source.Report.Status.Queues = "", slices.Sorted(slices.Values(names))
	}
}
