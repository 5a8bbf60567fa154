// Package drain turns evictions into migrations: those of the Eviction subresource,
// which kubectl drain and autoscalers use, by a webhook (Webhook), and those of the
// EvictionRequest API as a responder (Responder). What both do is Drainer. How it is
// used: docs/drain.md.
package drain

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/policy"
	"ms2m.dev/ms2m/internal/policy/lookup"
	"ms2m.dev/ms2m/internal/request"
)

// +kubebuilder:rbac:groups=migration.ms2m.dev,resources=statefulmigrations,verbs=create

const (
	// kept is how long a migration that an eviction has asked for is kept when it has
	// ended: long enough to tell those who ask what has become of it.
	kept = time.Hour
	// firstPause is the time between a migration that failed and the next; it doubles
	// up to mostPause.
	firstPause = 30 * time.Second
	mostPause  = 10 * time.Minute
)

// Drainer has pods migrated instead of evicted.
type Drainer struct {
	Client client.Client
	// Live reads past the cache.
	Live  client.Reader
	Clock clock.PassiveClock
}

// Answer is what there is to say to an eviction.
type Answer struct {
	// Wait: the pod is not to be evicted, but is being moved, or will be.
	Wait    bool
	Message string
}

// Ask has a pod migrated, if that is what its eviction comes to, and says how far that
// is. unsaid is what it comes to if neither the pod nor its policy says. It can be asked
// any number of times, of any number of processes: there is one migration at a time.
func (d *Drainer) Ask(ctx context.Context, pod *corev1.Pod, unsaid v1alpha1.DrainPolicy, dryRun bool) (Answer, error) {
	var list v1alpha1.StatefulMigrationList
	if err := d.Client.List(ctx, &list, client.InNamespace(pod.Namespace)); err != nil {
		return Answer{}, err
	}
	m := moving(pod, list.Items)
	if ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed; m == nil && (ended || pod.DeletionTimestamp != nil) {
		return Answer{Message: "it does not run"}, nil
	}
	pol, err := lookup.Of(ctx, d.Client, d.Live, pod)
	if err != nil {
		return Answer{}, err
	}
	drains := policy.Drain(pod.Annotations, pol)
	if drains == "" {
		drains = unsaid
	}
	if drains != v1alpha1.DrainMigrate {
		return Answer{Message: "it is not to be migrated: see the annotation " + v1alpha1.AnnotationDrain}, nil
	}
	if m != nil {
		// Also of one that has no node yet, the ordinal that a StatefulSet makes again, and of
		// one that is going: when its eviction is carried out, the next may have its name.
		return Answer{Wait: true, Message: progress(m)}, nil
	}
	if pod.Spec.NodeName == "" {
		return Answer{Message: "it does not run yet"}, nil
	}
	last, n := latest(pod.UID, list.Items)
	if last != nil && last.Status.Phase == v1alpha1.PhaseCompleted {
		return Answer{Wait: true, Message: fmt.Sprintf("the StatefulMigration %q has moved it: it is about to go", last.Name)}, nil
	}
	if last != nil {
		why := failure(last)
		if at := last.Status.EndedAt; at != nil {
			if left := at.Add(pause(n)).Sub(d.Clock.Now()); left > 0 {
				return Answer{Wait: true, Message: fmt.Sprintf("the StatefulMigration %q has failed (%s); the next begins in %s. To have it evicted all the same: kubectl -n %s annotate --overwrite pod %s %s=%s",
					last.Name, why, left.Round(time.Second), pod.Namespace, pod.Name, v1alpha1.AnnotationDrain, v1alpha1.DrainEvict)}, nil
			}
		}
	}
	return d.begin(ctx, pod, pol, n+1, dryRun)
}

