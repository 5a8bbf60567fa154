package migration_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/sdk/handover"
)

const (
	sendPrepare = "Send PREPARE to the source"

	createTransfer = "CreateTransfer"
	sendResume     = "Send RESUME to the source"
	helloSource    = "Send HELLO to the source"
	helloTarget    = "Send HELLO to the target"
)

func TestPending(t *testing.T) {
	run(t, v1alpha1.PhasePending, []row{
		{name: "ready", action: "SetHolds", phase: v1alpha1.PhaseCheckpointing},
		{name: "the library is asked", change: func(f *migration.Facts) { f.Source.Report, f.Source.Sent = nil, nil },
			action: helloSource, phase: v1alpha1.PhasePending},
		{name: "the library is asked again", change: func(f *migration.Facts) { f.Source.Report = nil; later(2 * time.Second)(f) },
			action: helloSource, phase: v1alpha1.PhasePending},
		{name: "the library may still answer", change: func(f *migration.Facts) { f.Source.Report = nil },
			phase: v1alpha1.PhasePending, check: func(t *testing.T, p migration.Plan) {
				if p.Until.IsZero() {
					t.Error("waits for ever")
				}
			}},
		{name: "the library never answers", change: all(func(f *migration.Facts) { f.Source.Report = nil }, later(time.Minute)),
			action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonNoLibrary},
		{name: "another version", change: source(handover.Live, func(r *handover.Report) { r.Version = 2 }),
			action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonLibraryMismatch},
		{name: "no identity yet", change: source(handover.Live, func(r *handover.Report) { r.Status.Identity = handover.IdentityNone }),
			phase: v1alpha1.PhasePending},
		{name: "in another migration", change: source(handover.Relaying, func(r *handover.Report) { r.Status.Migration = "other" }),
			phase: v1alpha1.PhasePending},
		{name: "the broker is down", change: func(f *migration.Facts) { f.Preflight.Broker, f.Preflight.Queues = errTest, nil },
			phase: v1alpha1.PhasePending},
		{name: "the agent is not ready", change: func(f *migration.Facts) { delete(f.Preflight.Agents, "node-b") },
			phase: v1alpha1.PhasePending},
		{name: "a sidecar", change: func(f *migration.Facts) {
			always := corev1.ContainerRestartPolicyAlways
			f.Source.Pod.Spec.InitContainers = []corev1.Container{{Name: "side", RestartPolicy: &always}}
		}, action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonPodUnsupported},
		{name: "deleted", change: deleted, action: "ended", phase: v1alpha1.PhaseFailed, reason: migration.ReasonCancelled},
	})
}

// vain is after the target's shim has waited for too long.
func vain(f *migration.Facts) {
	f.Target.Pod.Annotations = map[string]string{v1alpha1.AnnotationHandover: uid}
	f.Target.Pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 10s"},
	}, LastTerminationState: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{Message: "ms2m: " + v1alpha1.MessageNotStaged + " 1m30s"},
	}}}
}

func deleted(f *migration.Facts) {
	at := metav1.NewTime(f.Now)
	f.Object.DeletionTimestamp = &at
}

// stands is after holds and replay queue stand.
func stands(f *migration.Facts) {
	condition(f.Object, v1alpha1.ConditionBuffered, metav1.ConditionTrue, "Done")
	f.Decision = migration.Undecided
}

// buffered is after the target pod was made, too: its shim waits.
func buffered(f *migration.Facts) {
	stands(f)
	targetWaits(f)
}

// attempt is after the first PREPARE was sent.
func attempt(f *migration.Facts) {
	buffered(f)
	started := metav1.NewMicroTime(f.Now)
	f.Object.Status.Attempt, f.Object.Status.AttemptEpoch, f.Object.Status.AttemptStartedAt = 1, f.Object.Status.Epoch, &started
	f.Source.Sent = said(handover.Prepare)
}

