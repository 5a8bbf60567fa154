package controller

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// mostNote is what the API takes of an event's note, in bytes. A longer one is refused
// as a whole, and nobody hears of it.
const mostNote = 1024

// tell tells people, by events and in the log, what a write of the status has recorded.
func (s *scope) tell(ctx context.Context, before *v1alpha1.StatefulMigrationStatus) {
	after := &s.object.Status
	if before.Phase != after.Phase {
		log.FromContext(ctx).Info("phase", "from", before.Phase, "to", after.Phase)
	}
	const kind = v1alpha1.ConditionSucceeded
	failed := meta.FindStatusCondition(after.Conditions, kind)
	if failed != nil && failed.Status == metav1.ConditionFalse && !meta.IsStatusConditionFalse(before.Conditions, kind) {
		log.FromContext(ctx).Info("giving up", "reason", failed.Reason, "message", failed.Message)
	}
	for _, told := range migration.Story(s.object, before) {
		s.told(told)
	}
}

// told makes a sentence an event of the migration, and of the pods that it is about: who
// looks after the pod need not know that there is a migration.
func (s *scope) told(t migration.Told) {
	kind, note := corev1.EventTypeNormal, clipNote(t.Note)
	if t.Warning {
		kind = corev1.EventTypeWarning
	}
	s.Recorder.Eventf(s.object, nil, kind, t.Reason, t.Action, "%s", note)
	for _, role := range t.Pods {
		if pod := s.podOf(role); pod != nil {
			s.Recorder.Eventf(pod, s.object, kind, t.Reason, t.Action, "%s", note)
		}
	}
}

// podOf names a pod of the migration: by UID, so that nothing is said of another of its name.
func (s *scope) podOf(role migration.Role) *corev1.Pod {
	st := &s.object.Status
	name, uid := migration.SourceName(s.object, st), st.SourcePodUID
	if role == migration.RoleTarget {
		name, uid = st.TargetPodName, st.TargetPodUID
	}
	if name == "" || uid == "" {
		return nil
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.key.Namespace, UID: uid}}
}

func clipNote(s string) string {
	if len(s) <= mostNote {
		return s
	}
	const more = "…"
	return strings.ToValidUTF8(s[:mostNote-len(more)], "") + more // not half a rune
}
