package migration

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// finding is what a check of the preflight has against the migration.
type finding struct {
	reason  string
	message string
	refused bool // waiting does not help
	plan    *Plan
}

func refuse(reason, message string, args ...any) *finding {
	return &finding{reason: reason, message: fmt.Sprintf(message, args...), refused: true}
}

func hold(reason, message string, args ...any) *finding {
	return &finding{reason: reason, message: fmt.Sprintf(message, args...)}
}

// check is one thing that is looked at before a migration. Its name is the type
// of its condition in status.preflight.
type check struct {
	name  string
	after []string // those that have to be passed for it to make sense
	look  func(*planner) *finding
}

// checkedSourcePod is looked at also while the migration queues.
const checkedSourcePod = "SourcePod"

// The checks in their order. Each narrows what those after it look at: see
// preflight.go and preflight_nodes.go.
var checks = []check{
	{"Namespace", nil, (*planner).checkNamespace},
	{checkedSourcePod, []string{"Namespace"}, (*planner).checkSourcePod},
	{"Policy", []string{"SourcePod"}, (*planner).checkPolicy},
	{"NoOtherMigration", []string{"SourcePod"}, (*planner).checkRival},
	{"Container", []string{"SourcePod"}, (*planner).checkContainer},
	{"Owner", []string{"SourcePod"}, (*planner).checkOwner},
	{"PodShape", []string{"Container"}, (*planner).checkShape},
	{"Volumes", []string{"Container"}, (*planner).checkVolumes},
	{"Strategy", []string{"Policy", "Owner", "Volumes"}, (*planner).checkStrategy},
	{"Probes", []string{"Container"}, (*planner).checkProbes},
	{"Nodes", []string{"SourcePod", "Strategy"}, (*planner).checkNodes},
	{"NodeAgents", []string{"Nodes"}, (*planner).checkAgents},
	{"NodeCompatibility", []string{"NodeAgents"}, (*planner).checkCompatibility},
	{"Disk", []string{"NodeAgents"}, (*planner).checkDisk},
	{"Permissions", []string{"Owner"}, (*planner).checkPermissions},
	{"Repository", nil, (*planner).checkRepository},
	{"Broker", nil, (*planner).checkBroker},
	{"Queue", []string{"Broker"}, (*planner).checkQueues},
	{"Library", []string{"Container", "Broker"}, (*planner).checkLibrary},
}

// pending finds out whether the pod can be migrated. What can never be is
// refused at once, what may come up is waited for until the deadline.
func (p *planner) pending() Plan {
	p.enter(v1alpha1.PhasePending)
	p.noteSettings()
	if p.status.Queued != nil && p.Turn != nil {
		return p.waitTurn()
	}
	refused, held := p.examine()
	f := refused
	if f == nil || p.Object.Spec.DryRun && held != nil && !p.late(p.since().Add(p.Policy.Resend)) {
		f = held // who only asks is to hear all of it
	}
	if f == nil {
		return p.ready()
	}
	deadline := p.readyBy()
	p.status.Queued = nil // it does not stand in the way of others
	p.set(v1alpha1.ConditionReady, metav1.ConditionFalse, f.reason, f.message)
	switch {
	case f.refused:
		return p.giveUp(f.reason, f.message)
	case p.late(deadline):
		return p.giveUp(f.reason, fmt.Sprintf("not ready within deadlines.pendingSeconds (%d): %s",
			p.settings.Deadlines.PendingSeconds, f.message))
	}
	if f.plan != nil {
		return *f.plan
	}
	return Plan{Until: earlier(p.Now.Add(p.Policy.Poll), deadline), For: f.message}
}

// readyBy is until when it has to be ready: one that was, and is not any more
// when its turn has come, has the whole time again.
func (p *planner) readyBy() time.Time {
	from := p.since()
	switch c := p.get(v1alpha1.ConditionReady); {
	case c == nil:
	case c.Status == metav1.ConditionTrue:
		from = p.Now
	case c.LastTransitionTime.After(from):
		from = c.LastTransitionTime.Time
	}
	return from.Add(seconds(p.settings.Deadlines.PendingSeconds))
}

// examine makes every check that makes sense, and returns the first finding of
// each kind.
func (p *planner) examine() (refused, held *finding) {
	for _, c := range checks {
		f := p.examineOne(c)
		switch {
		case f == nil:
		case f.refused && refused == nil:
			refused = f
		case !f.refused && held == nil:
			held = f
		}
	}
	return refused, held
}

func (p *planner) examineOne(c check) *finding {
	missing := slices.IndexFunc(c.after, func(name string) bool {
		return !meta.IsStatusConditionTrue(p.status.Preflight, name)
	})
	if missing >= 0 {
		p.judge(c.name, metav1.ConditionUnknown, ReasonNotChecked, c.after[missing]+" comes first")
		return nil
	}
	f := c.look(p)
	if f == nil {
		p.judge(c.name, metav1.ConditionTrue, ReasonPassed, "")
		return nil
	}
	p.judge(c.name, metav1.ConditionFalse, f.reason, f.message)
	return f
}

// judge notes the result of a check.
func (p *planner) judge(name string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&p.status.Preflight, metav1.Condition{
		Type: name, Status: status, Reason: reason, Message: clip(message),
		ObservedGeneration: p.Object.Generation, LastTransitionTime: metav1.NewTime(p.Now),
	})
}

// ready begins the migration, unless it was only asked about.
func (p *planner) ready() Plan {
	p.set(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonReady, "the pod can be migrated (%s)", p.status.Strategy)
	if p.Object.Spec.DryRun {
		p.set(v1alpha1.ConditionSucceeded, metav1.ConditionTrue, ReasonDryRun, "the pod %q can be migrated; spec.dryRun: nothing was done", p.sourceName())
		p.enter(v1alpha1.PhaseCompleted)
		return Plan{Ended: true}
	}
	if p.Turn != nil {
		return p.waitTurn()
	}
	at := metav1.NewMicroTime(p.Now)
	p.status.StartedAt, p.status.Queued = &at, nil
	p.enter(v1alpha1.PhaseCheckpointing)
	return p.checkpointing()
}

// identify fixes which pod is meant, from here on by its UID.
func (p *planner) identify(container string) {
	pod := p.Source.Pod
	p.status.SourcePodName, p.status.SourcePodUID, p.status.SourceNode = pod.Name, pod.UID, pod.Spec.NodeName
	p.status.OriginNode, p.status.Container = pod.Spec.NodeName, container
	p.status.Hop = 1
}

// candidate is a node that the pod may go to.
type candidate = *corev1.Node
