package migration

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/sdk/handover"
)

// Plan is what a migration needs next.
type Plan struct {
	// Status is to be written, if it differs, before the action is done, or after it: see Ahead.
	Status v1alpha1.StatefulMigrationStatus
	// Action to do now; nil: nothing.
	Action Action
	// Until is when to look again though nothing happened; zero: no need to.
	Until time.Time
	// For says in a few words what is waited for.
	For string
	// Ended means that the migration has left nothing behind that is its own:
	// the finalizer may go.
	Ended bool
}

// Next plans.
func Next(f Facts) Plan {
	p := &planner{Facts: f, status: f.Object.Status.DeepCopy(), settings: settingsOf(f)}
	p.status.ObservedGeneration = f.Object.Generation
	plan := p.step()
	if at := p.totalAt(); plan.Action == nil && !plan.Ended && !p.late(at) {
		plan.Until = earlier(plan.Until, at)
	}
	plan.Status = *p.status
	return plan
}

// planner is one run of Next: the facts and the status that it is working out.
type planner struct {
	Facts
	status *v1alpha1.StatefulMigrationStatus
	// settings are what holds for the migration.
	settings v1alpha1.Settings
	// candidates are the nodes that nothing has been found against, in Pending.
	candidates []candidate
	volumes    VolumeVerdict
}

func (p *planner) step() Plan {
	p.noteOverdue()
	switch phase := p.status.Phase; {
	case p.Calling:
		return p.calling()
	case phase == v1alpha1.PhaseCompleted || phase == v1alpha1.PhaseFailed:
		return Plan{Ended: true}
	case p.abandoned():
		return p.abandon()
	case !Known(phase):
		// A phase of a later version of MS2M: not ours to reset, nor to end.
		return Plan{For: fmt.Sprintf("a manager that knows the phase %q", phase)}
	case p.committed():
		return p.forward()
	case p.buffered() && p.Decision == Unread && p.decided() == Unread:
		// A process that has just taken over does not know whether the
		// instances have settled it among themselves meanwhile.
		return p.act(ReadDecision{})
	case p.decided() == Committed:
		return p.commit()
	case p.givingUp():
		return p.abort()
	case p.decided() == Aborted:
		return p.giveUp(p.whyAborted())
	case p.Object.DeletionTimestamp != nil && p.status.Hop <= 1:
		// A later hop goes forward: the state has left its pod already.
		return p.giveUp(ReasonCancelled, "the StatefulMigration was deleted")
	case p.Failure != nil:
		return p.giveUp(p.Failure.Reason, p.Failure.Err.Error())
	case p.overTotal() && p.status.Hop <= 1:
		return p.giveUpOverdue()
	}
	if phase := p.status.Phase; phase != "" && phase != v1alpha1.PhasePending {
		if what := p.missing(); what != "" {
			return p.giveUp(ReasonInvalidSpec, fmt.Sprintf("the migration has not been through Pending and what follows it: in %s there is no %s", phase, what))
		}
	}
	switch p.status.Phase {
	case v1alpha1.PhaseCheckpointing:
		return p.checkpointing()
	case v1alpha1.PhaseTransferring:
		return p.transferring()
	case v1alpha1.PhaseRestoring:
		return p.restoring()
	case v1alpha1.PhaseReplaying:
		return p.replaying()
	case v1alpha1.PhaseFinalizing:
		return p.finalizing()
	default:
		return p.pending()
	}
}

// Known reports whether a phase is one of this version.
func Known(p v1alpha1.MigrationPhase) bool {
	switch p {
	case "", v1alpha1.PhasePending, v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring,
		v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing, v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed:
		return true
	}
	return false
}

// act plans an action, unless it has just failed. The instances still have to
// hear from the manager while it waits to try again.
func (p *planner) act(a Action) Plan {
	if p.blocked(a) {
		return p.wait(p.Blocked.Until, "another try of %s", p.Blocked.Action)
	}
	return Plan{Action: a}
}

func (p *planner) blocked(a Action) bool {
	return p.Blocked.Action == Name(a) && p.Now.Before(p.Blocked.Until)
}

