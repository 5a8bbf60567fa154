package main

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// kind is a kind of fault.
type kind string

const (
	none        kind = "no fault"
	managerDies kind = "manager killed"
	agentDies   kind = "agents killed"
	cut         kind = "connections cut"
	brokerDies  kind = "broker killed"
	registry    kind = "registry killed"
	kubelet     kind = "kubelets killed"
	containerd  kind = "containerd killed"
	targetGone  kind = "target deleted"
	cancelled   kind = "cancelled"
)

var (
	kinds = []kind{managerDies, agentDies, cut, brokerDies, registry, kubelet, containerd, targetGone, cancelled}
	// restarting kinds begin processes anew in which leaks are looked for. They do not
	// occur in the last third of the moves, so that there is time to leak.
	restarting = []kind{managerDies, agentDies}
	phases     = []v1alpha1.MigrationPhase{
		v1alpha1.PhaseCheckpointing, v1alpha1.PhaseTransferring, v1alpha1.PhaseRestoring,
		v1alpha1.PhaseReplaying, v1alpha1.PhaseFinalizing,
	}
)

// fault is what happens to a move, and when.
type fault struct {
	kind  kind
	phase v1alpha1.MigrationPhase
}

func (f fault) String() string {
	if f.kind == none {
		return string(none)
	}
	return fmt.Sprintf("%s in %s", f.kind, f.phase)
}

// draw draws what happens to the n-th move. What is drawn does not depend on
// what became of earlier moves: a seed tells the same faults again.
func (s *soak) draw(n int) fault {
	if s.random.Float64() >= s.faults {
		return fault{kind: none}
	}
	f := fault{kind: kinds[s.random.IntN(len(kinds))], phase: phases[s.random.IntN(len(phases))]}
	switch {
	case slices.Contains(restarting, f.kind) && n > s.moves*2/3:
		f.kind = cut
	case f.kind == targetGone:
		f.phase = v1alpha1.PhaseRestoring // there is one, and it is not the counter yet
	}
	return f
}

// allows reports whether a migration with this fault may end so. One to which
// nothing happened has to succeed, and so has one whose manager or agents died: their
// next processes go on.
func (f fault) allows(end v1alpha1.MigrationPhase) bool {
	switch f.kind {
	case none, managerDies, agentDies:
		return end == v1alpha1.PhaseCompleted
	}
	return true
}

// due reports whether the time of the fault has come.
func (f fault) due(m *v1alpha1.StatefulMigration) bool {
	if f.kind == targetGone && m.Status.TargetPodUID == "" {
		return false
	}
	return slices.Index(phases, m.Status.Phase) >= slices.Index(phases, f.phase)
}

// happen lets the fault happen.
func (f fault) happen(ctx context.Context, s *soak, m *v1alpha1.StatefulMigration) error {
	switch f.kind {
	case managerDies:
		return s.killManager(ctx)
	case agentDies:
		return s.killAgents(ctx)
	case cut:
		_, err := s.lab.Disconnect(ctx)
		return err
	case brokerDies:
		return s.lab.Restart(ctx, "rabbitmq")
	case registry:
		return s.lab.Restart(ctx, "registry")
	case kubelet, containerd:
		name := map[kind]string{kubelet: "kubelet", containerd: "containerd"}[f.kind]
		for _, node := range []string{m.Status.SourceNode, m.Status.TargetNode} {
			if node == "" {
				continue
			}
			if err := s.lab.Restart(ctx, name+"@"+node); err != nil {
				return err
			}
		}
		return nil
	case targetGone:
		pod, err := s.lab.TargetPod(ctx, m)
		if err != nil {
			return err
		}
		return s.lab.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID}, client.GracePeriodSeconds(0))
	case cancelled:
		return s.lab.Client.Delete(ctx, m)
	}
	return fmt.Errorf("no such fault: %s", f.kind)
}

// killManager kills the manager, and its pod: the kubelet would wait longer with
// each restart.
func (s *soak) killManager(ctx context.Context) error {
	pod, err := s.lab.ManagerPod(ctx)
	if err != nil {
		return err
	}
	if err := s.lab.Kill(ctx, pod); err != nil {
		return err
	}
	return s.lab.Client.Delete(ctx, pod, client.GracePeriodSeconds(0))
}

// killAgents kills the agents of all nodes, and their pods.
func (s *soak) killAgents(ctx context.Context) error {
	agents, err := s.lab.AgentPods(ctx)
	if err != nil {
		return err
	}
	for i := range agents {
		if err := s.lab.Kill(ctx, &agents[i]); err != nil {
			return err
		}
		if err := s.lab.Client.Delete(ctx, &agents[i], client.GracePeriodSeconds(0)); err != nil {
			return err
		}
	}
	return nil
}
