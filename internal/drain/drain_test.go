package drain_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/drain"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// pod is one that is to be migrated.
func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "counter-0", UID: "pod-uid", Annotations: map[string]string{
			v1alpha1.AnnotationDrain: "Migrate", v1alpha1.AnnotationQueueName: "orders",
			v1alpha1.AnnotationBrokerURLSecret: "broker", v1alpha1.AnnotationRepository: "registry/a",
		}},
		Spec:   corev1.PodSpec{NodeName: "node-a"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

// migration is one that an eviction of the pod has asked for.
func migration(name string, phase v1alpha1.MigrationPhase, change ...func(*v1alpha1.StatefulMigration)) *v1alpha1.StatefulMigration {
	m := &v1alpha1.StatefulMigration{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{v1alpha1.LabelDrain: "pod-uid"}},
		Spec:       v1alpha1.StatefulMigrationSpec{SourcePod: v1alpha1.PodReference{Name: "counter-0"}},
		Status:     v1alpha1.StatefulMigrationStatus{Phase: phase},
	}
	if phase == v1alpha1.PhaseCompleted || phase == v1alpha1.PhaseFailed {
		m.Status.EndedAt = ptr.To(metav1.NewMicroTime(now))
	}
	for _, f := range change {
		f(m)
	}
	return m
}

// newAPI is an API server with objects in it.
func newAPI(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

// evict asks the webhook as the API server does, some time after now.
func evict(t *testing.T, api client.Client, later time.Duration, change ...func(*admission.Request, *policyv1.Eviction)) *admission.Response {
	t.Helper()
	e := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "counter-0"}}
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: "shop", Name: "counter-0", SubResource: "eviction",
	}}
	for _, f := range change {
		f(&req, e)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	req.Object.Raw = raw
	hook := drain.Webhook{Drainer: &drain.Drainer{Client: api, Live: api, Clock: clocktesting.NewFakePassiveClock(now.Add(later))}}
	resp := hook.Handle(t.Context(), req)
	return &resp
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	const passes, waits, gone = 0, 429, 404
	arrived := migration("drain-old-uid-1", v1alpha1.PhaseCompleted, func(m *v1alpha1.StatefulMigration) {
		m.Labels[v1alpha1.LabelDrain], m.Status.TargetPodUID = "old-uid", "pod-uid"
	})
	node := func(cordoned bool) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}, Spec: corev1.NodeSpec{Unschedulable: cordoned}}
	}
	says := func(value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationDrain] = value }
	}
	policy := &v1alpha1.MigrationPolicy{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1alpha1.MigrationPolicySpec{Drain: v1alpha1.DrainMigrate}}
	byUID := func(uid types.UID) func(*admission.Request, *policyv1.Eviction) {
		return func(_ *admission.Request, e *policyv1.Eviction) {
			e.DeleteOptions = &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
		}
	}
	for name, test := range map[string]struct {
		objects []client.Object
		change  func(*admission.Request, *policyv1.Eviction)
		later   time.Duration
		code    int32
		message string
		made    string // the migration that there is in the end and was not before
	}{
		"no such pod":             {code: gone, message: `pods "counter-0" not found`},
		"one of no interest":      {objects: []client.Object{pod(func(p *corev1.Pod) { p.Annotations = nil })}},
		"it says Evict":           {objects: []client.Object{pod(says("Evict")), policy}},
		"it has ended":            {objects: []client.Object{pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })}},
		"it waits for a node":     {objects: []client.Object{pod(func(p *corev1.Pod) { p.Spec.NodeName = "" })}},
		"another one of its name": {objects: []client.Object{pod()}, change: byUID("else")},
		"it says Migrate":         {objects: []client.Object{pod()}, code: waits, message: `"drain-pod-uid-1"`, made: "drain-pod-uid-1"},
		"its policy says Migrate": {objects: []client.Object{policy, pod(func(p *corev1.Pod) { delete(p.Annotations, v1alpha1.AnnotationDrain) })},
			code: waits, message: `"drain-pod-uid-1"`, made: "drain-pod-uid-1"},
		"nobody says which queue": {objects: []client.Object{pod(func(p *corev1.Pod) { delete(p.Annotations, v1alpha1.AnnotationQueueName) })},
			code: waits, message: "nobody says the primary queue"},
		"dry run": {objects: []client.Object{pod()}, code: waits, message: "drain-pod-uid-1",
			change: func(r *admission.Request, _ *policyv1.Eviction) { r.DryRun = ptr.To(true) }},
		"dry run by its options": {objects: []client.Object{pod()}, code: waits, message: "drain-pod-uid-1",
			change: func(_ *admission.Request, e *policyv1.Eviction) {
				e.DeleteOptions = &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
			}},
		"another resource": {objects: []client.Object{pod()}, change: func(r *admission.Request, _ *policyv1.Eviction) { r.SubResource = "status" }},
		"on its way": {objects: []client.Object{pod(), migration("drain-pod-uid-1", v1alpha1.PhaseReplaying, func(m *v1alpha1.StatefulMigration) {
			m.Status.Lag = &v1alpha1.Lag{Messages: 12}
		})}, code: waits, message: `"drain-pod-uid-1" moves it: Replaying, 12 messages behind`},
		"somebody else moves it": {objects: []client.Object{pod(), migration("mine", v1alpha1.PhaseRestoring, func(m *v1alpha1.StatefulMigration) { m.Labels = nil })},
			code: waits, message: `"mine" moves it: Restoring`},
		"it is a copy in the making": {objects: []client.Object{pod(), migration("mine", v1alpha1.PhaseRestoring, func(m *v1alpha1.StatefulMigration) {
			m.Spec.SourcePod.Name, m.Status.TargetPodName = "other", "counter-0"
		})}, code: waits, message: `"mine" moves it`},
		"it is the ordinal made again": {objects: []client.Object{pod(func(p *corev1.Pod) { p.Spec.NodeName = "" }), migration("drain-old-uid-1", v1alpha1.PhaseRestoring)},
			code: waits, message: `"drain-old-uid-1" moves it`},
		"it goes, and the next has its name": {objects: []client.Object{
			pod(func(p *corev1.Pod) {
				p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: now}, []string{"test/keep"}
			}),
			migration("drain-old-uid-1", v1alpha1.PhaseFinalizing),
		}, code: waits, message: `"drain-old-uid-1" moves it: Finalizing`},
		"it goes": {objects: []client.Object{pod(func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: now}, []string{"test/keep"}
		})}},
		"it queues": {objects: []client.Object{pod(), migration("drain-pod-uid-1", v1alpha1.PhasePending, func(m *v1alpha1.StatefulMigration) {
			m.Status.Queued = &v1alpha1.Queued{Message: "5 migrations are active"}
		})}, code: waits, message: "queues: 5 migrations are active"},
		"a dry run of somebody moves nothing": {objects: []client.Object{pod(), migration("asked", v1alpha1.PhasePending, func(m *v1alpha1.StatefulMigration) {
			m.Labels, m.Spec.DryRun = nil, true
		})}, code: waits, message: `"drain-pod-uid-1"`, made: "drain-pod-uid-1"},
		"it has failed": {objects: []client.Object{pod(), migration("drain-pod-uid-1", v1alpha1.PhaseFailed, func(m *v1alpha1.StatefulMigration) {
			m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse, Reason: "NodeNotFound", Message: "there is no node"}}
		})}, later: 10 * time.Second, code: waits, message: "NodeNotFound: there is no node); the next begins in 20s. To have it evicted all the same: kubectl -n shop annotate --overwrite pod counter-0 migration.ms2m.dev/drain=Evict"},
		"it has failed, and is tried again": {objects: []client.Object{pod(), migration("drain-pod-uid-1", v1alpha1.PhaseFailed)},
			later: 31 * time.Second, code: waits, message: `"drain-pod-uid-2"`, made: "drain-pod-uid-2"},
		"the pause grows": {objects: []client.Object{pod(), migration("drain-pod-uid-1", v1alpha1.PhaseFailed), migration("drain-pod-uid-2", v1alpha1.PhaseFailed)},
			later: 31 * time.Second, code: waits, message: "the next begins in 29s"},
		"moved under its own name": {objects: []client.Object{pod(), node(false), arrived}, later: time.Minute,
			code: gone, message: `"drain-old-uid-1" has moved the pod "counter-0" to the node "node-a", under its old name`},
		"moved a while ago":            {objects: []client.Object{pod(), node(false), arrived}, later: 6 * time.Minute, code: waits, made: "drain-pod-uid-1"},
		"moved to a node that is next": {objects: []client.Object{pod(), node(true), arrived}, later: time.Minute, code: waits, made: "drain-pod-uid-1"},
		"moved, and it is meant":       {objects: []client.Object{pod(), node(false), arrived}, later: time.Minute, change: byUID("pod-uid"), code: waits, made: "drain-pod-uid-1"},
		"about to go":                  {objects: []client.Object{pod(), migration("drain-pod-uid-1", v1alpha1.PhaseCompleted)}, code: waits, message: "it is about to go"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newAPI(t, test.objects...)
			before := names(t, api)
			if test.change == nil {
				test.change = func(*admission.Request, *policyv1.Eviction) {}
			}
			resp := evict(t, api, test.later, test.change)
			switch {
			case resp.Allowed != (test.code == passes):
				t.Errorf("allowed %t: %+v", resp.Allowed, resp.Result)
			case !resp.Allowed && (resp.Result.Code != test.code || !strings.Contains(resp.Result.Message, test.message)):
				t.Errorf("%d: %s, want %d and %q in it", resp.Result.Code, resp.Result.Message, test.code, test.message)
			}
			want := before
			if test.made != "" {
				want += test.made + " "
			}
			if after := names(t, api); after != want {
				t.Errorf("there are %s, want %s", after, want)
			}
		})
	}
}

