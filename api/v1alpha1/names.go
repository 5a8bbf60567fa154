package v1alpha1

// Names that the parts of MS2M agree on.
const (
	// FinalizerMigration keeps a StatefulMigration until its traces are removed.
	FinalizerMigration = "migration.ms2m.dev/migration"
	// FinalizerTransfer keeps a CheckpointTransfer until the agent has removed
	// what it left on the node.
	FinalizerTransfer = "migration.ms2m.dev/node"

	// AnnotationMigration on a target pod names the migration (by UID) whose
	// checkpoint the shim is to restore. The shim waits for it to be staged.
	AnnotationMigration = "migration.ms2m.dev/migration"
	// AnnotationContainer names the container to restore.
	AnnotationContainer = "migration.ms2m.dev/container"

	// MessageNotStaged is in the message of a container that the shim has not started
	// because it waited for a checkpoint in vain.
	MessageNotStaged = "no checkpoint was staged within"

	// AnnotationHandover on a target pod is the identity of the hop that it was
	// made for, by which one of an earlier, failed hop is told from it.
	AnnotationHandover = "migration.ms2m.dev/handover"

	// AnnotationStatelessContainers on a source pod names, separated by commas,
	// the containers (and sidecars) beside the one that moves which may be
	// started afresh on the other node.
	AnnotationStatelessContainers = "migration.ms2m.dev/stateless-containers"
	// AnnotationDisposableVolumes on a source pod names, separated by commas, the
	// emptyDir volumes that may be empty on the other node.
	AnnotationDisposableVolumes = "migration.ms2m.dev/disposable-volumes"

	// AnnotationQueueName (one queue, or several separated by commas),
	// AnnotationBrokerURLSecret (the name of a Secret in the pod's namespace, or
	// name/key) and AnnotationRepository on a pod say what a migration of it needs
	// when the one who asks for it does not: kubectl ms2m, a drain.
	AnnotationQueueName       = "migration.ms2m.dev/queue-name"
	AnnotationBrokerURLSecret = "migration.ms2m.dev/broker-url-secret"
	AnnotationRepository      = "migration.ms2m.dev/checkpoint-image-repository"
	// AnnotationDrain on a pod says what its eviction comes to, a DrainPolicy:
	// before what a MigrationPolicy says of it.
	AnnotationDrain = "migration.ms2m.dev/drain"

	// AnnotationNodeFacts on the pod of a node agent holds the NodeFacts of its
	// node, as JSON.
	AnnotationNodeFacts = "migration.ms2m.dev/node-facts"

	// ConditionLive is the readiness gate of target pods whose service does not answer as
	// the owner only (Placement.OwnerOnly): True when the copy owns the state. Until then no
	// Service sends anything there.
	ConditionLive = "migration.ms2m.dev/live"

	// AnnotationBaseName on a target pod is the name that the pod had before it
	// was first moved, so that names do not grow from move to move.
	AnnotationBaseName = "migration.ms2m.dev/base-name"

	// AnnotationDeletionCost on a copy keeps the pod-deletion-cost that it had
	// before it joined its ReplicaSet, until that has settled.
	AnnotationDeletionCost = "migration.ms2m.dev/pod-deletion-cost"

	// LabelHandover marks a CheckpointTransfer by the hop that it is for.
	LabelHandover = "migration.ms2m.dev/handover"

	// LabelDrain marks a StatefulMigration that an eviction has asked for, by the UID
	// of the pod that was to be evicted.
	LabelDrain = "migration.ms2m.dev/drain"
	// Responder is the name by which a pod's spec.evictionResponders names MS2M.
	Responder = "migration.ms2m.dev/migrator"

	// LabelMigration marks every object made for a migration, by its UID.
	LabelMigration = "migration.ms2m.dev/migration-uid"

	// RuntimeClassName is the RuntimeClass whose handler is MS2M's shim.
	RuntimeClassName = "ms2m"

	// AgentName is the value of the label app.kubernetes.io/name on the pods of
	// the node agent.
	AgentName = "ms2m-node-agent"
)