// wait plans to wait, unless an instance has to hear from the manager first:
// without HELLO it would give up at the end of its lease.
func (p *planner) wait(until time.Time, what string, args ...any) Plan {
	plan := Plan{Until: until, For: fmt.Sprintf(what, args...)}
	for _, role := range []Role{RoleSource, RoleTarget} {
		due, engaged := p.helloDue(role)
		if !engaged {
			continue
		}
		if hello := (Send{Role: role, Command: p.command(role, handover.Hello)}); !due.After(p.Now) {
			if !p.blocked(hello) {
				return Plan{Action: hello}
			}
			// Whatever woke us has taken the place of the call that was asked for then.
			due = p.Blocked.Until
		}
		if plan.Until.IsZero() || due.Before(plan.Until) {
			plan.Until = due
		}
	}
	return plan
}

// helloDue is when the instance is to hear HELLO, if it takes part.
func (p *planner) helloDue(role Role) (due time.Time, engaged bool) {
	inst := p.instance(role)
	if !p.alive(role) || role == RoleTarget && !p.targetMayAnswer() {
		return time.Time{}, false
	}
	last, noInstance := inst.lastSent()
	switch {
	case last.IsZero():
		return p.Now, true
	case noInstance || inst.Report == nil:
		if role == RoleTarget {
			return last.Add(p.Policy.Knock), true
		}
		return last.Add(p.Policy.Poll), true
	}
	if role == RoleSource && p.pace() > 0 {
		return last.Add(min(paceHolds, p.Policy.Lease) / 3), true
	}
	return last.Add(p.Policy.Lease / 3), true
}

// send plans a command, now.
func (p *planner) send(role Role, kind handover.CommandKind) Plan {
	return p.act(Send{Role: role, Command: p.command(role, kind)})
}

// command makes the command that this attempt and epoch send.
func (p *planner) command(role Role, kind handover.CommandKind) handover.Command {
	c := handover.Command{
		Version:      handover.Version,
		Kind:         kind,
		Migration:    p.id(),
		Attempt:      int(p.status.Attempt),
		Epoch:        p.status.Epoch,
		PodUID:       string(p.podUID(role)),
		LeaseMillis:  p.Policy.Lease.Milliseconds(),
		ReportMillis: p.Policy.Report.Milliseconds(),
	}
	if p.status.Phase == v1alpha1.PhaseReplaying || p.status.Phase == v1alpha1.PhaseFinalizing {
		c.ReportMillis = p.Policy.Track.Milliseconds()
	}
	switch d := p.settings.Deadlines; kind {
	case handover.Hello:
		if pace := p.pace(); role == RoleSource && pace > 0 {
			c.PaceMillis, c.DeadlineMillis = pace.Milliseconds(), paceHolds.Milliseconds()
		}
	case handover.Prepare:
		c.ReplayQueue = p.replayQueue()
		c.Sequential = p.sequential()
		if pod := p.Source.Pod; pod != nil {
			c.Predecessor = pod.Status.PodIP
		}
		c.DeadlineMillis = p.attemptTime().Milliseconds()
		c.LeaseMillis += c.DeadlineMillis // a frozen process hears nothing
	case handover.StartReplay:
		c.ReplayQueue = p.replayQueue()
		c.DeadlineMillis = (seconds(d.ReplaySeconds) + seconds(d.FinalizeSeconds)).Milliseconds()
	case handover.TakeOver:
		if p.state(RoleSource) != handover.Held || !p.alive(RoleSource) {
			c.FencePodUID = string(p.status.SourcePodUID)
		}
	case handover.Freeze:
		// Half, so that a source whose handlers did not finish can be asked once more.
		c.DeadlineMillis = seconds(d.FinalizeSeconds).Milliseconds() / 2
		if pod := p.Target.Pod; pod != nil && !p.sequential() {
			c.Successor = pod.Status.PodIP
		}
	}
	return c
}

