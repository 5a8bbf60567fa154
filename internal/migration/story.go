package migration

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Told is one sentence of a migration's story, for people: an event.
type Told struct {
	Warning bool
	// Reason is a word, Action what the manager was doing.
	Reason, Action, Note string
	// Pods are those that it is about, besides the migration.
	Pods []Role
}

// Story tells what has become different from one status to the next. Everything is told of
// the write that records it, and of no other: a manager that is started anew
// tells nothing twice. One that dies right after a write leaves that write's sentence
// out; the condition has it.
func Story(m *v1alpha1.StatefulMigration, before *v1alpha1.StatefulMigrationStatus) []Told {
	t := &teller{object: m, before: before, after: &m.Status}
	t.turn()
	t.attempts()
	t.slowed()
	t.decisions()
	t.ending()
	t.phase()
	return t.told
}

type teller struct {
	object        *v1alpha1.StatefulMigration
	before, after *v1alpha1.StatefulMigrationStatus
	told          []Told
}

func (t *teller) tell(warning bool, reason, action, note string, pods ...Role) {
	t.told = append(t.told, Told{Warning: warning, Reason: reason, Action: action, Note: note, Pods: pods})
}

// turned is a condition that has come to a status, or to it for another reason.
func (t *teller) turned(kind string, status metav1.ConditionStatus) *metav1.Condition {
	now, was := meta.FindStatusCondition(t.after.Conditions, kind), meta.FindStatusCondition(t.before.Conditions, kind)
	if now == nil || now.Status != status || was != nil && was.Status == status && was.Reason == now.Reason {
		return nil
	}
	return now
}

// turn tells of what it waits for before it begins.
func (t *teller) turn() {
	// Nobody has had the time to answer HELLO when that is first written: of a library that never
	// does the end tells.
	if c := t.turned(v1alpha1.ConditionReady, metav1.ConditionFalse); c != nil && c.Reason != ReasonNoLibrary &&
		t.turned(v1alpha1.ConditionSucceeded, metav1.ConditionFalse) == nil {
		seconds := ""
		if t.after.Settings != nil { // a pod that was never seen has none
			seconds = fmt.Sprintf(" (%d)", t.after.Settings.Deadlines.PendingSeconds)
		}
		t.tell(true, c.Reason, "Preflight", fmt.Sprintf("not ready yet, looked at again until deadlines.pendingSeconds%s have passed: %s",
			seconds, advised(c.Reason, c.Message)), RoleSource)
	}
	was, now := t.before.Queued, t.after.Queued
	switch {
	case was == nil && now != nil:
		t.tell(false, "Queued", "Queue", now.Message, RoleSource)
	case was != nil && now == nil && t.after.StartedAt != nil:
		t.tell(false, "LetIn", "Queue", fmt.Sprintf("its turn has come after %s", about(t.after.StartedAt.Sub(was.Since.Time))), RoleSource)
	}
}

// attempts tells of checkpoints that fail and of those that are tried.
func (t *teller) attempts() {
	if c := t.turned(v1alpha1.ConditionCheckpointed, metav1.ConditionFalse); c != nil && c.Reason != ReasonPreparing {
		t.tell(true, c.Reason, "Checkpoint", advised(c.Reason, c.Message), RoleSource)
	}
	if t.after.Attempt > t.before.Attempt {
		of := ""
		if t.after.Settings != nil { // a migration that an earlier manager began has none
			of = fmt.Sprintf(" of %d", t.after.Settings.BackoffLimit+1)
		}
		t.tell(false, "Attempt", "Checkpoint", fmt.Sprintf("attempt %d%s: the source goes to its safe point and is checkpointed",
			t.after.Attempt, of), RoleSource)
	}
}

// decisions tells of what was decided, and by which figures.
func (t *teller) decisions() {
	for _, d := range []struct {
		kind    string
		status  metav1.ConditionStatus
		warning bool
		reason  string // of the event; empty: the condition's
		action  string
		pods    []Role
	}{
		{v1alpha1.ConditionTakeover, metav1.ConditionTrue, true, ReasonTakeover, "TakeOver", []Role{RoleTarget}},
		{v1alpha1.ConditionCutOff, metav1.ConditionTrue, false, "CutOff", "Freeze", []Role{RoleSource}},
		{v1alpha1.ConditionCommitted, metav1.ConditionTrue, false, ReasonCommitted, "HandOver", []Role{RoleSource, RoleTarget}},
		{v1alpha1.ConditionCommitted, metav1.ConditionFalse, true, "", "GiveUp", []Role{RoleSource}},
		{v1alpha1.ConditionServing, metav1.ConditionTrue, false, v1alpha1.ConditionServing, "HandOver", []Role{RoleTarget}},
		{v1alpha1.ConditionAdopted, metav1.ConditionTrue, false, v1alpha1.ConditionAdopted, "Adopt", []Role{RoleTarget}},
		{v1alpha1.ConditionReturned, metav1.ConditionTrue, false, v1alpha1.ConditionReturned, "Return", []Role{RoleTarget}},
		{v1alpha1.ConditionOverdue, metav1.ConditionTrue, true, v1alpha1.ConditionOverdue, "Migrate", []Role{RoleSource}},
		{v1alpha1.ConditionCleanedUp, metav1.ConditionFalse, true, "LeftBehind", "CleanUp", nil},
	} {
		if c := t.turned(d.kind, d.status); c != nil {
			t.tell(d.warning, cmp.Or(d.reason, c.Reason), d.action, c.Message, d.pods...)
		}
	}
	if c := t.turned(v1alpha1.ConditionReturned, metav1.ConditionFalse); c != nil {
		failed := c.Reason != ReasonWaiting
		t.tell(failed, map[bool]string{false: "InShadow", true: c.Reason}[failed], "Return", c.Message, RoleSource)
	}
	if was, now := t.before.Pauses, t.after.Pauses; now != nil && now.HandoverMillis != nil && (was == nil || was.HandoverMillis == nil) {
		t.tell(false, "Live", "HandOver", fmt.Sprintf("%s took the queue over after a pause of at most %d ms", t.after.TargetPodName, *now.HandoverMillis), RoleTarget)
	}
}

