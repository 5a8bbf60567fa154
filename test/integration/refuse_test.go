package integration

import (
	"cmp"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

type migrationChange = func(*v1alpha1.StatefulMigration)

// TestRefused gives wrong specs: each is refused by the preflight with a
// message that names the field.
func TestRefused(t *testing.T) {
	t.Parallel()
	container := func(m *v1alpha1.StatefulMigration) { m.Spec.Container = "sidecar" }
	source := func(name string) migrationChange {
		return func(m *v1alpha1.StatefulMigration) { m.Spec.SourcePod.Name = name }
	}
	odd := func(change func(*corev1.Pod)) func(*world) { return func(w *world) { w.pod("odd", change) } }
	owned := func(apiVersion, kind string) func(*world) {
		return odd(func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{
				APIVersion: apiVersion, Kind: kind, Name: "counter", UID: types.UID("1"), Controller: ptr.To(true),
			}}
		})
	}
	volume := func(source corev1.VolumeSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: source}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		}
	}
	soon := func(m *v1alpha1.StatefulMigration) { m.Spec.Deadlines.PendingSeconds = 1 }
	for name, test := range map[string]struct {
		prepare         func(*world)
		change          migrationChange
		reason, message string // PodUnsupported, if no reason is given
		check           string // that has found it, where it matters
	}{
		"no such pod":       {change: source("nobody"), reason: "PodNotFound", message: `spec.sourcePod.name: there is no pod "nobody"`},
		"no such container": {change: container, reason: "ContainerNotFound", message: "spec.container"},
		"no such node": {
			change: func(m *v1alpha1.StatefulMigration) { m.Spec.TargetNode.Name = "node-z" },
			reason: "NodeNotFound", message: "spec.targetNode.name",
		},
		"the source's own node": {
			change: func(m *v1alpha1.StatefulMigration) { m.Spec.TargetNode.Name = nodeA },
			reason: "InvalidSpec", message: "spec.targetNode.name",
		},
		"another architecture": {
			change: func(m *v1alpha1.StatefulMigration) { m.Spec.TargetNode.Name = nodeX },
			reason: "InvalidSpec", message: "arm64",
		},
		"no node of these labels": {
			change: func(m *v1alpha1.StatefulMigration) {
				m.Spec.TargetNode = &v1alpha1.TargetNode{Selector: map[string]string{"zone": "z"}}
				soon(m)
			},
			reason: "NodeNotFound", message: "spec.targetNode.selector",
		},
		"no such queue": {
			change: func(m *v1alpha1.StatefulMigration) { m.Spec.MessageQueueConfig.QueueName = "nothing" },
			reason: "QueueNotFound", message: "spec.messageQueueConfig.queueName",
		},
		"a queue that the pod does not consume": {
			prepare: func(w *world) { w.queues["others"] = true },
			change:  func(m *v1alpha1.StatefulMigration) { m.Spec.MessageQueueConfig.QueueName = "others" },
			reason:  "LibraryMismatch", message: "spec.messageQueueConfig.queueName",
		},
		"a replay queue that is somebody's": {
			prepare: func(w *world) { w.queues["others"] = true },
			change:  func(m *v1alpha1.StatefulMigration) { m.Spec.MessageQueueConfig.ReplayQueueName = "others" },
			reason:  "InvalidSpec", message: "spec.messageQueueConfig.replayQueueName",
		},
		"the broker is down": {
			prepare: func(w *world) { w.down = true },
			change:  soon, reason: "BrokerUnavailable", message: "spec.messageQueueConfig",
		},
		"no such Secret": {
			change: func(m *v1alpha1.StatefulMigration) {
				m.Spec.MessageQueueConfig.BrokerURL = ""
				m.Spec.MessageQueueConfig.BrokerURLSecretRef = &v1alpha1.SecretKeyReference{Name: "nothing"}
				soon(m)
			},
			reason: "SecretUnavailable", message: "brokerURLSecretRef.name",
		},
		"no library": {
			prepare: func(w *world) { w.instances[string(w.source.UID)].Mute = true },
			change:  soon, reason: "NoLibrary", message: "HELLO",
		},
		"messages without identity": {
			prepare: func(w *world) { w.instances[string(w.source.UID)].Identity = handover.IdentityNone },
			change:  soon, reason: "NoMessageIdentity", message: "at-least-once",
		},
		"the repository cannot be written to": {
			prepare: func(w *world) { w.unwritable = errors.New("403 Forbidden") },
			change:  soon, reason: migration.ReasonRepository, check: "Repository", message: "spec.checkpointImageRepository",
		},
		"a pod of a Job":       {prepare: owned("batch/v1", "Job"), change: source("odd"), check: "Owner", message: "a Job counts its pods"},
		"a pod of a DaemonSet": {prepare: owned("apps/v1", "DaemonSet"), change: source("odd"), check: "Owner", message: "belongs to its node"},
		"a pod of a ReplicationController": {
			prepare: owned("v1", "ReplicationController"), change: source("odd"), check: "Owner", message: "superseded by Deployments",
		},
		"a pod of somebody unknown": {
			prepare: owned("example.com/v1", "Database"), change: source("odd"), check: "Owner", message: `belongs to the Database "counter" of example.com/v1`,
		},
		"a static pod": {
			prepare: odd(func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }),
			change:  source("odd"), check: "Owner", message: "is a static pod",
		},
		"a pod of a StatefulSet that is gone": {
			prepare: owned("apps/v1", "StatefulSet"), change: source("odd"), reason: migration.ReasonOwnerChanged, check: "Owner", message: "is gone",
		},
		"a pod with two containers": {
			prepare: odd(func(p *corev1.Pod) {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "side", Image: "side"})
			}),
			change: source("odd"), reason: migration.ReasonContainerNotFound, check: "Container", message: "has 2 containers (main, side)",
		},
		"a pod with another container": {
			prepare: odd(func(p *corev1.Pod) {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "side", Image: "side"})
			}),
			change: func(m *v1alpha1.StatefulMigration) { m.Spec.SourcePod.Name, m.Spec.Container = "odd", "main" },
			check:  "PodShape", message: "side",
		},
		"a pod with an emptyDir": {
			prepare: odd(volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})),
			change:  source("odd"), check: "Volumes", message: `emptyDir volume "data"`,
		},
		"a pod with a hostPath": {
			prepare: odd(volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/data"}})),
			change:  source("odd"), check: "Volumes", message: `volume "data"`,
		},
		"a pod with a claim of one node, beside a copy": {
			prepare: func(w *world) {
				w.claim("data")
				odd(volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}))(w)
			},
			change: func(m *v1alpha1.StatefulMigration) {
				m.Spec.SourcePod.Name, m.Spec.Strategy = "odd", v1alpha1.StrategyShadow
			},
			check: "Strategy", message: `claim "data"`,
		},
		"a pod that its probe would kill": {
			prepare: odd(func(p *corev1.Pod) {
				p.Spec.Containers[0].LivenessProbe = &corev1.Probe{
					ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}},
					PeriodSeconds: 1, FailureThreshold: 1,
				}
			}),
			change: source("odd"), reason: migration.ReasonProbeBudget, check: "Probes", message: "failureThreshold of at least",
		},
		"Sequential": {
			change: func(m *v1alpha1.StatefulMigration) { m.Spec.Strategy = v1alpha1.StrategySequential },
			check:  "Strategy", message: "spec.strategy",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.prepare != nil {
				test.prepare(w)
			}
			w.start(nil)
			w.create(test.change)
			reason := cmp.Or(test.reason, migration.ReasonPodUnsupported)
			m := w.failed(reason, test.message)
			if c := meta.FindStatusCondition(m.Status.Preflight, test.check); test.check != "" && (c == nil || c.Status != metav1.ConditionFalse || c.Reason != reason) {
				t.Errorf("the check %s says %+v", test.check, c)
			}
			if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Status != metav1.ConditionFalse || c.Reason != reason {
				t.Errorf("condition Ready is %+v", c)
			}
			w.mu.Lock()
			delete(w.queues, "others") // the test's own
			w.mu.Unlock()
			w.clean()
			if in := w.instances[string(w.source.UID)]; in.State != handover.Live {
				t.Errorf("the source is %s", in.State)
			}
		})
	}
}

