package migration_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
	"ms2m.dev/ms2m/sdk/handover"
)

const (
	uid       = "11111111-2222-3333-4444-555555555555"
	sourceUID = "source-uid"
	targetUID = "target-uid"
	reference = "registry/checkpoints@sha256:00"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// object is a StatefulMigration as the API server would have it.
func object(phase v1alpha1.MigrationPhase) *v1alpha1.StatefulMigration {
	m := &v1alpha1.StatefulMigration{
		ObjectMeta: metav1.ObjectMeta{Name: "move", Namespace: "ns", UID: uid, Generation: 1},
		Spec: v1alpha1.StatefulMigrationSpec{
			SourcePod:                 v1alpha1.PodReference{Name: "counter"},
			TargetNode:                &v1alpha1.TargetNode{Name: "node-b"},
			CheckpointImageRepository: "registry/checkpoints",
			ReplayCutoffSeconds:       120,
			MessageQueueConfig:        v1alpha1.MessageQueueConfig{BrokerURL: "amqp://broker", QueueName: "orders"},
			Strategy:                  v1alpha1.StrategyAuto,
			CheckpointRetention:       v1alpha1.RetentionDelete,
			Deadlines: v1alpha1.Deadlines{
				PendingSeconds: 60, CheckpointSeconds: 60, TransferSeconds: 300,
				RestoreSeconds: 300, ReplaySeconds: 600, FinalizeSeconds: 300,
			},
		},
		Status: v1alpha1.StatefulMigrationStatus{Phase: phase, Epoch: 1},
	}
	if phase != "" {
		m.Status.PhaseTimes = []v1alpha1.PhaseTime{{Phase: phase, StartedAt: metav1.NewMicroTime(now.Add(-time.Second))}}
	}
	return m
}

func condition(m *v1alpha1.StatefulMigration, kind string, status metav1.ConditionStatus, reason string) {
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason})
}

func pod(name, uid, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID(uid), Labels: map[string]string{}},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: "counter"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			}},
		},
	}
}

func node(name string) corev1.Node {
	return corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{
			NodeInfo:   corev1.NodeSystemInfo{Architecture: "amd64", OperatingSystem: "linux"},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
}

// preflight is one that finds nothing.
func preflight() *migration.Preflight {
	return &migration.Preflight{
		Nodes: []corev1.Node{node("node-a"), node("node-b")}, RuntimeClass: true,
		Agents: map[string]string{"node-a": nodeFacts(), "node-b": nodeFacts()}, Queues: map[string]*migration.Queue{"orders": {Consumers: 1}},
	}
}

// nodeFacts is what an agent says of its node.
func nodeFacts(change ...func(*v1alpha1.NodeFacts)) string {
	f := v1alpha1.NodeFacts{
		Kernel: "6.18.0", CRIU: "4.1.1", CPU: "model", Features: []string{"avx", "sse"},
		ArchiveFreeBytes: 1 << 40, StageFreeBytes: 1 << 40,
	}
	for _, c := range change {
		c(&f)
	}
	data, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// workload is an owner that wants its pods as they are.
func workload(kind owner.Kind) *owner.Workload {
	if kind == owner.Standalone {
		return nil
	}
	return &owner.Workload{
		Present: true, Settled: true, Kind: kind, Name: "counter", UID: ownerUID, Replicas: 1, Current: revision, Update: revision,
		Labels: map[string]string{"pod-template-hash": revision}, Selector: labels.SelectorFromSet(labels.Set{"pod-template-hash": revision}),
	}
}

func report(pod string, state handover.State, change ...func(*handover.Report)) *handover.Report {
	r := &handover.Report{Version: handover.Version, Kind: handover.ReportProgress, Status: handover.Status{
		PodUID: pod, State: state, Migration: uid, Attempt: 1, Queue: "orders", Identity: handover.IdentityMessageID,
		Number: 40, Confirmed: 40, Rate: 100, PauseMillis: 7,
	}}
	for _, f := range change {
		f(r)
	}
	return r
}

func leg(status metav1.ConditionStatus, reason, message string) *v1alpha1.CheckpointTransfer {
	t := &v1alpha1.CheckpointTransfer{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now)}}
	if status != "" {
		t.Status.Conditions = []metav1.Condition{{Type: v1alpha1.TransferComplete, Status: status, Reason: reason, Message: message}}
	}
	return t
}