// checkpointed is after the kubelet has answered; RESUME was sent with it.
func checkpointed(err *migration.Error) change {
	return func(f *migration.Facts) {
		attempt(f)
		f.Source.Sent = said(handover.Prepare, handover.Resume)
		paused := report(sourceUID, handover.Paused).Status
		f.Checkpoint = &migration.CheckpointResult{Attempt: 1, At: f.Now, Archive: "a.tar", Before: paused, After: paused, Err: err}
		f.Source.Report = report(sourceUID, handover.Relaying)
	}
}

func TestCheckpointing(t *testing.T) {
	run(t, v1alpha1.PhaseCheckpointing, []row{
		{name: "the intent first", action: "SetHolds", check: func(t *testing.T, p migration.Plan) {
			if c := p.Status.Conditions; len(c) != 2 || c[1].Type != v1alpha1.ConditionBuffered || c[1].Status != metav1.ConditionUnknown {
				t.Errorf("conditions %+v", c)
			}
		}},
		{name: "then the queue", change: func(f *migration.Facts) { f.Done[migration.StepHolds] = true }, action: "CreateReplayQueue"},
		{name: "then the target, which waits for the checkpoint", change: stands, action: "CreateTarget", phase: v1alpha1.PhaseCheckpointing,
			check: func(t *testing.T, p migration.Plan) {
				if made := p.Action.(migration.CreateTarget).Pod.Name; p.Status.TargetPodName != made || p.Status.Attempt != 0 {
					t.Errorf("made %s, status %+v", made, p.Status)
				}
			}},
		{name: "which may have waited in vain: it goes", change: all(buffered, vain), action: "DeletePod", check: func(t *testing.T, p migration.Plan) {
			if p.Status.TargetPodUID != "" {
				t.Errorf("status %+v", p.Status)
			}
		}},
		{name: "and no other is made while there is no checkpoint", change: all(stands, func(f *migration.Facts) {
			f.Object.Status.TargetPodName = "counter-abc"
			condition(f.Object, v1alpha1.ConditionRestored, metav1.ConditionFalse, migration.ReasonNotStaged)
		}), action: createTransfer},
		{name: "its UID is recorded", change: all(buffered, func(f *migration.Facts) { f.Object.Status.TargetPodUID = "" }), action: createTransfer,
			check: func(t *testing.T, p migration.Plan) {
				if p.Status.TargetPodUID != targetUID {
					t.Errorf("status %+v", p.Status)
				}
			}},
		{name: "the target was deleted by somebody", change: all(buffered, func(f *migration.Facts) { f.Target.Pod = nil }),
			action: "WriteAbort", reason: migration.ReasonTargetLost},
		{name: "no target while the source waits to go on", change: all(checkpointed(nil), source(handover.Paused), func(f *migration.Facts) { f.Object.Status.TargetPodUID, f.Target.Pod = "", nil })},
		{name: "then the agent, the attempt recorded", change: buffered, action: createTransfer, check: func(t *testing.T, p migration.Plan) {
			s := p.Action.(migration.CreateTransfer).Spec
			if p.Status.Attempt != 1 || p.Status.AttemptEpoch != 1 || s.Attempt != 1 || s.Direction != v1alpha1.TransferThaw || s.NodeName != "node-a" || s.PodUID != sourceUID || s.Container != "main" || s.KeepFrozen {
				t.Errorf("status %+v, transfer %+v", p.Status, s)
			}
		}},
		{name: "it waits", change: attempt},
		{name: "it asks again", change: all(attempt, later(4*time.Second)), action: sendPrepare},
		{name: "draining", change: all(attempt, source(handover.Draining), later(4*time.Second))},
		{name: "paused", change: all(attempt, source(handover.Paused)), action: "Checkpoint", check: func(t *testing.T, p migration.Plan) {
			a := p.Action.(migration.Checkpoint)
			if a.Node != "node-a" || a.Pod != "counter" || a.Container != "main" || a.Timeout != time.Minute {
				t.Errorf("%+v", a)
			}
		}},
		{name: "it could not drain", change: all(attempt, source(handover.Live), refusal(handover.Prepare, handover.ReasonDrainDeadline)),
			action: createTransfer, check: secondAttempt},
		{name: "refused as foreign", change: all(attempt, refusal(handover.Prepare, handover.ReasonForeign)),
			action: "WriteAbort", reason: "Foreign"},
		{name: "Checkpointing → Transferring", change: checkpointed(nil), action: "CreateTransfer", phase: v1alpha1.PhaseTransferring,
			check: func(t *testing.T, p migration.Plan) {
				if p.Status.CheckpointID != "a.tar" || p.Status.Positions.Checkpoint != 40 || *p.Status.Pauses.CheckpointMillis != 7 {
					t.Errorf("status %+v", p.Status)
				}
			}},
		{name: "RESUME is not answered yet", change: all(checkpointed(nil), source(handover.Paused))},
		{name: "RESUME is asked again", change: all(checkpointed(nil), source(handover.Paused), later(4*time.Second)), action: sendResume},
		{name: "a failing call is retried", change: all(checkpointed(migration.Passing(migration.ReasonCheckpointFailed, errTest)), later(2*time.Second)),
			action: createTransfer, check: secondAttempt},
		{name: "but not within a second", change: checkpointed(migration.Passing(migration.ReasonCheckpointFailed, errTest))},
		{name: "and not for ever", change: all(checkpointed(migration.Passing(migration.ReasonCheckpointFailed, errTest)), func(f *migration.Facts) { f.Object.Spec.BackoffLimit = ptr.To[int32](0) }),
			action: "WriteAbort", reason: migration.ReasonCheckpointFailed},
		{name: "a call that no retry mends", change: checkpointed(migration.Fatal(migration.ReasonCheckpointFailed, errTest)),
			action: "WriteAbort", reason: migration.ReasonCheckpointFailed},
		{name: "the source went on by itself meanwhile", change: all(checkpointed(nil), func(f *migration.Facts) { f.Checkpoint.After.State = handover.Relaying }, later(2*time.Second)),
			action: createTransfer, check: secondAttempt},
		{name: "the source went on before the call", change: all(attempt, source(handover.Relaying)), action: createTransfer, check: secondAttempt},
		{name: "another process began the attempt", change: all(attempt, source(handover.Relaying), newEpoch), action: createTransfer, check: secondAttempt},
		{name: "and left the source paused", change: all(attempt, source(handover.Paused), newEpoch), action: sendResume},
		{name: "the source restarted", change: all(attempt, source(handover.Held)), action: "WriteAbort", reason: migration.ReasonSourceRestarted},
		{name: "the source was replaced", change: all(attempt, func(f *migration.Facts) { f.Source.Pod.UID = "other" }),
			action: "WriteAbort", reason: migration.ReasonSourceLost},
		{name: "the decision is looked up after a restart", change: all(attempt, func(f *migration.Facts) { f.Decision = migration.Unread }), action: "ReadDecision"},
		{name: "deleted", change: all(attempt, deleted), action: "WriteAbort", reason: migration.ReasonCancelled},
	})
}

