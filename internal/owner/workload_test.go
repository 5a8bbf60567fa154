package owner_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/internal/owner"
)

func i32(n int32) *int32 { return &n }

func set(change ...func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	s := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "counter", UID: "owner", Generation: 3},
		Spec: appsv1.StatefulSetSpec{
			Replicas: i32(3),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "counter"}},
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{
				Type:          appsv1.RollingUpdateStatefulSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: i32(0)},
			},
		},
		Status: appsv1.StatefulSetStatus{ObservedGeneration: 3, CurrentReplicas: 1, CurrentRevision: "old", UpdateRevision: "new"},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func replicaSet(change ...func(*appsv1.ReplicaSet)) *appsv1.ReplicaSet {
	r := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: "counter", UID: "owner", Annotations: map[string]string{"deployment.kubernetes.io/revision": "2"},
			OwnerReferences: []metav1.OwnerReference{controller("apps/v1", "Deployment", "counter")},
		},
		Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "counter", "pod-template-hash": "1"}}},
	}
	r.OwnerReferences[0].UID = "deployment"
	for _, f := range change {
		f(r)
	}
	return r
}

func deployment(revision string, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "counter", UID: "deployment", Annotations: map[string]string{"deployment.kubernetes.io/revision": revision}}}
	for _, f := range change {
		f(d)
	}
	return d
}

func member(name, revision, kind string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{appsv1.StatefulSetRevisionLabel: revision},
		OwnerReferences: []metav1.OwnerReference{controller("apps/v1", kind, "counter")},
	}}
}

func TestUnwanted(t *testing.T) {
	now := metav1.Now()
	for name, test := range map[string]struct {
		w    owner.Workload
		pod  string
		want string // of the reason
	}{
		"its last ordinal":       {w: owner.FromStatefulSet(set()), pod: "counter-2"},
		"beyond its last":        {w: owner.FromStatefulSet(set()), pod: "counter-3", want: "leaves out"},
		"one replica unsaid":     {w: owner.FromStatefulSet(set(func(s *appsv1.StatefulSet) { s.Spec.Replicas = nil })), pod: "counter-1", want: "wants 1 pods"},
		"before its first":       {w: owner.FromStatefulSet(set(func(s *appsv1.StatefulSet) { s.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: 5} })), pod: "counter-2", want: "from ordinal 5"},
		"its last from a start":  {w: owner.FromStatefulSet(set(func(s *appsv1.StatefulSet) { s.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: 5} })), pod: "counter-7"},
		"not a member's name":    {w: owner.FromStatefulSet(set()), pod: "counter-x", want: "not the name"},
		"another set's name":     {w: owner.FromStatefulSet(set()), pod: "other-0", want: "not the name"},
		"gone":                   {w: owner.FromStatefulSet(nil), pod: "counter-0", want: "gone"},
		"being deleted":          {w: owner.FromStatefulSet(set(func(s *appsv1.StatefulSet) { s.DeletionTimestamp = &now })), pod: "counter-0", want: "being deleted"},
		"replaced":               {w: owner.FromStatefulSet(set(func(s *appsv1.StatefulSet) { s.UID = "another" })), pod: "counter-0", want: "replaced"},
		"a ReplicaSet":           {w: owner.FromReplicaSet(replicaSet(), deployment("2")), pod: "counter-abc"},
		"a ReplicaSet of none":   {w: owner.FromReplicaSet(replicaSet(func(r *appsv1.ReplicaSet) { r.Spec.Replicas = i32(0) }), deployment("2")), pod: "counter-abc", want: "wants no pods"},
		"no ReplicaSet":          {w: owner.FromReplicaSet(nil, nil), pod: "counter-abc", want: "gone"},
		"its Deployment gone":    {w: owner.FromReplicaSet(replicaSet(), nil), pod: "counter-abc", want: "being deleted"},
		"its Deployment another": {w: owner.FromReplicaSet(replicaSet(), deployment("2", func(d *appsv1.Deployment) { d.UID = "x" })), pod: "counter-abc", want: "being deleted"},
		"its Deployment going":   {w: owner.FromReplicaSet(replicaSet(), deployment("2", func(d *appsv1.Deployment) { d.DeletionTimestamp = &now })), pod: "counter-abc", want: "being deleted"},
		"a bare ReplicaSet":      {w: owner.FromReplicaSet(replicaSet(func(r *appsv1.ReplicaSet) { r.OwnerReferences = nil }), nil), pod: "counter-abc"},
		"a Rollout's":            {w: owner.FromReplicaSet(replicaSet(func(r *appsv1.ReplicaSet) { r.OwnerReferences[0].APIVersion = "argoproj.io/v1alpha1" }), nil), pod: "counter-abc"},
	} {
		t.Run(name, func(t *testing.T) {
			why := test.w.Unwanted(metav1.GetControllerOf(member(test.pod, "", "")).UID, test.pod)
			if (why == "") != (test.want == "") || !strings.Contains(why, test.want) {
				t.Errorf("%q; want %q", why, test.want)
			}
		})
	}
}

