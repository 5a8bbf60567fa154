package migration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// HandoverID is the identity of the present hop: what decision, holds, replay
// queue and commands are named after.
func HandoverID(m *v1alpha1.StatefulMigration) string { return hopID(m.UID, m.Status.Hop) }

func hopID(migration types.UID, hop int32) string {
	if hop <= 1 {
		return string(migration)
	}
	return fmt.Sprintf("%s-%d", migration, hop)
}

// TargetName is the name of the target pod: the name that the pod had before
// it was ever moved, and a few characters of the migration's UID. A further
// attempt gets another, for the copy of the one before may not be forgotten
// everywhere. It fits a DNS label, because the pod's host name is made of it.
func TargetName(m *v1alpha1.StatefulMigration, source *corev1.Pod) string {
	if m.Status.TargetPodName != "" {
		return m.Status.TargetPodName
	}
	name := suffix(m)
	if m.Status.Attempt > 1 {
		name = fmt.Sprintf("%s-a%d", name, m.Status.Attempt)
	}
	return join(63, BaseName(source), name)
}

// BaseName is the name that a pod had before it was ever moved.
func BaseName(pod *corev1.Pod) string {
	if base := pod.Annotations[v1alpha1.AnnotationBaseName]; base != "" {
		return base
	}
	return pod.Name
}

// TransferName is the name of a leg.
func TransferName(m *v1alpha1.StatefulMigration, d v1alpha1.TransferDirection, attempt int32) string {
	return join(253, m.Name, fmt.Sprintf("%s-%s-%d", suffix(m), strings.ToLower(string(d)), attempt))
}

// StageName is the name of a Stage leg: each target pod has its own.
func StageName(m *v1alpha1.StatefulMigration, target types.UID) string {
	return join(253, m.Name, fmt.Sprintf("%s-stage-%s", suffix(m), short(string(target))))
}

// suffix is short and the same for every object of a hop.
func suffix(m *v1alpha1.StatefulMigration) string {
	return short(HandoverID(m))
}

// short is a word of seven characters that stands for a longer one. It begins with
// a letter, so that a name which ends in it does not look like an ordinal's.
func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "m" + hex.EncodeToString(sum[:3])
}

// join trims the first part so that both fit.
func join(most int, first, second string) string {
	if n := most - len(second) - 1; len(first) > n {
		first = strings.TrimRight(first[:n], "-.")
	}
	return first + "-" + second
}
