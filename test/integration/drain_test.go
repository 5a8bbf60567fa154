package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	lifecyclev1alpha1 "k8s.io/api/lifecycle/v1alpha1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/drain"
	"ms2m.dev/ms2m/internal/servingcert"
)

// drained has the evictions of the world's pods turned into migrations: by its policy,
// and by the annotations of its pods.
func (w *world) drained() {
	w.t.Helper()
	w.policy(func(s *v1alpha1.MigrationPolicySpec) {
		s.Drain = v1alpha1.DrainMigrate
		s.Defaults.CheckpointImageRepository = "registry.example.com/ms2m/checkpoints"
	})
	w.must(kube.Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "broker", Namespace: w.namespace}, Data: map[string][]byte{"url": []byte("amqp://broker.example.com")},
	}))
	for _, pod := range w.pods() {
		pod.Annotations = map[string]string{v1alpha1.AnnotationQueueName: queue, v1alpha1.AnnotationBrokerURLSecret: "broker"}
		w.must(kube.Update(w.ctx, &pod))
	}
}

// webhook serves the webhook to the API server, by a certificate of its own.
func (w *world) webhook() {
	w.t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	w.must(err)
	name := types.NamespacedName{Namespace: w.namespace, Name: "ms2m-webhook"}
	w.must(kube.Create(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}))
	hook := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "eviction.migration.ms2m.dev", AdmissionReviewVersions: []string{"v1"},
			SideEffects:       ptr.To(admissionv1.SideEffectClassNoneOnDryRun),
			FailurePolicy:     ptr.To(admissionv1.Fail), // a test is not to miss that it was not called
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}},
			ClientConfig:      admissionv1.WebhookClientConfig{URL: ptr.To("https://localhost:" + portOf(listener) + drain.Path)},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/eviction"}},
			}},
		}},
	}
	w.must(kube.Create(w.ctx, hook))
	w.t.Cleanup(func() { w.must(kube.Delete(context.Background(), hook)) })
	keeper := &servingcert.Keeper{Reader: kube, Writer: kube, Clock: clock.RealClock{}, Secret: name, Webhook: hook.Name, Host: "localhost"}
	w.must(keeper.Keep(w.ctx))
	s := &http.Server{
		ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{GetCertificate: keeper.GetCertificate},
		Handler: &admission.Webhook{Handler: drain.Webhook{Drainer: &drain.Drainer{Client: kube, Live: kube, Clock: clock.RealClock{}}}},
	}
	go func() { _ = s.ServeTLS(listener, "", "") }()
	w.t.Cleanup(func() { s.Close() })
}

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// evict asks for the eviction of a pod by its name, as kubectl drain does.
func (w *world) evict(name string, opts ...client.SubResourceCreateOption) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	return kube.SubResource("eviction").Create(w.ctx, pod, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}, opts...)
}

// going reports whether a pod is being deleted or has gone.
func (w *world) going(pod *corev1.Pod) bool {
	var now corev1.Pod
	err := kube.Get(w.ctx, client.ObjectKeyFromObject(pod), &now)
	w.must(client.IgnoreNotFound(err))
	return err != nil || now.UID != pod.UID || now.DeletionTimestamp != nil
}

func (w *world) migrations() []v1alpha1.StatefulMigration {
	w.t.Helper()
	var list v1alpha1.StatefulMigrationList
	w.must(kube.List(w.ctx, &list, client.InNamespace(w.namespace)))
	return list.Items
}

