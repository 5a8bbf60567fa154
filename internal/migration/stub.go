package migration

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/owner"
)

type Claim struct{}

func ClaimOf(*corev1.PersistentVolumeClaim, *corev1.PersistentVolume) Claim { return Claim{} }
func ClaimName(*corev1.Pod, corev1.Volume) string                           { return "" }
func NodeFits([]Claim, *corev1.Node) string                                 { return "" }
func pinned(*corev1.Pod, *corev1.Node) string                               { return "" }
func MigratedContainer(pod *corev1.Pod, name string) (string, string) {
	return pod.Spec.Containers[0].Name, ""
}
func ProbeBudget(*corev1.Pod, string, time.Duration) string { return "" }
func Adoption(w v1alpha1.WorkloadReference) (map[string]string, metav1.OwnerReference) {
	yes := true
	return map[string]string{"pod-template-hash": w.Revision}, metav1.OwnerReference{APIVersion: w.APIVersion, Kind: w.Kind, Name: w.Name, UID: w.UID, Controller: &yes, BlockOwnerDeletion: &yes}
}
func (p *planner) claims() []Claim         { return p.Preflight.Claims }
func (p *planner) ownedByReplicaSet() bool { return p.ownedBy(owner.ReplicaSet) }
func (p *planner) checkVolumes() *finding  { return nil }
func (p *planner) checkStrategy() *finding {
	p.status.Strategy = p.Object.Spec.Strategy
	if p.status.Strategy == v1alpha1.StrategyAuto {
		p.status.Strategy = v1alpha1.StrategyShadow
	}
	return nil
}
