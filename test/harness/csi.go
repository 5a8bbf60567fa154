package harness

import (
	"context"
	"errors"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// driverName is the tests' CSI driver, see test/csi.
	driverName = "volumes.ms2m.dev"
	kubeletDir = "/var/lib/kubelet"
)

// DeployCSI runs the tests' CSI driver on every node, with its volumes in a store.
// undo removes it.
func (l *Lab) DeployCSI(ctx context.Context, s *VolumeStore) (undo func(context.Context) error, err error) {
	driver := &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: driverName}, Spec: storagev1.CSIDriverSpec{
		AttachRequired: ptr.To(false), FSGroupPolicy: ptr.To(storagev1.NoneFSGroupPolicy)}}
	set := l.driverSet(s)
	for _, o := range []client.Object{driver, set} {
		if err := client.IgnoreAlreadyExists(l.Client.Create(ctx, o)); err != nil {
			return nil, err
		}
	}
	undo = func(ctx context.Context) error {
		return errors.Join(l.Client.Delete(ctx, set), Gone(ctx, l, set, &appsv1.DaemonSetList{}), l.Client.Delete(ctx, driver))
	}
	err = Until(ctx, l, set, &appsv1.DaemonSetList{}, func(d *appsv1.DaemonSet) (bool, error) {
		return d != nil && daemonSetReady(d), nil
	})
	if err != nil {
		return undo, err
	}
	// A pod with a volume is not sent to a node before its kubelet knows the driver.
	nodes := &corev1.NodeList{}
	if err := l.Client.List(ctx, nodes); err != nil {
		return undo, err
	}
	for _, n := range nodes.Items {
		known := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: n.Name}}
		err = errors.Join(err, Until(ctx, l, known, &storagev1.CSINodeList{}, func(c *storagev1.CSINode) (bool, error) {
			if c != nil {
				for _, d := range c.Spec.Drivers {
					if d.Name == driverName {
						return true, nil
					}
				}
			}
			return false, nil
		}))
	}
	return undo, err
}

func (l *Lab) driverSet(s *VolumeStore) *appsv1.DaemonSet {
	labels := map[string]string{"app.kubernetes.io/name": "csi"}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "csi-volumes", Labels: labels},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				HostNetwork: true,
				HostPID:     true, // process 1 has the node's mounts
				Containers: []corev1.Container{{
					Name:  "csi",
					Image: l.Images.CSI,
					Args:  []string{"-name", driverName, "-node", "$(NODE)", "-store", s.URL, "-kubelet", kubeletDir},
					Env: []corev1.EnvVar{{Name: "NODE", ValueFrom: &corev1.EnvVarSource{
						FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}},
					SecurityContext: &corev1.SecurityContext{Privileged: ptr.To(true), RunAsUser: ptr.To[int64](0)},
					VolumeMounts:    []corev1.VolumeMount{{Name: "kubelet", MountPath: kubeletDir}},
				}},
				Volumes: []corev1.Volume{{Name: "kubelet", VolumeSource: corev1.VolumeSource{
					HostPath: &corev1.HostPathVolumeSource{Path: kubeletDir}}}},
			}},
		},
	}
}

// Claim gives the pods of a StatefulSet a volume each, ReadWriteOnce, at a path.
func Claim(cfg *WorkloadConfig, name, path string) {
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}
	cfg.Claims = append(cfg.Claims, corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To(""),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: size},
		},
	})
	change := cfg.Change
	cfg.Change = func(p *corev1.PodTemplateSpec) {
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path})
		if change != nil {
			change(p)
		}
	}
}

// Volume makes a volume of the tests' CSI driver for a claim, named as the claim
// is.
func (l *Lab) Volume(ctx context.Context, claim client.ObjectKey) (*corev1.PersistentVolume, error) {
	name := claim.Namespace + "." + claim.Name
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")},
		AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		ClaimRef:                      &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name},
		PersistentVolumeSource: corev1.PersistentVolumeSource{
			CSI: &corev1.CSIPersistentVolumeSource{Driver: driverName, VolumeHandle: name}},
	}}
	return pv, l.Client.Create(ctx, pv)
}