// TestEvictionWebhook evicts pods, as kubectl drain does: it asks by name until it hears
// that the pod is gone. They are moved, once, and one that is nobody's concern goes.
func TestEvictionWebhook(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{standalone, shadowed} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, k)
			w.drained()
			w.webhook()
			w.start(nil)
			source := w.source
			w.eventually("the webhook to be called", func() bool {
				err := w.evict(source.Name, client.DryRunAll)
				return apierrors.IsTooManyRequests(err) && strings.Contains(err.Error(), "it is being migrated")
			})
			if n := len(w.migrations()); n != 0 {
				t.Fatalf("a dry run has made %d migrations", n)
			}
			var last error
			w.eventually("the pod to be gone", func() bool {
				err := w.evict(source.Name)
				if err == nil {
					// One that the migration has deleted may be. Not if its name is given to
					// another: that may be there when the API server looks.
					if k.workload == nil && w.going(source) {
						return true
					}
					t.Fatalf("it was evicted\n%s", w.describe())
				}
				if last == nil || err.Error() != last.Error() {
					t.Log(err)
				}
				last = err
				return apierrors.IsNotFound(err)
			})
			w.eventually("the migration to complete", func() bool {
				all := w.migrations()
				return len(all) == 1 && all[0].Status.Phase == v1alpha1.PhaseCompleted
			})
			m := w.migrations()[0]
			if m.Name != "drain-"+string(source.UID)+"-1" || m.Status.TargetNode != nodeB || m.Status.Policy == nil {
				t.Errorf("%s to %s under %+v", m.Name, m.Status.TargetNode, m.Status.Policy)
			}
			if meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionTakeover) != nil {
				t.Errorf("the source has not lived to hand over\n%s", w.describe())
			}
			// Only now is the answer sure: whoever asks in the moment between the source's
			// end and its successor's creation hears that there is no such pod.
			if k.workload == nil {
				w.eventually("the pod to be gone", func() bool { return apierrors.IsNotFound(w.evict(source.Name)) })
			} else if err := w.evict(source.Name); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "under its old name") {
				t.Errorf("the answer after the move: %v", err)
			}
			if w.pod("bystander", func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationDrain: "Evict"} }); w.evict("bystander") != nil {
				t.Error("a pod that is nobody's concern is not evicted")
			}
		})
	}
}

// responds starts a responder of the EvictionRequest API.
func (w *world) responds() {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: ptr.To(true)},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{w.namespace: {}}},
	})
	w.must(err)
	if served, err := drain.Served(mgr.GetRESTMapper()); err != nil || !served {
		w.t.Fatalf("served %t, %v", served, err)
	}
	r := &drain.Responder{Drainer: &drain.Drainer{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: clock.RealClock{}}}
	w.must(r.SetupWithManager(mgr))
	done := make(chan struct{})
	go func() { defer close(done); _ = mgr.Start(ctx) }()
	w.t.Cleanup(func() { stop(); <-done })
}

// requested is the Eviction of the source, as evictionrequest-controller would make it
// of an EvictionRequest: Kubernetes 1.37 has the API, and not the controller yet. What
// it may write the API server checks.
func (w *world) requested() *lifecyclev1alpha1.Eviction {
	w.t.Helper()
	e := &lifecyclev1alpha1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "of-" + w.source.Name}}
	e.Spec.Target.Pod = &lifecyclev1alpha1.EvictionPodReference{Name: w.source.Name, UID: w.source.UID}
	w.must(kube.Create(w.ctx, e))
	e.Status.Requesters = []lifecyclev1alpha1.Requester{{Name: "example.com/drainer", Intent: lifecyclev1alpha1.RequesterIntentEviction}}
	e.Status.TargetResponders = []lifecyclev1alpha1.TargetResponder{
		{Name: v1alpha1.Responder, Priority: ptr.To[int32](20000), State: lifecyclev1alpha1.ResponderStateActive},
		{Name: lifecyclev1alpha1.EvictionResponderImperativeEviction, Priority: ptr.To[int32](100), State: lifecyclev1alpha1.ResponderStateInactive},
	}
	e.Status.Responders = []lifecyclev1alpha1.ResponderStatus{
		{Name: v1alpha1.Responder, StartTime: ptr.To(metav1.Now())}, {Name: lifecyclev1alpha1.EvictionResponderImperativeEviction},
	}
	w.must(kube.Status().Update(w.ctx, e))
	return e
}

// response is what the responder has said of an Eviction.
func (w *world) response(e *lifecyclev1alpha1.Eviction) *lifecyclev1alpha1.ResponderStatus {
	w.t.Helper()
	w.must(kube.Get(w.ctx, client.ObjectKeyFromObject(e), e))
	i := slices.IndexFunc(e.Status.Responders, func(s lifecyclev1alpha1.ResponderStatus) bool { return s.Name == v1alpha1.Responder })
	return &e.Status.Responders[i]
}

