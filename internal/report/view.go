package report

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// view is what the page shows.
type view struct {
	Policy string
	Style  template.CSS

	Title, Name, Namespace string
	State                  string // good, bad or busy
	Phase, Reason, Message string
	Way                    []Pair
	Figures                []figure
	Hops                   []*hopView
	Conditions, Preflight  []conditionView
	Events                 []eventView
	Facts, Versions        []Pair
	Spec                   string
	Made                   string
}

// figure is a number that counts.
type figure struct{ Name, Value, Note string }

type conditionView struct{ Name, Status, Class, Reason, Message, At string }

type eventView struct {
	At, Type, Reason, Object, Message string
	Warning                           bool
}

const (
	moment = "2006-01-02 15:04:05 MST"
	clock  = "15:04:05.000"
)

func newView(in Input) (*view, error) {
	m, s := in.Migration, &in.Migration.Status
	spec, err := yaml.Marshal(m.Spec)
	if err != nil {
		return nil, err
	}
	v := &view{
		Title: m.Namespace + "/" + m.Name, Name: m.Name, Namespace: m.Namespace,
		Phase: cmp.Or(string(s.Phase), "New"), State: "busy",
		Spec: string(spec), Versions: in.Versions, Made: in.Now.UTC().Format(moment),
	}
	switch s.Phase {
	case v1alpha1.PhaseCompleted:
		v.State = "good"
	case v1alpha1.PhaseFailed:
		v.State = "bad"
	}
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		v.Reason, v.Message = c.Reason, c.Message
	} else if s.Queued != nil {
		v.Reason, v.Message = s.Queued.Reason, s.Queued.Message
	}
	hops := hopsOf(m)
	first, last := hops[0], hops[len(hops)-1]
	v.Way = []Pair{
		{"Pod", m.Spec.SourcePod.Name + " → " + cmp.Or(last.TargetPodName, "?")},
		{"Node", cmp.Or(first.SourceNode, "?") + " → " + cmp.Or(s.TargetNode, last.TargetNode, "?")},
		{"Strategy", string(cmp.Or(s.Strategy, m.Spec.Strategy, v1alpha1.StrategyAuto))},
		{"Begun", m.CreationTimestamp.UTC().Format(moment)},
	}
	v.Figures = figures(m, hops, in.Now)
	for i := range hops {
		h, err := newHop(&hops[i], len(hops) > 1, in.Now)
		if err != nil {
			return nil, err
		}
		v.Hops = append(v.Hops, h)
	}
	v.Conditions, v.Preflight = conditions(s.Conditions), conditions(s.Preflight)
	v.Facts = facts(m)
	v.Events = eventsView(in.Events)
	return v, nil
}

// hopsOf are the hand-overs, the present one too.
func hopsOf(m *v1alpha1.StatefulMigration) []v1alpha1.Hop {
	s := m.Status
	hops := slices.Clone(s.Hops)
	if n := len(hops); n > 0 && hops[n-1].Hop == s.Hop {
		return hops
	}
	now := v1alpha1.Hop{
		Hop: max(s.Hop, 1), SourcePodName: cmp.Or(s.SourcePodName, m.Spec.SourcePod.Name), TargetPodName: s.TargetPodName,
		SourceNode: s.SourceNode, TargetNode: s.TargetNode, Attempts: s.Attempt, CheckpointImage: s.CheckpointImage,
		Positions: s.Positions, Series: s.Series, Cutoff: s.Cutoff, Throttle: s.Throttle, Pauses: s.Pauses, PhaseTimes: s.PhaseTimes,
	}
	if s.EndedAt != nil {
		now.EndedAt = *s.EndedAt
	}
	return append(hops, now)
}