// TestSecondMigrationWaits lets one migration of a pod end before the next.
func TestSecondMigrationWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mu.Lock()
	w.transfer["Push"] = never
	w.mu.Unlock()
	w.start(nil)
	first := w.create()
	w.phase(v1alpha1.PhaseTransferring)
	w.create(func(m *v1alpha1.StatefulMigration) { m.Name = "second" })
	w.eventually("the second to wait", func() bool {
		m := w.get("second")
		c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Reason == "OtherMigration" && strings.Contains(c.Message, `"move"`)
	})
	w.mu.Lock()
	delete(w.transfer, "Push")
	w.mu.Unlock()
	w.must(kube.Delete(w.ctx, first))
	w.eventually("the second to complete", func() bool {
		return w.get("second").Status.Phase == v1alpha1.PhaseCompleted
	})
	w.moved(w.get("second"))
	w.clean()
}

// TestPending: what is created becomes Pending, and waits with a reason.
func TestPending(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mu.Lock()
	w.down = true
	w.mu.Unlock()
	w.start(nil)
	w.create()
	m := w.phase(v1alpha1.PhasePending)
	if len(m.Finalizers) != 1 || m.Status.ObservedGeneration != m.Generation {
		t.Errorf("finalizers %v, observed generation %d", m.Finalizers, m.Status.ObservedGeneration)
	}
	w.mu.Lock()
	w.down = false
	w.mu.Unlock()
	w.phase(v1alpha1.PhaseCompleted)
}

