package uninstall

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// cluster is one in which MS2M is installed on two nodes. The agents clean their nodes
// when they are told to, but for the node stuck.
func cluster(t *testing.T, stuck string, more ...client.Object) *Uninstaller {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Args: []string{"--a"}}}}}
	objects := slices.Clone(more)
	objects = append(objects,
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "ms2m", Name: manager}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To(int32(2)), Template: template}},
		&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "nodes", Name: v1alpha1.AgentName}, Spec: appsv1.DaemonSetSpec{Template: template},
			Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 2}})
	for _, n := range []string{"a", "b"} {
		objects = append(objects, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}},
			&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "nodes", Name: n, Labels: map[string]string{labelName: v1alpha1.AgentName}}, Spec: corev1.PodSpec{NodeName: n, Containers: template.Spec.Containers},
				Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}})
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if err := c.Patch(ctx, o, patch, opts...); err != nil {
				return err
			}
			if d, ok := o.(*appsv1.DaemonSet); ok {
				for _, n := range []string{"a", "b"} {
					p := &corev1.Pod{}
					if err := c.Get(ctx, client.ObjectKey{Namespace: "nodes", Name: n}, p); err != nil {
						return err
					}
					p.Spec.Containers[0].Args = d.Spec.Template.Spec.Containers[0].Args
					if err := c.Update(ctx, p); err != nil {
						return err
					}
					if n != stuck {
						continue
					}
					p.Status.Conditions[0].Status = corev1.ConditionFalse
					if err := c.Status().Update(ctx, p); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}).Build()
	return &Uninstaller{Client: c, Log: logr.Discard(), Namespace: "ms2m", AgentNamespace: "nodes"}
}

func migration(phase v1alpha1.MigrationPhase) *v1alpha1.StatefulMigration {
	return &v1alpha1.StatefulMigration{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "move"}, Status: v1alpha1.StatefulMigrationStatus{Phase: phase}}
}

func moved(phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "counter"}, Spec: corev1.PodSpec{RuntimeClassName: ptr.To(v1alpha1.RuntimeClassName)}, Status: corev1.PodStatus{Phase: phase}}
}

func TestRun(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		objects   []client.Object
		keep      bool
		stuck     string
		want      string // part of the error
		replicas  int32
		untouched bool // the agents were not told
	}{
		"nothing in the way":            {objects: []client.Object{migration(v1alpha1.PhaseCompleted), moved(corev1.PodSucceeded)}},
		"a migration under way":         {objects: []client.Object{migration(v1alpha1.PhaseReplaying)}, want: "migrations are under way: shop/move", replicas: 2, untouched: true},
		"a migration not begun":         {objects: []client.Object{migration("")}, want: "shop/move", replicas: 2, untouched: true},
		"a moved pod":                   {objects: []client.Object{moved(corev1.PodRunning)}, want: "shop/counter: replace them first, or set uninstall.nodes=keep", replicas: 2, untouched: true},
		"a moved pod, its node is kept": {objects: []client.Object{moved(corev1.PodRunning)}, keep: true, untouched: true},
		"kept, a migration under way":   {objects: []client.Object{migration(v1alpha1.PhaseReplaying)}, keep: true, want: "shop/move", replicas: 2, untouched: true},
		"a node that can't be cleaned":  {stuck: "b", want: "not clean: b:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := cluster(t, test.stuck, test.objects...)
			u.KeepNodes = test.keep
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			err := u.Run(ctx)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
			d, agents := &appsv1.Deployment{}, &appsv1.DaemonSet{}
			if err := errors.Join(u.Client.Get(t.Context(), client.ObjectKey{Namespace: "ms2m", Name: manager}, d),
				u.Client.Get(t.Context(), client.ObjectKey{Namespace: "nodes", Name: v1alpha1.AgentName}, agents)); err != nil {
				t.Fatal(err)
			}
			if *d.Spec.Replicas != test.replicas {
				t.Errorf("%d replicas of the manager, want %d", *d.Spec.Replicas, test.replicas)
			}
			if told := slices.Contains(agents.Spec.Template.Spec.Containers[0].Args, removing); told == test.untouched {
				t.Errorf("the agents were told: %t", told)
			}
		})
	}
}

// TestNodesAway: a node that does not answer holds nobody up.
func TestNodesAway(t *testing.T) {
	t.Parallel()
	u := cluster(t, "b")
	n := &corev1.Node{}
	if err := u.Client.Get(t.Context(), client.ObjectKey{Name: "b"}, n); err != nil {
		t.Fatal(err)
	}
	n.Status.Conditions[0].Status = corev1.ConditionUnknown
	if err := u.Client.Status().Update(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := u.Run(ctx); err != nil {
		t.Error(err)
	}
}

// TestBegunMeanwhile: a migration that began before the manager had stopped is found, and the manager
// comes back to carry it.
func TestBegunMeanwhile(t *testing.T) {
	t.Parallel()
	u := cluster(t, "")
	inner := u.Client.(client.WithWatch)
	began := false
	u.Client = interceptor.NewClient(inner, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if _, ok := o.(*appsv1.Deployment); ok && !began {
				began = true
				if err := c.Create(ctx, migration(v1alpha1.PhaseCheckpointing)); err != nil {
					return err
				}
			}
			return c.Patch(ctx, o, patch, opts...)
		},
	})
	if err := u.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "shop/move") {
		t.Errorf("%v", err)
	}
	d := &appsv1.Deployment{}
	if err := u.Client.Get(t.Context(), client.ObjectKey{Namespace: "ms2m", Name: manager}, d); err != nil || *d.Spec.Replicas != 2 {
		t.Errorf("%d replicas, %v", *d.Spec.Replicas, err)
	}
}