// begin makes the n-th migration of a pod. Its name is the same in whichever process:
// of two that make it at once one finds it made.
func (d *Drainer) begin(ctx context.Context, pod *corev1.Pod, pol *v1alpha1.MigrationPolicy, n int, dryRun bool) (Answer, error) {
	m, err := request.For(pod, pol, request.Overrides{Name: name(pod.UID, n)})
	if err != nil {
		return Answer{Wait: true, Message: fmt.Sprintf("%s is %s, but %v", v1alpha1.AnnotationDrain, v1alpha1.DrainMigrate, err)}, nil
	}
	m.Labels = map[string]string{v1alpha1.LabelDrain: string(pod.UID)}
	m.Spec.TTLSecondsAfterFinished = ptr.To(int32(kept.Seconds()))
	var opts []client.CreateOption
	if dryRun {
		opts = append(opts, client.DryRunAll)
	}
	switch err := d.Client.Create(ctx, m, opts...); {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return Answer{Message: "its namespace is being deleted"}, nil
	case err != nil && !apierrors.IsAlreadyExists(err):
		return Answer{}, fmt.Errorf("make the StatefulMigration %q: %w", m.Name, err)
	}
	return Answer{Wait: true, Message: fmt.Sprintf("it is being migrated to another node: see the StatefulMigration %q", m.Name)}, nil
}

// Cancel ends the migrations that an eviction of a pod has asked for, as far as they can
// still be ended: after the commit point they go on. It returns how many there were.
func (d *Drainer) Cancel(ctx context.Context, namespace string, pod types.UID) (int, error) {
	var list v1alpha1.StatefulMigrationList
	if err := d.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelDrain: string(pod)}); err != nil {
		return 0, err
	}
	n := 0
	for i := range list.Items {
		m := &list.Items[i]
		if ended(m) || m.DeletionTimestamp != nil {
			continue
		}
		n++
		if err := d.Client.Delete(ctx, m, client.Preconditions{UID: &m.UID}); client.IgnoreNotFound(err) != nil {
			return n, err
		}
	}
	return n, nil
}

// moving is the migration that a pod takes part in now, whoever has asked for it.
func moving(pod *corev1.Pod, all []v1alpha1.StatefulMigration) *v1alpha1.StatefulMigration {
	i := slices.IndexFunc(all, func(m v1alpha1.StatefulMigration) bool {
		return !ended(&m) && !m.Spec.DryRun &&
			(m.Spec.SourcePod.Name == pod.Name || m.Status.SourcePodName == pod.Name || m.Status.TargetPodName == pod.Name)
	})
	if i < 0 {
		return nil
	}
	return &all[i]
}

// latest is the last migration that an eviction of a pod has asked for, and its number.
func latest(pod types.UID, all []v1alpha1.StatefulMigration) (last *v1alpha1.StatefulMigration, n int) {
	for i := range all {
		if all[i].Labels[v1alpha1.LabelDrain] != string(pod) {
			continue
		}
		if k, err := strconv.Atoi(strings.TrimPrefix(all[i].Name, prefix(pod))); err == nil && k > n {
			last, n = &all[i], k
		}
	}
	return last, n
}

func prefix(pod types.UID) string { return "drain-" + string(pod) + "-" }

func name(pod types.UID, n int) string { return prefix(pod) + strconv.Itoa(n) }

// pause is how long to wait after the n-th migration.
func pause(n int) time.Duration { return min(firstPause<<min(n-1, 10), mostPause) }

func ended(m *v1alpha1.StatefulMigration) bool {
	return m.Status.Phase == v1alpha1.PhaseCompleted || m.Status.Phase == v1alpha1.PhaseFailed
}

// progress says how far a migration is.
func progress(m *v1alpha1.StatefulMigration) string {
	said := fmt.Sprintf("the StatefulMigration %q moves it", m.Name)
	switch st := &m.Status; {
	case st.Queued != nil:
		said += ", and queues: " + st.Queued.Message
	case st.Phase == v1alpha1.PhaseReplaying && st.Lag != nil:
		said += fmt.Sprintf(": %s, %d messages behind", st.Phase, st.Lag.Messages)
	case st.Phase == v1alpha1.PhasePending:
		if c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionReady); c != nil {
			said += ": " + c.Message
		}
	case st.Phase != "":
		said += ": " + string(st.Phase)
	}
	return said
}

// failure is why a migration failed.
func failure(m *v1alpha1.StatefulMigration) string {
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Reason + ": " + c.Message
	}
	return "for a reason unknown"
}