// slowed tells that the source is slowed down.
func (t *teller) slowed() {
	was, now := t.before.Throttle, t.after.Throttle
	if now == nil || now.EndedAt != nil || was != nil && was.EndedAt == nil {
		return
	}
	t.tell(false, "Throttled", "Replay", fmt.Sprintf("more comes than the copy can catch up with soon: the source is to begin messages %d ms apart until it has", now.PaceMillis), RoleSource)
}

// phase tells which phase was entered.
func (t *teller) phase() {
	if t.before.Phase == t.after.Phase {
		return
	}
	st, took := t.after, ""
	if t.after.StartedAt != nil && t.after.EndedAt != nil {
		took = " after " + about(t.after.EndedAt.Sub(t.after.StartedAt.Time))
	}
	note, action, pods := "", "Migrate", []Role{RoleSource}
	switch st.Phase {
	case v1alpha1.PhasePending:
		note, action = "looking whether the pod can be migrated", "Preflight"
	case v1alpha1.PhaseCheckpointing:
		note, action = fmt.Sprintf("checkpointing the container %s on %s", st.Container, st.SourceNode), "Checkpoint"
	case v1alpha1.PhaseTransferring:
		note, action = fmt.Sprintf("the checkpoint is %s, and goes to the repository%s", st.CheckpointID, paused(st)), "Transfer"
	case v1alpha1.PhaseRestoring:
		note, action = "restoring "+sized(st)+" in "+cmp.Or(st.TargetPodName, "another pod"), "Restore"
	case v1alpha1.PhaseReplaying:
		note, action, pods = fmt.Sprintf("the copy %s on %s catches up", st.TargetPodName, st.TargetNode), "Replay", []Role{RoleSource, RoleTarget}
	case v1alpha1.PhaseFinalizing:
		note, action, pods = "handing over", "HandOver", []Role{RoleSource, RoleTarget}
	case v1alpha1.PhaseCompleted:
		note, action, pods = fmt.Sprintf("%s on %s has taken over%s", st.TargetPodName, st.TargetNode, took), "Complete", []Role{RoleSource, RoleTarget}
		if c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionSucceeded); c != nil && c.Reason == ReasonDryRun {
			note, pods = c.Message, []Role{RoleSource}
		}
	case v1alpha1.PhaseFailed:
		note, action = "ended"+took+whereItIs(st), "Complete"
	}
	t.tell(st.Phase == v1alpha1.PhaseFailed, string(st.Phase), action, note, pods...)
}

// ending tells why it is given up.
func (t *teller) ending() {
	c := meta.FindStatusCondition(t.after.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil || c.Status != metav1.ConditionFalse || meta.IsStatusConditionFalse(t.before.Conditions, v1alpha1.ConditionSucceeded) {
		return
	}
	t.tell(true, c.Reason, "GiveUp", c.Message, RoleSource)
}

// whereItIs says who has the state when a migration has failed.
func whereItIs(st *v1alpha1.StatefulMigrationStatus) string {
	switch c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionCommitted); {
	case c == nil:
		return "; the pod was not touched"
	case c.Status == metav1.ConditionFalse:
		return "; the source keeps the state and goes on"
	}
	return ""
}

func paused(st *v1alpha1.StatefulMigrationStatus) string {
	if st.Pauses == nil || st.Pauses.CheckpointMillis == nil {
		return ""
	}
	return fmt.Sprintf("; the source stood still for %d ms", *st.Pauses.CheckpointMillis)
}

func sized(st *v1alpha1.StatefulMigrationStatus) string {
	if st.CheckpointImage == nil {
		return "the checkpoint"
	}
	return fmt.Sprintf("the checkpoint (%.1f MiB)", float64(st.CheckpointImage.SizeBytes)/(1<<20))
}

// advised adds to a message what can be done.
func advised(reason, message string) string {
	if a := Advice(reason); a != "" {
		return strings.TrimRight(message, ". ") + ". " + a
	}
	return message
}

func about(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }
