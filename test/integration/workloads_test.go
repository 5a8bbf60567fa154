package integration

import (
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// kind is a kind of service: who makes its pods, how many, and how one is moved.
type kind struct {
	name     string
	replicas int
	strategy v1alpha1.Strategy
	hops     int
	workload func(namespace string, replicas int32, template corev1.PodTemplateSpec) client.Object // nil: nobody makes them
}

var (
	standalone  = kind{name: "standalone", replicas: 1, hops: 1}
	deployment  = kind{name: "Deployment", replicas: 3, hops: 1, workload: newDeployment}
	replicaSet  = kind{name: "ReplicaSet", replicas: 1, hops: 1, workload: newReplicaSet}
	shadowed    = kind{name: "StatefulSet-Shadow", replicas: 3, hops: 2, strategy: v1alpha1.StrategyShadow, workload: newStatefulSet}
	sequential  = kind{name: "StatefulSet-Sequential", replicas: 3, hops: 1, strategy: v1alpha1.StrategySequential, workload: newStatefulSet}
	kinds       = []kind{standalone, deployment, replicaSet, shadowed, sequential}
	serviceName = map[string]string{"app": "counter"}
)

func newDeployment(namespace string, replicas int32, template corev1.PodTemplateSpec) client.Object {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "counter", Namespace: namespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Template: template, Selector: &metav1.LabelSelector{MatchLabels: serviceName},
		},
	}
}

func newReplicaSet(namespace string, replicas int32, template corev1.PodTemplateSpec) client.Object {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "counter", Namespace: namespace},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas, Template: template, Selector: &metav1.LabelSelector{MatchLabels: serviceName},
		},
	}
}

func newStatefulSet(namespace string, replicas int32, template corev1.PodTemplateSpec) client.Object {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "counter", Namespace: namespace},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, Template: template, ServiceName: "counter", Selector: &metav1.LabelSelector{MatchLabels: serviceName},
		},
	}
}

// deploy makes the service, and waits until its pods run. The source is the
// ordinal 1 of a StatefulSet, else any of them.
func (w *world) deploy() {
	w.t.Helper()
	defer func() { w.state = string(w.source.UID) }()
	if w.kind.workload == nil {
		w.source = w.pod("counter")
		return
	}
	w.must(kube.Create(w.ctx, w.kind.workload(w.namespace, int32(w.kind.replicas), corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: serviceName}, Spec: podSpec(),
	})))
	ready := func(reader client.Reader) []corev1.Pod {
		var list corev1.PodList
		w.must(reader.List(w.ctx, &list, client.InNamespace(w.namespace), client.MatchingLabels(serviceName)))
		return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return conditionOf(&p, corev1.PodReady) != corev1.ConditionTrue })
	}
	w.eventually("the pods", func() bool { return len(ready(seen)) == w.kind.replicas })
	pods := ready(kube)
	w.siblings = map[string]types.UID{}
	for i := range pods {
		if w.source == nil && (pods[i].Name == "counter-1" || w.kind.strategy == "") {
			w.source = &pods[i]
			continue
		}
		w.siblings[pods[i].Name] = pods[i].UID
	}
}

// pods are the service's pods.
func (w *world) pods() []corev1.Pod {
	w.t.Helper()
	var list corev1.PodList
	w.must(kube.List(w.ctx, &list, client.InNamespace(w.namespace)))
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.Labels[labelName] == v1alpha1.AgentName })
}

// names are the names of the service's pods.
func (w *world) names() []string {
	w.t.Helper()
	var names []string
	for _, p := range w.pods() {
		names = append(names, p.Name)
	}
	return names
}

// owned fails the test unless the service has exactly the pods that its owner
// wants: the siblings, and one more.
func (w *world) owned(name string) *corev1.Pod {
	w.t.Helper()
	want := append(slices.Collect(maps.Keys(w.siblings)), name)
	slices.Sort(want)
	if names := w.names(); !slices.Equal(names, want) {
		w.t.Errorf("pods %v, want %v", names, want)
	}
	var found *corev1.Pod
	for _, p := range w.pods() {
		if uid := w.siblings[p.Name]; uid != "" && uid != p.UID {
			w.t.Errorf("the sibling %s was made again", p.Name)
		}
		if p.Name == name {
			found = &p
		}
		w.belongs(&p)
	}
	return found
}

// belongs fails the test unless a pod is one of its owner, as the owner made the
// siblings, and without marks of a migration that is over.
func (w *world) belongs(p *corev1.Pod) {
	w.t.Helper()
	ref := metav1.GetControllerOf(p)
	if (ref == nil) != (w.kind.workload == nil) {
		w.t.Errorf("the pod %s has the controller %v", p.Name, ref)
	}
	if p.Labels[v1alpha1.LabelMigration] != "" || p.Annotations[corev1.PodDeletionCost] != "" {
		w.t.Errorf("the pod %s keeps marks: labels %v, annotations %v", p.Name, p.Labels, p.Annotations)
	}
	if conditionOf(p, corev1.PodReady) != corev1.ConditionTrue {
		w.t.Errorf("the pod %s is not Ready", p.Name)
	}
	source := metav1.GetControllerOf(w.source)
	if ref == nil || source == nil {
		return
	}
	if ref.UID != source.UID {
		w.t.Errorf("the pod %s belongs to %s %s, not to the source's owner", p.Name, ref.Kind, ref.Name)
	}
	for key, value := range w.source.Labels {
		if of := p.Labels[key]; of != value && key != appsv1.StatefulSetPodNameLabel && key != appsv1.PodIndexLabel {
			w.t.Errorf("the pod %s has the label %s=%q, want %q", p.Name, key, of, value)
		}
	}
}

// patch changes the service's workload.
func (w *world) patch(patch string) {
	w.t.Helper()
	o := w.kind.workload(w.namespace, 0, corev1.PodTemplateSpec{})
	w.must(kube.Patch(w.ctx, o, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// claim makes a claim on a volume that one node can have at a time, and the volume.
func (w *world) claim(name string) {
	w.t.Helper()
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	once := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: once, VolumeName: w.namespace + "-" + name, StorageClassName: ptr.To(""),
			Resources: corev1.VolumeResourceRequirements{Requests: size},
		},
	}
	w.must(kube.Create(w.ctx, pvc))
	pvc.Status.Phase, pvc.Status.AccessModes, pvc.Status.Capacity = corev1.ClaimBound, once, size
	w.must(kube.Status().Update(w.ctx, pvc))
	w.must(kube.Create(w.ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: pvc.Spec.VolumeName},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes: once, Capacity: size,
			ClaimRef: &corev1.ObjectReference{Namespace: w.namespace, Name: name, UID: pvc.UID},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: "disk.example.com", VolumeHandle: pvc.Spec.VolumeName},
			},
		},
	}))
}
