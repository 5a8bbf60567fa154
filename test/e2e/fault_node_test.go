package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/test/harness"
)

// TestFaultTargetNode takes the target's node away before COMMIT, while the manager
// runs on another. Without the node the copy cannot be removed, but the source is
// live; the rest follows when the node is back.
func TestFaultTargetNode(t *testing.T) {
	managerAt(t, "--lease=8s")
	for _, tc := range []struct {
		name   string
		in     v1alpha1.MigrationPhase
		reason string
	}{
		{"cut off while restoring", v1alpha1.PhaseRestoring, migration.ReasonDeadline},
		{"cut off while replaying", v1alpha1.PhaseReplaying, migration.ReasonTargetLost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := begin(t, nil)
			tr.migrate(deadlines(v1alpha1.Deadlines{RestoreSeconds: 12}))
			tr.reach(tc.in)
			mend := tr.hit(lab.Cut(tr.ctx, harness.NodeB))
			tr.gaveUp(tc.reason)
			tr.comesToLife() // though the node has not come back
			mend()
			tr.ends(v1alpha1.PhaseFailed, tc.reason)
			tr.sourceAsBefore()
		})
	}
}

// TestFaultTargetNodeBack disturbs the target's node for a moment: the migration goes on.
func TestFaultTargetNodeBack(t *testing.T) {
	managerAt(t)
	t.Run("cut off and back", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseReplaying)
		mend := tr.hit(lab.Cut(tr.ctx, harness.NodeB))
		tr.counts(300) // the source meanwhile
		mend()
		tr.completes()
		tr.targetServes()
	})
	t.Run("containerd killed while restoring", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseRestoring)
		if err := lab.Restart(tr.ctx, "containerd@"+harness.NodeB); err != nil {
			t.Fatal(err)
		}
		// Whether the shim had been asked for the container already is chance.
		tr.m = follow(tr.ctx, t, tr.m, harness.Ended)
		t.Log(harness.Summary(tr.m))
		if tr.m.Status.Phase == v1alpha1.PhaseCompleted {
			tr.targetServes()
			return
		}
		tr.sourceAsBefore()
	})
	t.Run("containerd killed while replaying", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseReplaying)
		if err := lab.Restart(tr.ctx, "containerd@"+harness.NodeB); err != nil {
			t.Fatal(err)
		}
		tr.completes()
		tr.targetServes()
	})
}

// TestFaultNodeForGood takes the target's node away and does not give it back: the
// migration ends all the same, and says what it could not remove.
func TestFaultNodeForGood(t *testing.T) {
	managerAt(t, "--lease=8s", "--abandon=5s")
	tr := begin(t, nil)
	tr.migrate(nil)
	tr.reach(v1alpha1.PhaseReplaying)
	mend := tr.hit(lab.Cut(tr.ctx, harness.NodeB))
	tr.ends(v1alpha1.PhaseFailed, migration.ReasonTargetLost)
	if c := meta.FindStatusCondition(tr.m.Status.Conditions, v1alpha1.ConditionCleanedUp); c == nil || c.Reason != migration.ReasonAbandoned {
		t.Errorf("nothing is said of what is left: %+v", c)
	}
	tr.comesToLife()
	tr.counts(100)
	mend()
	// Its deletion was asked for before the migration ended.
	copied := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: tr.m.Namespace, Name: tr.m.Status.TargetPodName}}
	if err := harness.Gone(tr.ctx, lab, copied, &corev1.PodList{}); err != nil {
		t.Fatal(err)
	}
	outcome, err := tr.flow.Finish(tr.ctx, tr.flow.Pod)
	if err != nil {
		t.Fatal(err)
	}
	judgedBy(t, outcome, load.Verdict.OKWithoutRepeated)
}

// TestFaultSourceNode takes the source's kubelet away, or the node.
func TestFaultSourceNode(t *testing.T) {
	managerAt(t)
	t.Run("kubelet stopped at the checkpoint", func(t *testing.T) {
		tr := begin(t, nil)
		mend := tr.hit(lab.Stop(tr.ctx, "kubelet@"+harness.NodeA))
		tr.migrate(nil)
		tr.ends(v1alpha1.PhaseFailed, migration.ReasonCheckpointFailed, "connection refused")
		mend()
		tr.sourceAsBefore()
	})
	t.Run("kubelet restarted at the checkpoint", func(t *testing.T) {
		tr := begin(t, nil)
		mend := tr.hit(lab.Stop(tr.ctx, "kubelet@"+harness.NodeA))
		tr.migrate(nil)
		tr.tells(v1alpha1.ConditionCheckpointed, migration.ReasonCheckpointFailed)
		mend()
		tr.completes()
		if tr.m.Status.Attempt < 2 {
			t.Errorf("completed by attempt %d", tr.m.Status.Attempt)
		}
		tr.targetServes()
	})
	t.Run("kubelet stopped while transferring", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseTransferring)
		mend := tr.hit(lab.Stop(tr.ctx, "kubelet@"+harness.NodeA))
		// The target has taken over; the source has retired, but nobody ends its process.
		tr.until(decided)
		tr.counts(100)
		mend()
		tr.completes()
		tr.targetServes()
	})
	t.Run("cut off while replaying", func(t *testing.T) {
		tr := begin(t, nil)
		tr.migrate(nil)
		tr.reach(v1alpha1.PhaseReplaying)
		mend := tr.hit(lab.Cut(tr.ctx, harness.NodeA))
		tr.stands(5 * time.Second) // there are never two; for now there is none
		tr.look()
		if decided(tr.m) {
			t.Error("the target took over from a source that may be alive")
		}
		mend()
		tr.completes()
		tr.targetServes()
	})
}
