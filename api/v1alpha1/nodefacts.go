package v1alpha1

// NodeFacts are what an agent knows about its node that the API's Node does not
// tell, and that a checkpoint or a restore there depends on. The agent
// writes them as JSON into AnnotationNodeFacts of its own pod.
// +kubebuilder:object:generate=false
type NodeFacts struct {
	// Kernel is the kernel's release, as uname -r has it.
	Kernel string `json:"kernel"`
	// CRIU is its version, for example 4.1.1.
	CRIU string `json:"criu"`
	// CPU is the processor's model, for people.
	CPU string `json:"cpu"`
	// Features are the processor's flags in /proc/cpuinfo, sorted.
	Features []string `json:"features"`
	// ArchiveFreeBytes is what is free where the kubelet writes archives, in bytes.
	ArchiveFreeBytes int64 `json:"archiveFreeBytes"`
	// StageFreeBytes is what is free where checkpoints are staged, in bytes.
	StageFreeBytes int64 `json:"stageFreeBytes"`
}