func newEpoch(f *migration.Facts) { f.Object.Status.Epoch++; f.Source.Sent = nil }

func secondAttempt(t *testing.T, p migration.Plan) {
	t.Helper()
	s := p.Action.(migration.CreateTransfer).Spec
	if p.Status.Attempt != 2 || s.Attempt != 2 || s.Direction != v1alpha1.TransferThaw || !s.KeepFrozen {
		t.Errorf("attempt %d, transfer %+v", p.Status.Attempt, s)
	}
	if c := find(p.Status.Conditions, v1alpha1.ConditionCheckpointed); c == nil || c.Reason == migration.ReasonPreparing {
		t.Errorf("nobody hears of what became of the first: %+v", c)
	}
}

// refusal answers the command that was sent to the source.
func refusal(kind handover.CommandKind, why handover.Reason) change {
	return func(f *migration.Facts) {
		s := f.Source.Sent[kind]
		s.Answer = &handover.Report{Kind: handover.ReportRefused, Answers: kind, Reason: why}
		f.Source.Sent[kind] = s
	}
}

func TestTransferring(t *testing.T) {
	pushed := func(f *migration.Facts) {
		f.Push = leg(metav1.ConditionTrue, "Done", "")
		f.Push.Status.Image = &v1alpha1.CheckpointImage{Reference: reference, Digest: "sha256:00"}
	}
	run(t, v1alpha1.PhaseTransferring, []row{
		{name: "push", action: "CreateTransfer", check: func(t *testing.T, p migration.Plan) {
			s := p.Action.(migration.CreateTransfer).Spec
			if s.Direction != v1alpha1.TransferPush || s.NodeName != "node-a" || s.Archive != "checkpoint.tar" || s.PodUID != sourceUID {
				t.Errorf("%+v", s)
			}
		}},
		{name: "pushing", change: func(f *migration.Facts) { f.Push = leg("", "", "") }},
		{name: "tried again", change: func(f *migration.Facts) { f.Push = leg(metav1.ConditionUnknown, "Retrying", "502") }},
		{name: "failed", change: func(f *migration.Facts) { f.Push = leg(metav1.ConditionFalse, "Unauthorized", "401") },
			action: "WriteAbort", reason: "Unauthorized"},
		{name: "pushed", change: pushed, action: "VerifyImage"},
		{name: "verified", change: all(pushed, func(f *migration.Facts) { f.Done[migration.StepImageVerified(reference)] = true }),
			action: createTransfer, phase: v1alpha1.PhaseRestoring},
		{name: "not there", change: all(pushed, func(f *migration.Facts) { f.Failure = migration.Fatal(migration.ReasonTransferFailed, errTest) }),
			action: "WriteAbort", reason: migration.ReasonTransferFailed},
		{name: "just failed, and HELLO is not due", change: all(pushed, blocked("VerifyImage"))},
		{name: "just failed, and HELLO is due", change: all(pushed, later(21*time.Second), blocked("VerifyImage")), action: helloSource},
		{name: "late", change: later(300 * time.Second), action: "WriteAbort", reason: migration.ReasonDeadline},
		{name: "the source has left", change: source(handover.Live), action: "WriteAbort", reason: migration.ReasonAborted},
	})
}