// facts are those of a migration that goes well, at the beginning of a phase.
func facts(phase v1alpha1.MigrationPhase) migration.Facts {
	m := object(phase)
	f := migration.Facts{
		Now: now, Policy: migration.DefaultPolicy(), Object: m,
		Source: migration.Instance{Pod: pod("counter", sourceUID, "node-a"), Sent: said(handover.Hello)},
		Target: migration.Instance{Sent: map[handover.CommandKind]migration.Sent{}},
		Done:   map[migration.Step]bool{}, LastWrite: now.Add(-time.Minute),
	}
	f.Source.Report = report(sourceUID, handover.Live, func(r *handover.Report) { r.Status.Migration, r.Status.Attempt = "", 0 })
	st := &m.Status
	switch phase {
	case "", v1alpha1.PhasePending:
		f.Preflight = preflight()
		return f
	}
	st.SourcePodName, st.SourcePodUID, st.SourceNode, st.Container, st.Hop = "counter", sourceUID, "node-a", "main", 1
	st.Strategy = v1alpha1.StrategyShadow
	condition(m, v1alpha1.ConditionReady, metav1.ConditionTrue, "Ready")
	if phase == v1alpha1.PhaseCheckpointing {
		return f
	}
	started := metav1.NewMicroTime(now.Add(-2 * time.Second))
	st.Attempt, st.AttemptEpoch, st.AttemptStartedAt = 1, 1, &started
	st.CheckpointID = "checkpoint.tar"
	f.Decision = migration.Undecided
	f.Source.Report = report(sourceUID, handover.Relaying)
	condition(m, v1alpha1.ConditionBuffered, metav1.ConditionTrue, "Done")
	condition(m, v1alpha1.ConditionCheckpointed, metav1.ConditionTrue, "Done")
	if phase == v1alpha1.PhaseTransferring {
		targetWaits(&f)
		return f
	}
	st.CheckpointImage = &v1alpha1.CheckpointImage{Reference: reference, Digest: "sha256:00"}
	f.Push, f.Transfers = leg(metav1.ConditionTrue, "Done", ""), 1
	f.Push.Status.Image = st.CheckpointImage
	condition(m, v1alpha1.ConditionTransferred, metav1.ConditionTrue, "Done")
	if phase == v1alpha1.PhaseRestoring {
		return f
	}
	st.TargetPodName, st.TargetPodUID, st.TargetNode = "counter-abc", targetUID, "node-b"
	f.Stage, f.Transfers = leg(metav1.ConditionTrue, "Done", ""), 2
	f.Target = migration.Instance{Pod: pod("counter-abc", targetUID, "node-b"), Sent: said(handover.Hello)}
	f.Target.Pod.Labels[v1alpha1.LabelMigration] = uid
	f.Target.Pod.Status.Conditions = []corev1.PodCondition{
		{Type: v1alpha1.ConditionLive, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
	}
	f.Target.Report = report(targetUID, handover.Replaying)
	condition(m, v1alpha1.ConditionRestored, metav1.ConditionTrue, "Done")
	return f
}

// targetWaits is after the target pod was made, whose shim waits for the checkpoint.
func targetWaits(f *migration.Facts) {
	f.Object.Status.TargetPodName, f.Object.Status.TargetPodUID = "counter-abc", targetUID
	f.Target.Pod = pod("counter-abc", targetUID, "node-b")
	f.Target.Pod.Labels[v1alpha1.LabelMigration] = uid
	f.Target.Pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
}

// said are commands that have just been sent.
func said(kinds ...handover.CommandKind) map[handover.CommandKind]migration.Sent {
	out := map[handover.CommandKind]migration.Sent{}
	for _, k := range kinds {
		out[k] = migration.Sent{First: now, At: now, Attempt: 1}
	}
	return out
}

// change changes facts.
type change = func(*migration.Facts)

// row is a row of a table: facts changed, and what is expected of the plan.
type row struct {
	name   string
	change change
	action string // its name; "" for a wait, "ended"
	phase  v1alpha1.MigrationPhase
	reason string // of Succeeded, if the migration is given up
	check  func(*testing.T, migration.Plan)
}

func run(t *testing.T, phase v1alpha1.MigrationPhase, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			f := facts(phase)
			if r.change != nil {
				r.change(&f)
			}
			before := f.Object.DeepCopy()
			plan := migration.Next(f)
			if diff := cmp.Diff(before, f.Object); diff != "" {
				t.Errorf("the facts were changed: %s", diff)
			}
			want := r.action
			if got := nameOf(plan); got != want {
				t.Errorf("planned %q, want %q (for %q)", got, want, plan.For)
			}
			if r.phase != "" && plan.Status.Phase != r.phase {
				t.Errorf("phase %s, want %s", plan.Status.Phase, r.phase)
			}
			if got := givenUp(plan); got != r.reason {
				t.Errorf("given up for %q, want %q", got, r.reason)
			}
			if r.check != nil {
				r.check(t, plan)
			}
		})
	}
}

func nameOf(p migration.Plan) string {
	switch {
	case p.Ended:
		return "ended"
	case p.Action == nil:
		return ""
	}
	return migration.Name(p.Action)
}

func givenUp(p migration.Plan) string {
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil && c.Status == metav1.ConditionFalse {
		return c.Reason
	}
	return ""
}

// all makes one change of several.
func all(changes ...change) change {
	return func(f *migration.Facts) {
		for _, c := range changes {
			c(f)
		}
	}
}

func source(state handover.State, change ...func(*handover.Report)) change {
	return func(f *migration.Facts) { f.Source.Report = report(sourceUID, state, change...) }
}

func target(state handover.State, change ...func(*handover.Report)) change {
	return func(f *migration.Facts) { f.Target.Report = report(targetUID, state, change...) }
}

func later(d time.Duration) change {
	return func(f *migration.Facts) { f.Now = f.Now.Add(d) }
}

var errTest = errors.New("test")
