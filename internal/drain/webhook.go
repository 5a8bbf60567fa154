package drain

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Path is where the webhook is served.
const Path = "/evict"

// settling is for how long a pod that was moved under its own name is told from the one
// that was to be evicted.
const settling = 5 * time.Minute

// Webhook answers evictions of the Eviction subresource: that of a pod which is to be
// migrated is turned down as too early (429), so that whoever asked asks again until
// the pod has gone. All others pass.
type Webhook struct{ *Drainer }

// Handle implements admission.Handler.
func (w Webhook) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.Operation != admissionv1.Create || req.SubResource != "eviction" {
		return admission.Allowed("")
	}
	// What matters of the object is in its options, which policy/v1 and v1beta1 share.
	var eviction policyv1.Eviction
	if err := json.Unmarshal(req.Object.Raw, &eviction); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	var pod corev1.Pod
	switch err := w.Live.Get(ctx, client.ObjectKey{Namespace: req.Namespace, Name: req.Name}, &pod); {
	case apierrors.IsNotFound(err):
		// Not left to the API server, which looks after us: a pod that is moved under its
		// own name may be there by then, and would be evicted with its state.
		return denied(http.StatusNotFound, metav1.StatusReasonNotFound, apierrors.NewNotFound(corev1.Resource("pods"), req.Name).Error())
	case err != nil:
		return w.wait(ctx, "whether the pod is to be migrated could not be found out: "+err.Error())
	}
	options := eviction.DeleteOptions
	exact := options != nil && options.Preconditions != nil && options.Preconditions.UID != nil
	if exact && *options.Preconditions.UID != pod.UID {
		return admission.Allowed("") // the API server refuses it
	}
	if !exact {
		switch m, err := w.arrived(ctx, &pod); {
		case err != nil:
			return w.wait(ctx, err.Error())
		case m != "":
			return denied(http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf(
				"the StatefulMigration %q has moved the pod %q to the node %q, under its old name: the one that was to be evicted is gone (to evict this one, name its UID in the preconditions, or cordon its node)",
				m, pod.Name, pod.Spec.NodeName))
		}
	}
	dryRun := req.DryRun != nil && *req.DryRun || options != nil && slices.Contains(options.DryRun, metav1.DryRunAll)
	answer, err := w.Ask(ctx, &pod, v1alpha1.DrainEvict, dryRun)
	switch {
	case err != nil:
		return w.wait(ctx, "it could not be migrated yet: "+err.Error())
	case answer.Wait:
		return w.wait(ctx, answer.Message)
	}
	return admission.Allowed("")
}

// arrived is the migration by which a pod has come just now under the name that it had
// before. kubectl drain asks for pods by name, again and again: it would drive a
// StatefulSet's pod on from the node to which it has moved. The answer that there is
// no such pod ends that. If the node is cordoned, it is that node which is drained.
func (w Webhook) arrived(ctx context.Context, pod *corev1.Pod) (string, error) {
	var list v1alpha1.StatefulMigrationList
	if err := w.Client.List(ctx, &list, client.InNamespace(pod.Namespace), client.HasLabels{v1alpha1.LabelDrain}); err != nil {
		return "", err
	}
	i := slices.IndexFunc(list.Items, func(m v1alpha1.StatefulMigration) bool {
		st := &m.Status
		return st.Phase == v1alpha1.PhaseCompleted && st.TargetPodUID == pod.UID && m.Spec.SourcePod.Name == pod.Name &&
			st.EndedAt != nil && w.Clock.Since(st.EndedAt.Time) < settling
	})
	if i < 0 {
		return "", nil
	}
	var node corev1.Node
	if err := w.Live.Get(ctx, client.ObjectKey{Name: pod.Spec.NodeName}, &node); err != nil {
		return "", client.IgnoreNotFound(err)
	}
	if node.Spec.Unschedulable {
		return "", nil
	}
	return list.Items[i].Name, nil
}

// wait turns an eviction down for now.
func (w Webhook) wait(ctx context.Context, message string) admission.Response {
	log.FromContext(ctx).V(1).Info("an eviction has to wait", "message", message)
	return denied(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, message)
}

func denied(code int32, reason metav1.StatusReason, message string) admission.Response {
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{
		Allowed: false,
		Result:  &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message},
	}}
}