// names are the migrations that there are.
func names(t *testing.T, api client.Client) (s string) {
	t.Helper()
	var list v1alpha1.StatefulMigrationList
	if err := api.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for _, m := range list.Items {
		s += m.Name + " "
	}
	return s
}

// TestTwice: whoever asks at the same moment finds what the other has made.
func TestTwice(t *testing.T) {
	t.Parallel()
	api := newAPI(t, pod())
	stale := newAPI(t, pod()) // a cache that shows nothing yet
	d := &drain.Drainer{Client: uncached{api, stale}, Live: api, Clock: clocktesting.NewFakePassiveClock(now)}
	for range 2 {
		a, err := d.Ask(t.Context(), pod(), v1alpha1.DrainEvict, false)
		if err != nil || !a.Wait || !strings.Contains(a.Message, `"drain-pod-uid-1"`) {
			t.Errorf("%+v, %v", a, err)
		}
	}
	m := &v1alpha1.StatefulMigration{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "drain-pod-uid-1"}, m); err != nil {
		t.Fatal(err)
	}
	if m.Spec.TargetNode != nil || m.Spec.SourcePod.Name != "counter-0" || m.Spec.MessageQueueConfig.QueueName != "orders" || *m.Spec.TTLSecondsAfterFinished != 3600 {
		t.Errorf("%+v", m.Spec)
	}
}

// uncached writes to one API server and reads of another.
type uncached struct {
	client.Client
	client.Reader
}

func (u uncached) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return u.Reader.Get(ctx, key, o, opts...)
}

func (u uncached) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	return u.Reader.List(ctx, l, opts...)
}