// ask plans a command that is repeated until what it asks for is seen: a
// command can be lost with the connection that carried it, and a repeated one
// is answered again without acting.
func (p *planner) ask(role Role, kind handover.CommandKind, deadline time.Time, what string) Plan {
	again := p.Policy.Resend
	sent, ok := p.sent(role, kind)
	if sent.NoInstance {
		again = p.Policy.Poll
	}
	if at := sent.At.Add(again); ok && at.After(p.Now) {
		return p.wait(earlier(at, deadline), "%s", what)
	}
	return p.send(role, kind)
}

// sent is the last command of a kind in this attempt.
func (p *planner) sent(role Role, kind handover.CommandKind) (Sent, bool) {
	s, ok := p.instance(role).Sent[kind]
	return s, ok && s.Attempt == p.status.Attempt
}

// refused is the refusal of the last command of a kind, if that was the answer.
func (p *planner) refused(role Role, kind handover.CommandKind) *handover.Report {
	s, ok := p.sent(role, kind)
	if !ok || s.Answer == nil || s.Answer.Kind != handover.ReportRefused {
		return nil
	}
	return s.Answer
}

// enter begins a phase, once.
func (p *planner) enter(phase v1alpha1.MigrationPhase) {
	if p.status.Phase == phase {
		return
	}
	if n := len(p.status.PhaseTimes); n > 0 && p.status.PhaseTimes[n-1].DurationMillis == nil {
		last := &p.status.PhaseTimes[n-1]
		took := p.Now.Sub(last.StartedAt.Time).Milliseconds()
		last.DurationMillis = &took
	}
	if phase != v1alpha1.PhaseRestoring && phase != v1alpha1.PhaseReplaying {
		p.unthrottle()
	}
	p.status.Phase = phase
	if phase == v1alpha1.PhaseCompleted || phase == v1alpha1.PhaseFailed {
		at := metav1.NewMicroTime(p.Now)
		p.status.EndedAt, p.status.Queued = &at, nil
	}
	for i := range p.status.PhaseTimes {
		if p.status.PhaseTimes[i].Phase == phase {
			p.status.PhaseTimes[i].DurationMillis = nil
			return
		}
	}
	p.status.PhaseTimes = append(p.status.PhaseTimes,
		v1alpha1.PhaseTime{Phase: phase, StartedAt: metav1.NewMicroTime(p.Now)})
}

// back goes to an earlier phase: what comes after it is entered anew.
func (p *planner) back(phase v1alpha1.MigrationPhase) {
	for i := range p.status.PhaseTimes {
		if p.status.PhaseTimes[i].Phase == phase {
			p.status.PhaseTimes = p.status.PhaseTimes[:i]
			break
		}
	}
	p.enter(phase)
}

// since is when the present phase began. A phase that was set by hand has no
// time: it begins now.
func (p *planner) since() time.Time {
	for _, t := range p.status.PhaseTimes {
		if t.Phase == p.status.Phase {
			return t.StartedAt.Time
		}
	}
	p.status.PhaseTimes = append(p.status.PhaseTimes,
		v1alpha1.PhaseTime{Phase: p.status.Phase, StartedAt: metav1.NewMicroTime(p.Now)})
	return p.Now
}

// until is the deadline of the present phase.
func (p *planner) until(limit int32) time.Time { return p.since().Add(seconds(limit)) }

// late reports whether a deadline has passed.
func (p *planner) late(deadline time.Time) bool { return !p.Now.Before(deadline) }

func (p *planner) set(kind string, status metav1.ConditionStatus, reason, message string, args ...any) {
	if len(args) > 0 {
		message = fmt.Sprintf(message, args...)
	}
	meta.SetStatusCondition(&p.status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: clip(message),
		ObservedGeneration: p.Object.Generation, LastTransitionTime: metav1.NewTime(p.Now),
	})
}

func (p *planner) get(kind string) *metav1.Condition {
	return meta.FindStatusCondition(p.status.Conditions, kind)
}

func (p *planner) is(kind string) bool {
	return meta.IsStatusConditionTrue(p.status.Conditions, kind)
}

// clip bounds a message to what a condition may hold; CRIU's can be long.
func clip(s string) string {
	const most = 2000
	if len(s) <= most {
		return s
	}
	// Not half a rune: the API server would change it, and it be written again for ever.
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// earlier is the earlier of two times, of which a zero one does not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