func TestRollout(t *testing.T) {
	strategy := func(u appsv1.StatefulSetUpdateStrategy) *appsv1.StatefulSet {
		return set(func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy = u })
	}
	rolling := func(partition int32) *appsv1.StatefulSet {
		return set(func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.RollingUpdate.Partition = i32(partition) })
	}
	for name, test := range map[string]struct {
		w        owner.Workload
		pod      string
		revision string
		rollout  bool
	}{
		"updated":                       {owner.FromStatefulSet(rolling(0)), "counter-1", "new", false},
		"not updated yet":               {owner.FromStatefulSet(rolling(0)), "counter-1", "old", true},
		"kept back by the partition":    {owner.FromStatefulSet(rolling(2)), "counter-1", "old", false},
		"at the partition, not updated": {owner.FromStatefulSet(rolling(1)), "counter-1", "old", true},
		"partition, and yet updated":    {owner.FromStatefulSet(rolling(2)), "counter-1", "new", true},
		"no partition, current":         {owner.FromStatefulSet(strategy(appsv1.StatefulSetUpdateStrategy{Type: "RollingUpdate"})), "counter-0", "old", false},
		"no partition, updated":         {owner.FromStatefulSet(strategy(appsv1.StatefulSetUpdateStrategy{Type: "RollingUpdate"})), "counter-1", "new", false},
		"OnDelete, current":             {owner.FromStatefulSet(strategy(appsv1.StatefulSetUpdateStrategy{Type: "OnDelete"})), "counter-0", "old", true},
		"OnDelete, updated":             {owner.FromStatefulSet(strategy(appsv1.StatefulSetUpdateStrategy{Type: "OnDelete"})), "counter-0", "new", false},
		"from a start": {owner.FromStatefulSet(set(func(s *appsv1.StatefulSet) {
			s.Spec.Ordinals, s.Spec.UpdateStrategy.RollingUpdate.Partition = &appsv1.StatefulSetOrdinals{Start: 5}, i32(1)
		})), "counter-5", "old", false},
		"no current revision":       {owner.FromStatefulSet(set(func(s *appsv1.StatefulSet) { s.Status.CurrentRevision = "" })), "counter-0", "new", false},
		"not seen yet":              {owner.FromStatefulSet(set(func(s *appsv1.StatefulSet) { s.Generation++ })), "counter-0", "new", true},
		"the newest ReplicaSet":     {owner.FromReplicaSet(replicaSet(), deployment("2")), "counter-abc", "", false},
		"an older ReplicaSet":       {owner.FromReplicaSet(replicaSet(), deployment("3")), "counter-abc", "", true},
		"a Deployment not seen yet": {owner.FromReplicaSet(replicaSet(), deployment("2", func(d *appsv1.Deployment) { d.Generation = 1 })), "counter-abc", "", true},
		"a bare ReplicaSet":         {owner.FromReplicaSet(replicaSet(func(r *appsv1.ReplicaSet) { r.OwnerReferences = nil }), nil), "counter-abc", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if why := test.w.Rollout(member(test.pod, test.revision, "")); (why != "") != test.rollout {
				t.Errorf("%q, want a rollout: %v", why, test.rollout)
			}
		})
	}
}

func TestOrdinal(t *testing.T) {
	for name, want := range map[string]int32{
		"counter-0": 0, "a-b-17": 17, "counter-0-12": 12,
		"counter": -1, "counter-": -1, "counter-a1": -1, "counter-1a": -1, "counter-99999999999": -1,
	} {
		set, n, ok := owner.Ordinal(name)
		if n != want || ok != (want >= 0) || ok && !strings.HasPrefix(name, set+"-") {
			t.Errorf("%s: %q, %d, %v", name, set, n, ok)
		}
	}
}
