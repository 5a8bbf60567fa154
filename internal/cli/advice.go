package cli

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	core "ms2m.dev/ms2m/internal/migration"
)

// remedies say what to do about a reason. What has none says by its message what
// to change, or passes by itself.
var remedies = map[string]string{
	core.ReasonPodNotFound:       "name a pod of this namespace: kubectl get pods",
	core.ReasonPodNotRunning:     "wait until the pod runs: kubectl get pod POD",
	core.ReasonPodUnsupported:    "change the pod as the message says, or move it without its memory: docs/fidelity.md and docs/owners.md say what can travel",
	core.ReasonContainerNotFound: "name the container that has the state by --container",
	core.ReasonNodeNotFound:      "name a node of the cluster, other than the pod's: kubectl get nodes",
	core.ReasonNodeNotReady:      "let the node be used (kubectl uncordon NODE), or name another by --to",
	core.ReasonNotInstalled:      "see whether the node agents run: kubectl get pods -A -l app.kubernetes.io/name=ms2m-node-agent -o wide",
	core.ReasonOtherMigration:    "wait for the other migration, or cancel it",
	core.ReasonBrokerUnavailable: "see whether the broker runs and the manager reaches it, and whether the URL in the Secret is right",
	core.ReasonSecretUnavailable: "make the Secret with the broker's URL, or name it by --broker-secret",
	core.ReasonQueueNotFound:     "name the queue that the pod consumes by --queue (all of them, separated by commas, if it consumes several)",
	core.ReasonNoLibrary:         "see whether the service is built with the MS2M library and has connected to this broker: kubectl logs POD",
	core.ReasonLibraryMismatch:   "name the queue that the pod consumes by --queue; if the versions differ, build the service with the library of this manager",
	core.ReasonNoIdentity:        "let producers set message-id, and send one message; then ask again",
	core.ReasonOwnerChanged:      "wait until the pod's owner has settled: kubectl get pods",
	core.ReasonRollout:           "wait for the end of the rollout: kubectl rollout status",
	core.ReasonNodeMismatch:      "name a node with the same CPU features and kernel by --to or --selector",
	core.ReasonProbeBudget:       "make the liveness probe more patient than the pause, as the message says",
	core.ReasonDiskFull:          "free space on the node, or name another by --to",
	core.ReasonForbidden:         "give the manager its roles: upgrade the installation (docs/operations.md)",
	core.ReasonRepository:        "see whether the registry runs and the manager may push: --repository, and the Secret ms2m-registry-auth",
	core.ReasonPolicy:            "ask for what the MigrationPolicy allows, or have it changed: kubectl get migrationpolicies",
	core.ReasonDeadline:          "see what it waited for in the conditions; the time is in spec.deadlines",
	core.ReasonCheckpointFailed:  "see the log of the node's agent and of its kubelet; what CRIU cannot dump is in docs/fidelity.md",
	core.ReasonTransferFailed:    "see the log of the node's agent; the registry may be full or refuse it",
	core.ReasonUnschedulable:     "make room on the target node, or name another by --to",
	core.ReasonTargetNameTaken:   "remove the pod that has the copy's name",
	core.ReasonNotSteered:        "see whether the policy is there: kubectl get mutatingadmissionpolicies,mutatingadmissionpolicybindings ms2m-placement",
	core.ReasonTargetRejected:    "see the message of the target node's kubelet, and name another node by --to",
	core.ReasonTargetLost:        "the source has gone on; see what ended the copy (events), and try again",
	core.ReasonRestoreFailed:     "the source has gone on; see the log of the target node's agent, and try another node",
	core.ReasonSourceLost:        "the pod has gone: there is nothing left to move",
	core.ReasonSourceRestarted:   "the container was restarted on the way and has lost its memory; find out why (kubectl describe pod), then try again",
	core.ReasonMarksLeft:         "what is left behind is in the condition CleanedUp: remove it by hand (docs/faults.md)",
	core.ReasonAbandoned:         "what is left behind is in the condition CleanedUp: remove it by hand (docs/faults.md)",
}

// remedy is what to do about a reason; empty: nothing is known.
func remedy(reason string) string { return remedies[reason] }

// advice is what to do about a migration now, a line each.
func advice(m *migration, command string) []string {
	in := fmt.Sprintf("-n %s %s", m.Namespace, m.Name)
	reason, _ := outcome(m)
	switch {
	case m.Status.Phase == v1alpha1.PhaseCompleted && !m.Spec.DryRun:
		lines := []string{fmt.Sprintf("see how it went: %s report %s", command, in)}
		if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCleanedUp); c != nil && c.Status == metav1.ConditionFalse {
			lines = append(lines, remedy(core.ReasonMarksLeft))
		}
		return lines
	case m.Status.Phase == v1alpha1.PhaseCompleted:
		return nil
	case m.Status.Phase == v1alpha1.PhaseFailed:
		lines := make([]string, 0, 2)
		if r := remedy(reason); r != "" {
			lines = append(lines, r)
		}
		return append(lines, fmt.Sprintf("the whole story: %s status %s", command, in))
	case m.Status.Queued != nil:
		return []string{fmt.Sprintf("wait, or see what is before it: %s list -A", command)}
	case m.Status.Phase == "":
		return []string{"see whether the manager runs: kubectl get deployment -A -l app.kubernetes.io/name=ms2m-manager"}
	}
	lines := []string{fmt.Sprintf("look on: %s status %s", command, in)}
	if r := remedy(reason); r != "" {
		lines = append(lines, r)
	}
	if !committed(m) && m.DeletionTimestamp == nil {
		lines = append(lines, fmt.Sprintf("give it up, the pod goes on where it is: %s cancel %s", command, in))
	}
	return lines
}
