package migration_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// TestStory: what each step of a status tells, to whom.
func TestStory(t *testing.T) {
	at := func(after time.Duration) *metav1.MicroTime { return ptr.To(metav1.NewMicroTime(now.Add(after))) }
	is := func(kind string, status metav1.ConditionStatus, reason, message string) func(*v1alpha1.StatefulMigration) {
		return func(m *v1alpha1.StatefulMigration) {
			condition(m, kind, status, reason)
			for i := range m.Status.Conditions {
				if m.Status.Conditions[i].Type == kind {
					m.Status.Conditions[i].Message = message
				}
			}
		}
	}
	for name, test := range map[string]struct {
		before, after func(*v1alpha1.StatefulMigration)
		want          []string
	}{
		"nothing": {},
		"its lag": {after: func(m *v1alpha1.StatefulMigration) { m.Status.Lag = &v1alpha1.Lag{Messages: 3} }},
		"a check that is not passed yet": {
			after: func(m *v1alpha1.StatefulMigration) {
				m.Status.Settings = &v1alpha1.Settings{Deadlines: v1alpha1.Deadlines{PendingSeconds: 60}}
				is(v1alpha1.ConditionReady, metav1.ConditionFalse, migration.ReasonNodeNotReady, "node-b is not Ready")(m)
			},
			want: []string{"Warning NodeNotReady/Preflight [source] not ready yet, looked at again until deadlines.pendingSeconds (60) have passed: " +
				"node-b is not Ready. Choose another spec.targetNode, or see why the node is not Ready."},
		},
		"… and in other words, for the same reason": {
			before: is(v1alpha1.ConditionReady, metav1.ConditionFalse, migration.ReasonNodeNotReady, "node-b is not Ready"),
			after:  is(v1alpha1.ConditionReady, metav1.ConditionFalse, migration.ReasonNodeNotReady, "node-b is still not Ready"),
		},
		"queued": {
			after: func(m *v1alpha1.StatefulMigration) { m.Status.Queued = &v1alpha1.Queued{Message: "5 are active"} },
			want:  []string{"Normal Queued/Queue [source] 5 are active"},
		},
		"let in": {
			before: func(m *v1alpha1.StatefulMigration) { m.Status.Queued = &v1alpha1.Queued{Since: *at(-2 * time.Second)} },
			after: func(m *v1alpha1.StatefulMigration) {
				m.Status.Queued, m.Status.StartedAt = nil, at(0)
				m.Status.Phase, m.Status.Container, m.Status.SourceNode = v1alpha1.PhaseCheckpointing, "main", "node-a"
			},
			want: []string{"Normal LetIn/Queue [source] its turn has come after 2s", "Normal Checkpointing/Checkpoint [source] checkpointing the container main on node-a"},
		},
		"an attempt": {
			after: func(m *v1alpha1.StatefulMigration) {
				m.Status.Attempt, m.Status.Settings = 2, &v1alpha1.Settings{BackoffLimit: 2}
			},
			want: []string{"Normal Attempt/Checkpoint [source] attempt 2 of 3: the source goes to its safe point and is checkpointed"},
		},
		"an attempt that failed": {
			after: is(v1alpha1.ConditionCheckpointed, metav1.ConditionFalse, "VolumeOpen", "attempt 1: /data/log is open"),
			want:  []string{"Warning VolumeOpen/Checkpoint [source] attempt 1: /data/log is open. " + migration.Advice("VolumeOpen")},
		},
		"an attempt that begins": {after: is(v1alpha1.ConditionCheckpointed, metav1.ConditionFalse, migration.ReasonPreparing, "")},
		"cut off": {
			after: is(v1alpha1.ConditionCutOff, metav1.ConditionTrue, migration.ReasonOutpaced, "as much arrives as is replayed: 30 messages"),
			want:  []string{"Normal CutOff/Freeze [source] as much arrives as is replayed: 30 messages"},
		},
		"slowed down": {
			after: func(m *v1alpha1.StatefulMigration) { m.Status.Throttle = &v1alpha1.Throttle{PaceMillis: 40} },
			want:  []string{"Normal Throttled/Replay [source] more comes than the copy can catch up with soon: the source is to begin messages 40 ms apart until it has"},
		},
		"slowed down no more": {
			after: func(m *v1alpha1.StatefulMigration) {
				m.Status.Throttle = &v1alpha1.Throttle{PaceMillis: 40, EndedAt: ptr.To(metav1.NowMicro())}
			},
		},
		"a takeover": {
			after: is(v1alpha1.ConditionTakeover, metav1.ConditionTrue, migration.ReasonSourceLost, "the source pod is gone"),
			want:  []string{"Warning Takeover/TakeOver [target] the source pod is gone"},
		},
		"committed": {
			after: is(v1alpha1.ConditionCommitted, metav1.ConditionTrue, migration.ReasonCommitted, "COMMIT stands"),
			want:  []string{"Normal Committed/HandOver [source target] COMMIT stands"},
		},
		"live": {
			after: func(m *v1alpha1.StatefulMigration) {
				m.Status.TargetPodName, m.Status.Pauses = "counter-m1", &v1alpha1.Pauses{HandoverMillis: ptr.To[int64](90)}
			},
			want: []string{"Normal Live/HandOver [target] counter-m1 took the queue over after a pause of at most 90 ms"},
		},
		"given up": {
			after: is(v1alpha1.ConditionSucceeded, metav1.ConditionFalse, migration.ReasonCancelled, "the StatefulMigration was deleted"),
			want:  []string{"Warning Cancelled/GiveUp [source] the StatefulMigration was deleted"},
		},
		"failed": {
			before: func(m *v1alpha1.StatefulMigration) {
				is(v1alpha1.ConditionSucceeded, metav1.ConditionFalse, migration.ReasonCancelled, "")(m)
				is(v1alpha1.ConditionCommitted, metav1.ConditionFalse, migration.ReasonAborted, "")(m)
			},
			after: func(m *v1alpha1.StatefulMigration) {
				m.Status.Phase, m.Status.StartedAt, m.Status.EndedAt = v1alpha1.PhaseFailed, at(0), at(3*time.Second)
			},
			want: []string{"Warning Failed/Complete [source] ended after 3s; the source keeps the state and goes on"},
		},
		"completed": {
			after: func(m *v1alpha1.StatefulMigration) {
				m.Status.Phase, m.Status.TargetPodName, m.Status.TargetNode = v1alpha1.PhaseCompleted, "counter-m1", "node-b"
			},
			want: []string{"Normal Completed/Complete [source target] counter-m1 on node-b has taken over"},
		},
		"something is left": {
			after: is(v1alpha1.ConditionCleanedUp, metav1.ConditionFalse, migration.ReasonAbandoned, "the replay queue"),
			want:  []string{"Warning LeftBehind/CleanUp [] the replay queue"},
		},
		"in the shadow": {
			after: is(v1alpha1.ConditionReturned, metav1.ConditionFalse, migration.ReasonWaiting, "it lives in the shadow"),
			want:  []string{"Normal InShadow/Return [source] it lives in the shadow"},
		},
		"a way back that failed": {
			before: is(v1alpha1.ConditionReturned, metav1.ConditionFalse, migration.ReasonWaiting, "it lives in the shadow"),
			after:  is(v1alpha1.ConditionReturned, metav1.ConditionFalse, migration.ReasonTargetLost, "hop 2 failed"),
			want:   []string{"Warning TargetLost/Return [source] hop 2 failed"},
		},
		"overdue": {
			after: is(v1alpha1.ConditionOverdue, metav1.ConditionTrue, migration.ReasonDeadline, "not done"),
			want:  []string{"Warning Overdue/Migrate [source] not done"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := object(v1alpha1.PhasePending)
			if test.before != nil {
				test.before(m)
			}
			before := m.Status.DeepCopy()
			if test.after != nil {
				test.after(m)
			}
			var got []string
			for _, told := range migration.Story(m, before) {
				kind := map[bool]string{false: "Normal", true: "Warning"}[told.Warning]
				var pods []string
				for _, p := range told.Pods {
					pods = append(pods, string(p))
				}
				got = append(got, kind+" "+told.Reason+"/"+told.Action+" ["+strings.Join(pods, " ")+"] "+told.Note)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if again := migration.Story(m, &m.Status); len(again) > 0 {
				t.Errorf("told again: %v", again)
			}
		})
	}
}

// TestAdviceIsKnown: nothing is advised about a reason that does not exist, and the
// reasons for which a person has something to do are advised about.
func TestAdviceIsKnown(t *testing.T) {
	known := map[string]bool{}
	for _, file := range []string{"errors.go", "../../api/v1alpha1/checkpointtransfer_types.go", "../../sdk/handover/wire.go"} {
		for _, r := range reasonsIn(t, file) {
			known[r] = true
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), "advice.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	advised := 0
	ast.Inspect(f, func(n ast.Node) bool {
		if kv, ok := n.(*ast.KeyValueExpr); ok {
			advised++
			if text, ok := kv.Value.(*ast.BasicLit); !ok || !regexp.MustCompile(`^"[A-Z].*\."$`).MatchString(text.Value) {
				t.Errorf("%v is no sentence", kv.Value)
			}
		}
		return true
	})
	covered := 0
	for r := range known {
		if migration.Advice(r) != "" {
			covered++
		}
	}
	if advised == 0 || covered != advised {
		t.Errorf("%d of %d sentences are about a reason that exists", covered, advised)
	}
	for _, r := range []string{migration.ReasonNoLibrary, migration.ReasonBrokerUnavailable, migration.ReasonDeadline, v1alpha1.TransferReasonNoSpace} {
		if migration.Advice(r) == "" {
			t.Errorf("nothing is advised about %s", r)
		}
	}
}

// reasonsIn are the strings of the constants in a file whose names tell that they are reasons.
func reasonsIn(t *testing.T, file string) (out []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.Contains(spec.Names[0].Name, "Reason") && len(spec.Values) == 1 {
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				out = append(out, strings.Trim(lit.Value, `"`))
			}
		}
		return true
	})
	if len(out) == 0 || slices.Contains(out, "") {
		t.Fatalf("reasons in %s: %v", file, out)
	}
	return out
}
