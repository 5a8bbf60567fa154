// Package v1alpha1 is the API of MS2M: the StatefulMigration, and the internal
// CheckpointTransfer by which the manager gives work to the agents on the nodes.
//
// +kubebuilder:object:generate=true
// +groupName=migration.ms2m.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of this API.
var GroupVersion = schema.GroupVersion{Group: "migration.ms2m.dev", Version: "v1alpha1"}

// AddToScheme adds the types of this API to a scheme.
var AddToScheme = schemeBuilder.AddToScheme

var schemeBuilder = runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&StatefulMigration{}, &StatefulMigrationList{},
		&CheckpointTransfer{}, &CheckpointTransferList{},
		&MigrationPolicy{}, &MigrationPolicyList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
})