// TestEvictionRequest has the responder move a pod, and tell when that is done.
func TestEvictionRequest(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shadowed)
	w.drained()
	w.mu.Lock()
	stuck[v1alpha1.PhaseReplaying](w)
	w.mu.Unlock()
	w.start(nil)
	w.responds()
	e := w.requested()
	w.eventually("a heartbeat", func() bool { return w.response(e).HeartbeatTime != nil })
	if s := w.response(e); s.CompletionTime != nil || s.Message == nil || !strings.Contains(*s.Message, "it is being migrated") {
		t.Errorf("%+v", s)
	}
	w.mu.Lock()
	w.wakes = nil
	for _, in := range w.instances {
		in.Behind = 0
	}
	w.mu.Unlock()
	w.eventually("its completion", func() bool { return w.response(e).CompletionTime != nil })
	if s := w.response(e); !strings.Contains(*s.Message, "is gone") {
		t.Errorf("%s", *s.Message)
	}
	w.eventually("the migration to complete", func() bool {
		all := w.migrations()
		return len(all) == 1 && all[0].Status.Phase == v1alpha1.PhaseCompleted
	})
}

// TestEvictionWithdrawn withdraws the request while the copy catches up: the pod stays
// where it is, as if nothing had been asked.
func TestEvictionWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.drained()
	before := w.inventory("")
	w.mu.Lock()
	stuck[v1alpha1.PhaseReplaying](w)
	w.mu.Unlock()
	w.start(nil)
	w.responds()
	e := w.requested()
	w.eventually("the copy", func() bool {
		all := w.migrations()
		return len(all) == 1 && all[0].Status.Phase == v1alpha1.PhaseReplaying
	})
	w.eventually("it to be withdrawn", func() bool {
		w.response(e)
		e.Status.Requesters[0].Intent = lifecyclev1alpha1.RequesterIntentWithdrawn
		e.Status.TargetResponders[0].State = lifecyclev1alpha1.ResponderStateCanceled
		e.Status.Conditions = []metav1.Condition{{
			Type: string(lifecyclev1alpha1.EvictionConditionFailed), Status: metav1.ConditionTrue, LastTransitionTime: metav1.Now(),
			Reason: string(lifecyclev1alpha1.EvictionConditionReasonCanceledDueToNoRequesters),
		}}
		err := kube.Status().Update(w.ctx, e)
		if err != nil && !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
		return err == nil
	})
	w.eventually("the migration to go", func() bool { return len(w.migrations()) == 0 })
	if after := w.inventory(""); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// TestEvictionResponder has the chart's policy name MS2M in a pod that is to be migrated.
func TestEvictionResponder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := exec.Command("go", "tool", "helm", "template", "ms2m", "../../charts/ms2m", "--namespace", "ms2m-system",
		"--show-only", "templates/drain.yaml", "--set", "drain.evictionRequests.enabled=true")
	cmd.Dir = filepath.Join(root, "tools/helm")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	manifests, err := cmd.Output()
	w.must(err)
	name := metav1.ObjectMeta{Name: "ms2m-eviction-responder"}
	for _, o := range []client.Object{&admissionv1.MutatingAdmissionPolicy{ObjectMeta: name}, &admissionv1.MutatingAdmissionPolicyBinding{ObjectMeta: name}} {
		t.Cleanup(func() { w.must(kube.Delete(context.Background(), o)) })
	}
	w.must(applyFrom(w.ctx, bytes.NewReader(manifests), name.Name))
	probe := func(change func(*corev1.Pod)) []corev1.EvictionResponder {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: w.namespace}, Spec: podSpec()}
		change(pod)
		w.must(kube.Create(w.ctx, pod, client.DryRunAll))
		return pod.Spec.EvictionResponders
	}
	asked := func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationDrain: "Migrate"} }
	w.eventually("the policy to count", func() bool {
		r := probe(asked)
		return len(r) == 1 && r[0].Name == v1alpha1.Responder && *r[0].Priority == 20000
	})
	others := []corev1.EvictionResponder{{Name: "example.com/other", Priority: ptr.To[int32](10000)}}
	if r := probe(func(p *corev1.Pod) { asked(p); p.Spec.EvictionResponders = others }); len(r) != 2 {
		t.Errorf("beside another: %+v", r)
	}
	if r := probe(func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationDrain: "Evict"} }); len(r) != 0 {
		t.Errorf("a pod that is to be evicted: %+v", r)
	}
}
