package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MigrationPolicySpec says how the pods that it selects may be migrated: what a
// StatefulMigration gets that does not say it (defaults), and what none gets
// around (bounds).
//
// +kubebuilder:validation:XValidation:rule="!has(self.bounds) || !has(self.bounds.allowedStrategies) || !has(self.defaults) || !has(self.defaults.strategy) || self.defaults.strategy == 'Auto' || self.defaults.strategy in self.bounds.allowedStrategies",fieldPath=".defaults.strategy",message="defaults.strategy must be one of bounds.allowedStrategies, or Auto"
// +kubebuilder:validation:XValidation:rule="!has(self.bounds) || !has(self.bounds.maxReplayCutoffSeconds) || !has(self.defaults) || !has(self.defaults.replayCutoffSeconds) || self.defaults.replayCutoffSeconds <= self.bounds.maxReplayCutoffSeconds",fieldPath=".defaults.replayCutoffSeconds",message="defaults.replayCutoffSeconds must not be more than bounds.maxReplayCutoffSeconds"
type MigrationPolicySpec struct {
	// selectors say which pods it is for. Of several policies that select a pod the
	// one with the most labels is its policy, of those with as many the one with
	// more labels of the pod, and then the first by name. Without a label, {}, it
	// is for every pod that no other is for.
	// +required
	Selectors PolicySelectors `json:"selectors"`

	// defaults stand in for what a StatefulMigration leaves out, and for nothing that
	// it says.
	// +optional
	Defaults PolicyDefaults `json:"defaults,omitzero"`

	// bounds hold whatever a StatefulMigration says: what goes beyond them is refused.
	// +optional
	Bounds PolicyBounds `json:"bounds,omitzero"`

	// drain says what the eviction of such a pod comes to, if the pod's annotation
	// migration.ms2m.dev/drain does not: Migrate has the pod migrated, and the eviction
	// wait for that; Evict, the default, leaves it alone.
	// +optional
	Drain DrainPolicy `json:"drain,omitempty"`
}

// PolicySelectors are labels that a pod and its namespace have to have, all of them.
type PolicySelectors struct {
	// namespaceSelector are labels of the namespace.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NamespaceSelector map[string]string `json:"namespaceSelector,omitempty"`
	// podSelector are labels of the pod.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	PodSelector map[string]string `json:"podSelector,omitempty"`
}