// TestSetByHand sets the phase by hand, before any manager runs: what has not been
// through Pending is not begun.
func TestSetByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.create()
	m.Status.Phase = v1alpha1.PhaseCheckpointing
	w.must(kube.Status().Update(w.ctx, m))
	w.start(nil)
	w.failed(migration.ReasonInvalidSpec, "Pending")
	w.stayed()
	w.clean()
}

// TestThereAndBack moves a pod twice: the second target has the name of the
// first source with another suffix, not a longer and longer one.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(nil)
	w.create()
	first := w.phase(v1alpha1.PhaseCompleted)
	w.must(kube.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: first.Status.TargetPodName}, w.source))
	w.mu.Lock()
	clear(w.commits)
	w.mu.Unlock()
	w.create(func(m *v1alpha1.StatefulMigration) {
		m.Name, m.Spec.SourcePod.Name, m.Spec.TargetNode.Name = "back", first.Status.TargetPodName, nodeA
	})
	w.eventually("the second to complete", func() bool {
		return w.get("back").Status.Phase == v1alpha1.PhaseCompleted
	})
	name := w.get("back").Status.TargetPodName
	if len(name) != len(first.Status.TargetPodName) || name == first.Status.TargetPodName {
		t.Errorf("the pod is called %s, then %s", first.Status.TargetPodName, name)
	}
	w.moved(w.get("back"))
	w.clean()
}

// TestUnknownPhase leaves alone what a later version of MS2M may have begun:
// the API server refuses such a phase, so that only a later CRD can hold it.
func TestUnknownPhase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.create()
	m.Status.Phase = "Dancing"
	if err := kube.Status().Update(w.ctx, m); err == nil || !strings.Contains(err.Error(), "status.phase") {
		t.Errorf("accepted: %v", err)
	}
}