func blocked(action string) change {
	return func(f *migration.Facts) {
		f.Blocked = migration.Blocked{Action: action, Until: f.Now.Add(time.Second)}
	}
}

// made is after the target pod was made: it has its node.
func made(f *migration.Facts) {
	f.Object.Status.TargetPodName = "counter-abc"
	f.Target.Pod = pod("counter-abc", targetUID, "node-b")
	f.Target.Pod.Labels[v1alpha1.LabelMigration] = uid
	f.Target.Pod.Status.ContainerStatuses = nil
}

// staging is after the agent there was asked for the checkpoint, staged after it has it.
func staging(f *migration.Facts) { made(f); f.Stage = leg("", "", "") }
func staged(f *migration.Facts)  { made(f); f.Stage = leg(metav1.ConditionTrue, "Done", "") }

func TestRestoring(t *testing.T) {
	run(t, v1alpha1.PhaseRestoring, []row{
		{name: "the name is recorded first", action: "CreateTarget", check: func(t *testing.T, p migration.Plan) {
			if p.Status.TargetPodName == "" || p.Action.(migration.CreateTarget).Pod.Name != p.Status.TargetPodName {
				t.Errorf("%+v", p.Status)
			}
		}},
		{name: "HELLO has just failed", change: all(staging, later(21*time.Second), blocked(helloSource)), check: func(t *testing.T, p migration.Plan) {
			if want := facts(v1alpha1.PhaseRestoring).Now.Add(22 * time.Second); !p.Until.Equal(want) {
				t.Errorf("it is tried again at %v, want %v", p.Until, want)
			}
		}},
		{name: "made", change: made, action: "CreateTransfer", check: func(t *testing.T, p migration.Plan) {
			s := p.Action.(migration.CreateTransfer).Spec
			if p.Status.TargetPodUID != targetUID || s.Direction != v1alpha1.TransferStage || s.NodeName != "node-b" || s.Image != reference || s.PodUID != targetUID {
				t.Errorf("%+v", s)
			}
		}},
		{name: "not scheduled", change: all(made, func(f *migration.Facts) { f.Target.Pod.Spec.NodeName = "" })},
		{name: "the name is taken", change: all(made, func(f *migration.Facts) { f.Target.Pod.Labels = nil }),
			action: "WriteAbort", reason: migration.ReasonTargetNameTaken},
		{name: "gone", change: func(f *migration.Facts) { f.Object.Status.TargetPodUID = targetUID },
			action: "WriteAbort", reason: migration.ReasonTargetLost},
		{name: "staging: nobody to ask", change: staging},
		{name: "staged: the copy is asked", change: staged, action: helloTarget},
		{name: "not staged", change: func(f *migration.Facts) { made(f); f.Stage = leg(metav1.ConditionFalse, "NoSpace", "full") },
			action: "WriteAbort", reason: "NoSpace"},
		{name: "CRIU failed", change: all(staged, func(f *migration.Facts) {
			f.Target.Pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: "RunContainerError", Message: "criu: cpu flags"},
			}}}
		}), action: "WriteAbort", reason: migration.ReasonRestoreFailed},
		{name: "void", change: all(staged, target(handover.Void, func(r *handover.Report) { r.Reason = handover.ReasonDeadline })),
			action: "WriteAbort", reason: "Deadline"},
		{name: "the image was no good: the copy goes", change: all(staged, recorded, notPaused), action: "DeletePod"},
		{name: "… and is going", change: all(staged, recorded, notPaused, func(f *migration.Facts) {
			at := metav1.NewTime(now)
			f.Target.Pod.DeletionTimestamp = &at
			f.Target.Sent = said(handover.Hello)
		})},
		{name: "… but does not go", change: all(staged, recorded, notPaused, func(f *migration.Facts) {
			at := metav1.NewTime(now)
			f.Target.Pod.DeletionTimestamp = &at
		}, later(300*time.Second)), action: "WriteAbort", reason: migration.ReasonDeadline},
		{name: "… then the image", change: all(staged, recorded, notPaused, func(f *migration.Facts) { f.Target.Pod = nil }), action: "DeleteImage"},
		{name: "… then there is another attempt", change: all(staged, recorded, notPaused, done(migration.StepImageDeleted(reference)), func(f *migration.Facts) { f.Target.Pod = nil }),
			action: createTransfer, phase: v1alpha1.PhaseCheckpointing, check: func(t *testing.T, p migration.Plan) {
				if s := p.Status; s.Attempt != 2 || s.TargetPodName != "" || s.TargetPodUID != "" || s.CheckpointImage != nil || s.CheckpointID != "" {
					t.Errorf("%+v", s)
				}
				secondAttempt(t, p)
			}},
		{name: "… also if only the record knows", change: all(staged, recorded, done(migration.StepImageDeleted(reference)), func(f *migration.Facts) {
			f.Target.Pod = nil
			condition(f.Object, v1alpha1.ConditionRestored, metav1.ConditionFalse, "NotPaused")
		}), action: createTransfer, phase: v1alpha1.PhaseCheckpointing},
		{name: "… but not for ever", change: all(staged, recorded, notPaused, done(migration.StepImageDeleted(reference)), func(f *migration.Facts) {
			f.Target.Pod, f.Object.Status.Attempt = nil, 5
		}), action: "WriteAbort", reason: "NotPaused"},
		{name: "the source has ended, the target can be made", change: func(f *migration.Facts) { f.Source.Pod.Status.Phase = corev1.PodFailed }, action: "CreateTarget"},
		{name: "the source is gone, nothing tells what the target is like", change: func(f *migration.Facts) { f.Source.Pod = nil }, action: "WriteAbort", reason: migration.ReasonSourceLost},
		{name: "fresh", change: all(staged, target(handover.Held)), action: "WriteAbort", reason: migration.ReasonRestoreFailed},
		{name: "restored", change: all(staged, target(handover.Restored)), action: "Send START_REPLAY to the target", phase: v1alpha1.PhaseReplaying},
		{name: "late", change: all(staged, later(300*time.Second)), action: "WriteAbort", reason: migration.ReasonDeadline},
	})
}

// notPaused is a copy that woke outside the safe point.
func notPaused(f *migration.Facts) {
	target(handover.Void, func(r *handover.Report) { r.Reason = handover.ReasonNotPaused })(f)
}