// PolicyDefaults are fields of a StatefulMigration's spec, for when it leaves them out.
type PolicyDefaults struct {
	// strategy: see spec.strategy of a StatefulMigration, as for each of these.
	// +optional
	Strategy Strategy `json:"strategy,omitempty"`
	// replayCutoffSeconds is the longest acceptable gap of the hand-over.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	ReplayCutoffSeconds int32 `json:"replayCutoffSeconds,omitempty"`
	// throttle says whether the source may be slowed down while the copy catches up.
	// +optional
	Throttle ThrottlePolicy `json:"throttle,omitempty"`
	// checkpointImageRepository is where checkpoints are pushed to.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.contains('@') && !self.matches(':[^/]*$') && !self.contains('://') && self.matches('^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$')",message="checkpointImageRepository must be host[:port]/path, without scheme, tag or digest"
	CheckpointImageRepository string `json:"checkpointImageRepository,omitempty"`
	// checkpointRetention says what becomes of the checkpoint in the end.
	// +optional
	CheckpointRetention RetentionPolicy `json:"checkpointRetention,omitempty"`
	// deadlines bound the phases, each by itself.
	// +optional
	Deadlines Deadlines `json:"deadlines,omitzero"`
	// backoffLimit is how many more checkpoints a hand-over may take.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	BackoffLimit *int32 `json:"backoffLimit,omitempty"`
	// ttlSecondsAfterFinished is how long a StatefulMigration is kept when it has ended.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// PolicyBounds are what every migration under a policy has to keep to.
type PolicyBounds struct {
	// allowedStrategies are those that a pod may be moved with: Shadow, Sequential
	// or both. Without it both are allowed. Where one is, Auto comes to that.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:XValidation:rule="!('Auto' in self)",message="allowedStrategies are Shadow and Sequential: Auto comes to one of them"
	AllowedStrategies []Strategy `json:"allowedStrategies,omitempty"`
	// maxReplayCutoffSeconds is the most that replayCutoffSeconds may be.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	MaxReplayCutoffSeconds int32 `json:"maxReplayCutoffSeconds,omitempty"`
	// maxMigrations is how many migrations under this policy are active at a time: others
	// queue. The manager's own limits hold beside it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxMigrations int32 `json:"maxMigrations,omitempty"`
	// maxMigrationsPerNode is how many active migrations under this policy a node is
	// source or target of at a time.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxMigrationsPerNode int32 `json:"maxMigrationsPerNode,omitempty"`
	// bandwidthPerMigration is what the transfer of one checkpoint may take on each of
	// the two nodes, to the repository and from it, in bytes per second: at least 64Ki.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('64Ki')) >= 0",message="bandwidthPerMigration is in bytes per second, at least 64Ki; leave it out for no limit"
	BandwidthPerMigration *resource.Quantity `json:"bandwidthPerMigration,omitempty"`
}

// DrainPolicy is what the eviction of a pod comes to.
// +kubebuilder:validation:Enum=Migrate;Evict
type DrainPolicy string

// The drain policies.
const (
	DrainMigrate DrainPolicy = "Migrate"
	DrainEvict   DrainPolicy = "Evict"
)

// MigrationPolicy says how the pods that it selects may be migrated. Changing it
// changes no migration that has begun.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=mp,categories=all
// +kubebuilder:printcolumn:name="Namespaces",type=string,JSONPath=`.spec.selectors.namespaceSelector`
// +kubebuilder:printcolumn:name="Pods",type=string,JSONPath=`.spec.selectors.podSelector`
// +kubebuilder:printcolumn:name="Strategies",type=string,JSONPath=`.spec.bounds.allowedStrategies`
// +kubebuilder:printcolumn:name="Bandwidth",type=string,JSONPath=`.spec.bounds.bandwidthPerMigration`
// +kubebuilder:printcolumn:name="Drain",type=string,JSONPath=`.spec.drain`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MigrationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec MigrationPolicySpec `json:"spec"`
}

// MigrationPolicyList is a list of MigrationPolicies.
// +kubebuilder:object:root=true
type MigrationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MigrationPolicy `json:"items"`
}

// PolicyReference names the MigrationPolicy that a migration is under.
type PolicyReference struct {
	// name of the policy.
	Name string `json:"name"`
	// generation of it that was looked at.
	Generation int64 `json:"generation"`
}

// Settings are what holds for a migration: by its spec, its policy's defaults where
// the spec says nothing, and what is built in where neither does. From the moment
// that the migration is let in nothing changes them any more.
type Settings struct {
	// strategy that was asked for; what it came to is status.strategy.
	Strategy Strategy `json:"strategy"`
	// replayCutoffSeconds is the longest acceptable gap of the hand-over.
	ReplayCutoffSeconds int32 `json:"replayCutoffSeconds"`
	// throttle says whether the source may be slowed down while the copy catches up.
	// +optional
	Throttle ThrottlePolicy `json:"throttle,omitempty"`
	// checkpointImageRepository is where the checkpoint is pushed to.
	// +optional
	CheckpointImageRepository string `json:"checkpointImageRepository,omitempty"`
	// checkpointRetention says what becomes of it in the end.
	CheckpointRetention RetentionPolicy `json:"checkpointRetention"`
	// deadlines of the phases.
	Deadlines Deadlines `json:"deadlines"`
	// backoffLimit is how many more checkpoints a hand-over may take.
	BackoffLimit int32 `json:"backoffLimit"`
	// ttlSecondsAfterFinished is how long the StatefulMigration is kept when it has ended.
	// +optional
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
	// bandwidthBytesPerSecond is what the transfer may take; absent: no limit.
	// +optional
	BandwidthBytesPerSecond int64 `json:"bandwidthBytesPerSecond,omitempty"`
	// maxMigrations and maxMigrationsPerNode are the policy's; absent: no limit.
	// +optional
	MaxMigrations int32 `json:"maxMigrations,omitempty"`
	// +optional
	MaxMigrationsPerNode int32 `json:"maxMigrationsPerNode,omitempty"`
}
