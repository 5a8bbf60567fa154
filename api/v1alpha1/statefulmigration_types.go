package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StatefulMigrationSpec says which pod moves where. It is immutable: to change
// one's mind, delete the object (which cancels the migration) and make another.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: delete this StatefulMigration (which cancels it) and create another"
type StatefulMigrationSpec struct {
	// sourcePod is the running pod that is to move.
	// +required
	SourcePod PodReference `json:"sourcePod"`

	// container is the name of the container whose memory is to move. It may be
	// left out when the pod has one container.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Container string `json:"container,omitempty"`

	// targetNode says where the pod is to go. Without it the scheduler chooses
	// any node but the source's.
	// +optional
	TargetNode *TargetNode `json:"targetNode,omitempty"`

	// checkpointImageRepository is the OCI repository, without tag or digest, to
	// which the checkpoint is pushed, for example registry.example.com/ms2m/checkpoints.
	// Without it the MigrationPolicy of the pod has to say it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.contains('@') && !self.matches(':[^/]*$') && !self.contains('://') && self.matches('^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$')",message="checkpointImageRepository must be host[:port]/path, without scheme, tag or digest"
	CheckpointImageRepository string `json:"checkpointImageRepository,omitempty"`

	// replayCutoffSeconds is the longest acceptable gap of the hand-over, in which
	// the source is frozen and the target applies what is outstanding. If that
	// would take longer, the source is frozen as soon as it does not shrink;
	// else as soon as the measured rates say that it never will, or
	// not before deadlines.replaySeconds. No message is dropped.
	// By default what the MigrationPolicy of the pod says, else 120.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	ReplayCutoffSeconds int32 `json:"replayCutoffSeconds,omitempty"`

	// throttle says whether the source may be slowed down while the copy catches up:
	// WhenBehind, if the copy would not by itself within half a second or so, or Never.
	// A source that is slowed down begins messages some tens of milliseconds apart; what arrives
	// meanwhile waits in the queue, as it would if the source were frozen.
	// By default what the MigrationPolicy of the pod says, else WhenBehind.
	// +optional
	Throttle ThrottlePolicy `json:"throttle,omitempty"`

	// messageQueueConfig names the broker and the queues.
	// +required
	MessageQueueConfig MessageQueueConfig `json:"messageQueueConfig"`

	// dryRun runs the preflight and nothing else: the migration ends Completed if
	// the pod can be moved, else Failed, and status.preflight has every check.
	// +optional
	DryRun bool `json:"dryRun,omitempty"`

	// strategy is how the pod's place is taken. Auto chooses by the pod's owner
	// and volumes.
	// By default what the MigrationPolicy of the pod says, else Auto.
	// +optional
	Strategy Strategy `json:"strategy,omitempty"`

	// checkpointRetention says what becomes of the checkpoint in the repository
	// when the migration has ended.
	// By default what the MigrationPolicy of the pod says, else Delete.
	// +optional
	CheckpointRetention RetentionPolicy `json:"checkpointRetention,omitempty"`

	// deadlines bound every phase, so that nothing waits for ever.
	// Each by default is what the MigrationPolicy of the pod says, else what is said here.
	// +optional
	Deadlines Deadlines `json:"deadlines,omitzero"`

	// backoffLimit is how many more checkpoints a hand-over may take, when one has
	// failed in a way that may pass or its image is no good, before the migration
	// is given up: at most backoffLimit+1 attempts. What else may pass (the API
	// server, the broker or the registry does not answer) is tried again with
	// growing pauses until the deadline of its phase, and does not count.
	// By default what the MigrationPolicy of the pod says, else 4.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	BackoffLimit *int32 `json:"backoffLimit,omitempty"`

	// ttlSecondsAfterFinished is how long this object is kept when the migration
	// has ended, Completed or Failed: then the manager deletes it. Without it, here and in
	// the MigrationPolicy of the pod, the object stays until somebody deletes it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// PodReference names a pod of the migration's own namespace.
type PodReference struct {
	// name of the pod.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// namespace of the pod: optional, and only the migration's own (a CRD's
	// rules cannot see metadata.namespace: the ValidatingAdmissionPolicy in
	// the policy ms2m-statefulmigration refuses another one, and so does the manager).
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// TargetNode is a node by name or by labels: one of the two.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) != has(self.selector)",message="targetNode: set exactly one of name and selector"
type TargetNode struct {
	// name of the node.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// selector is matched against the labels of nodes.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	Selector map[string]string `json:"selector,omitempty"`
}

// BrokerKind is a kind of message broker.
// +kubebuilder:validation:Enum=RabbitMQ
type BrokerKind string

// BrokerRabbitMQ is RabbitMQ 4.0 or later, over AMQP 0-9-1.
const BrokerRabbitMQ BrokerKind = "RabbitMQ"

// MessageQueueConfig names the broker and the queues of the service.
// ---
// The rules for brokerURL stand here, and not at the field, because a refusal by
// a rule of the field itself quotes its value, password and all.
//
// +kubebuilder:validation:XValidation:rule="has(self.brokerURL) != has(self.brokerURLSecretRef)",message="messageQueueConfig: set exactly one of brokerURL and brokerURLSecretRef"
// +kubebuilder:validation:XValidation:rule="!has(self.brokerURL) || self.brokerURL.matches('^amqps?://')",fieldPath=".brokerURL",message="brokerURL must begin with amqp:// or amqps://"
// +kubebuilder:validation:XValidation:rule="!has(self.brokerURL) || !self.brokerURL.matches('^[^:]*://[^@]*:[^@]*@')",fieldPath=".brokerURL",message="brokerURL must not hold a password: put the URL into a Secret and name it in brokerURLSecretRef"
// +kubebuilder:validation:XValidation:rule="has(self.queueName) != has(self.queueNames)",message="messageQueueConfig: set queueName, or queueNames if the service consumes several queues; not both"
// +kubebuilder:validation:XValidation:rule="!has(self.replayQueueName) || !has(self.queueName) || self.replayQueueName != self.queueName",message="replayQueueName must not be the primary queue (queueName)"
// +kubebuilder:validation:XValidation:rule="!has(self.replayQueueName) || !has(self.queueNames) || !(self.replayQueueName in self.queueNames)",message="replayQueueName must not be a primary queue (queueNames)"
type MessageQueueConfig struct {
	// broker is the kind of broker.
	// +optional
	// +default="RabbitMQ"
	Broker BrokerKind `json:"broker,omitempty"`

	// brokerURL is the AMQP URL of the broker, without a password: put a URL
	// with credentials into a Secret and name it in brokerURLSecretRef.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	BrokerURL string `json:"brokerURL,omitempty"`

	// brokerURLSecretRef is the key of a Secret in the migration's namespace
	// that holds the AMQP URL.
	// +optional
	BrokerURLSecretRef *SecretKeyReference `json:"brokerURLSecretRef,omitempty"`

	// queueName is the primary queue, from which the service consumes.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	QueueName string `json:"queueName,omitempty"`

	// queueNames are the primary queues of a service that consumes several, all of
	// them, in any order; instead of queueName.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=2
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	QueueNames []string `json:"queueNames,omitempty"`

	// replayQueueName is the name of the secondary queue, which the migration
	// creates and removes. By default it is derived from the migration's UID.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('amq.')",message="replayQueueName must not begin with amq., which RabbitMQ keeps for itself"
	ReplayQueueName string `json:"replayQueueName,omitempty"`
}

// Queues are the primary queues, sorted.
func (c MessageQueueConfig) Queues() []string {
	if len(c.QueueNames) == 0 {
		return []string{c.QueueName}
	}
	return slices.Sorted(slices.Values(c.QueueNames))
}

// SecretKeyReference is a key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key within the Secret.
	// +optional
	// +default="url"
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// Strategy is how the target takes the source's place.
// +kubebuilder:validation:Enum=Auto;Shadow;Sequential
type Strategy string

// The strategies.
const (
	StrategyAuto       Strategy = "Auto"       // Shadow where the owner and the volumes allow it
	StrategyShadow     Strategy = "Shadow"     // the target runs beside the source until it takes over
	StrategySequential Strategy = "Sequential" // the source goes before the target comes
)

// RetentionPolicy says what becomes of the checkpoint image.
// +kubebuilder:validation:Enum=Delete;Retain
type RetentionPolicy string

// The retention policies. A checkpoint holds every secret of the process.
const (
	RetentionDelete RetentionPolicy = "Delete"
	RetentionRetain RetentionPolicy = "Retain"
)

// Deadlines bound the phases, in seconds from the phase's start, and the whole.
type Deadlines struct {
	// totalSeconds bounds the whole migration, from status.startedAt: the time in
	// Pending, in which it may queue behind others, does not count. One that has not
	// come to the commit point by then is given up like at the deadline of a phase;
	// after it there is only forward, and the condition Overdue tells of it. Without
	// it the deadlines of the phases are the only ones.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	TotalSeconds int32 `json:"totalSeconds,omitempty"`
	// pendingSeconds bounds the wait for pod, broker and library to answer. While
	// the migration queues behind others, status.queued, no time passes.
	// By default 60.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	PendingSeconds int32 `json:"pendingSeconds,omitempty"`
	// checkpointSeconds bounds draining, checkpoint and resumption of one attempt.
	// By default 60.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	CheckpointSeconds int32 `json:"checkpointSeconds,omitempty"`
	// transferSeconds bounds packing and pushing.
	// By default 300.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	TransferSeconds int32 `json:"transferSeconds,omitempty"`
	// restoreSeconds bounds scheduling, staging and the target's first HELLO.
	// By default 300.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	RestoreSeconds int32 `json:"restoreSeconds,omitempty"`
	// replaySeconds bounds the replay before the source is frozen.
	// By default 600.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	ReplaySeconds int32 `json:"replaySeconds,omitempty"`
	// finalizeSeconds bounds the time from FREEZE to the target being live.
	// By default 300.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	FinalizeSeconds int32 `json:"finalizeSeconds,omitempty"`
}

// StatefulMigration moves a running pod that keeps its state in memory to
// another node, without losing, doubling or reordering a message.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sm,categories=all
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.spec.sourcePod.name`
// +kubebuilder:printcolumn:name="From",type=string,JSONPath=`.status.originNode`
// +kubebuilder:printcolumn:name="To",type=string,JSONPath=`.status.targetNode`
// +kubebuilder:printcolumn:name="Lag",type=integer,JSONPath=`.status.lag.messages`
// +kubebuilder:printcolumn:name="Pause ms",type=integer,JSONPath=`.status.pauses.handoverMillis`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Policy",type=string,priority=1,JSONPath=`.status.policy.name`
// +kubebuilder:printcolumn:name="Strategy",type=string,priority=1,JSONPath=`.status.strategy`
// +kubebuilder:printcolumn:name="Hop",type=integer,priority=1,JSONPath=`.status.hop`
// +kubebuilder:printcolumn:name="Attempt",type=integer,priority=1,JSONPath=`.status.attempt`
// +kubebuilder:printcolumn:name="Ahead",type=integer,priority=1,JSONPath=`.status.queued.ahead`
// +kubebuilder:printcolumn:name="Lag s",type=string,priority=1,JSONPath=`.status.lag.seconds`
// +kubebuilder:printcolumn:name="Cut-off",type=string,priority=1,JSONPath=`.status.cutoff.reason`
// +kubebuilder:printcolumn:name="Checkpoint ms",type=integer,priority=1,JSONPath=`.status.pauses.checkpointMillis`
// +kubebuilder:printcolumn:name="Target",type=string,priority=1,JSONPath=`.status.targetPodName`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type StatefulMigration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   StatefulMigrationSpec   `json:"spec"`
	Status StatefulMigrationStatus `json:"status,omitempty,omitzero"`
}

// StatefulMigrationList is a list of StatefulMigrations.
// +kubebuilder:object:root=true
type StatefulMigrationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []StatefulMigration `json:"items"`
}