// figures sum up over all hops.
func figures(m *v1alpha1.StatefulMigration, hops []v1alpha1.Hop, now time.Time) []figure {
	s := m.Status
	var out []figure
	if s.StartedAt != nil {
		end, note := now, "so far"
		if s.EndedAt != nil {
			end, note = s.EndedAt.Time, "from its turn to its end"
		}
		out = append(out, figure{"Time", took(end.Sub(s.StartedAt.Time)), note})
	}
	var checkpoint, handover, replayed, size, lag int64
	paused, frozen, sampled := false, false, false
	for _, h := range hops {
		if p := h.Pauses; p != nil && p.CheckpointMillis != nil {
			paused, checkpoint = true, max(checkpoint, *p.CheckpointMillis)
		}
		if p := h.Pauses; p != nil && p.HandoverMillis != nil {
			frozen, handover = true, max(handover, *p.HandoverMillis)
		}
		if p := h.Positions; p != nil {
			replayed += max(0, p.Target-p.Checkpoint)
		}
		if h.CheckpointImage != nil {
			size = max(size, h.CheckpointImage.SizeBytes)
		}
		for _, x := range h.Series {
			sampled, lag = true, max(lag, x.LagMessages)
		}
	}
	if paused {
		out = append(out, figure{"Checkpoint pause", millis(checkpoint), most(hops, "the source stops, is dumped, goes on")})
	}
	if frozen {
		out = append(out, figure{"Hand-over pause", millis(handover), most(hops, "an upper bound")})
	}
	if replayed > 0 {
		out = append(out, figure{"Replayed", grouped(replayed), "messages that the copy caught up with"})
	}
	if sampled {
		out = append(out, figure{"Largest lag", grouped(lag), "messages outstanding"})
	}
	if size > 0 {
		out = append(out, figure{"Checkpoint", bytesOf(size), most(hops, "in the repository")})
	}
	return out
}

// most says that a figure is the largest of those of several hand-overs.
func most(hops []v1alpha1.Hop, note string) string {
	if len(hops) > 1 {
		return note + " (at most)"
	}
	return note
}

func conditions(list []metav1.Condition) []conditionView {
	out := make([]conditionView, 0, len(list))
	for _, c := range list {
		class := map[metav1.ConditionStatus]string{metav1.ConditionTrue: "good", metav1.ConditionFalse: "bad"}[c.Status]
		out = append(out, conditionView{c.Type, string(c.Status), cmp.Or(class, "busy"), c.Reason, c.Message, c.LastTransitionTime.UTC().Format(time.TimeOnly)})
	}
	return out
}

func eventsView(events []corev1.Event) []eventView {
	out := make([]eventView, 0, len(events))
	for _, e := range events {
		at := cmp.Or(e.EventTime.Time, e.LastTimestamp.Time, e.CreationTimestamp.Time)
		out = append(out, eventView{
			At: at.UTC().Format(time.TimeOnly), Type: e.Type, Reason: e.Reason, Warning: e.Type == corev1.EventTypeWarning,
			Object: strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name, Message: e.Message,
		})
	}
	return out
}

// facts are what else is known.
func facts(m *v1alpha1.StatefulMigration) []Pair {
	s := m.Status
	var out []Pair
	add := func(name, value string) {
		if value != "" {
			out = append(out, Pair{name, value})
		}
	}
	if o := s.Owner; o != nil {
		add("Owner", o.Kind+" "+o.Name)
	}
	if s.Policy != nil {
		add("Policy", fmt.Sprintf("%s (generation %d)", s.Policy.Name, s.Policy.Generation))
	}
	add("Container", s.Container)
	add("UID", string(m.UID))
	if i := s.CheckpointImage; i != nil {
		add("Image", i.Reference)
		add("Size", fmt.Sprintf("%s in the repository, %s unpacked", bytesOf(i.SizeBytes), bytesOf(i.ArchiveBytes)))
	}
	return out
}

// grouped is a number with its thousands apart.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func millis(ms int64) string { return took(time.Duration(ms) * time.Millisecond) }

func bytesOf(n int64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
