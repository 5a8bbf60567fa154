// Package queue decides which of the migrations that wait may begin. It is pure:
// the same migrations and limits give the same answer in every process. Why it
// is fair, and why nobody waits for ever: docs/decisions/0013.
package queue

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Limits bound what is active at a time; 0 is no limit.
type Limits struct {
	Migrations int // in the cluster
	PerNode    int // of which a node is source or target
}

// Migration is one that is active or waits to be.
type Migration struct {
	UID             types.UID
	Namespace, Name string
	Created         time.Time
	Nodes           []string    // source and target, as far as they are known
	Pods            []types.UID // that nobody else may move meanwhile
	Policy          string      // the MigrationPolicy that it is under; empty: none
	Under           Limits      // those of that policy
	Active          bool
}

// Reason is why a migration has to wait.
type Reason string

// The reasons.
const (
	ReasonCluster Reason = "MaxMigrations"        // the cluster is at its limit
	ReasonNode    Reason = "MaxMigrationsPerNode" // a node is at its limit
	ReasonPod     Reason = "OtherMigration"       // another has the pod, or comes first for it
	ReasonTurn    Reason = "Turn"                 // the room on a node is kept for one that comes first
)

// Verdict is the answer for a migration that waits.
type Verdict struct {
	Begin  bool
	Reason Reason // if it may not
	Node   string // that the reason is about, if it is about one
	Policy string // whose limit it is; empty: the manager's
	Ahead  int    // how many that wait on come first
}

// Decide answers for all that wait. Those that may begin may do so together.
func Decide(all []Migration, limits Limits) map[types.UID]Verdict {
	t := tally{limits: limits, used: map[place]int{}, kept: map[place]int{}, pods: make(map[types.UID]bool, len(all))}
	for i := range all {
		if all[i].Active {
			t.begin(&all[i])
		}
	}
	out := make(map[types.UID]Verdict, len(all))
	ahead := 0
	for _, m := range order(all) {
		v := t.judge(m)
		v.Ahead = ahead
		if !v.Begin {
			ahead++
		}
		out[m.UID] = v
	}
	return out
}

// order is the order in which those that wait are asked: first the oldest of
// each namespace, then the second of each, and so on. What is active counts in
// its namespace: who has much already comes later. A migration's place among
// its namespace's never falls: only older ones come before it, and they end.
func order(all []Migration) []*Migration {
	byAge := make([]*Migration, len(all))
	for i := range all {
		byAge[i] = &all[i]
	}
	slices.SortFunc(byAge, older)
	seen, ranks := map[string]int{}, make([][]*Migration, 0, len(all))
	for _, m := range byAge {
		rank := seen[m.Namespace]
		seen[m.Namespace]++
		if rank == len(ranks) {
			ranks = append(ranks, nil)
		}
		if !m.Active {
			ranks[rank] = append(ranks[rank], m)
		}
	}
	return slices.Concat(ranks...)
}

// older orders by age. The API's times are whole seconds: names decide the rest.
func older(a, b *Migration) int {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
}

// place is a node, for those under a policy; without a policy for all, without a
// node the whole cluster.
type place struct{ policy, node string }

// tally is what is taken already.
type tally struct {
	limits Limits
	used   map[place]int      // active
	kept   map[place]int      // kept for those that were asked already and have to wait
	pods   map[types.UID]bool // of everybody who was asked
}

func (t *tally) begin(m *Migration) {
	for _, policy := range m.policies() {
		t.used[place{policy: policy}]++
		for _, n := range m.nodes() {
			t.used[place{policy, n}]++
		}
	}
	for _, p := range m.Pods {
		t.pods[p] = true
	}
}

// judge answers for the next in the order. One that finds a node full keeps a
// place on each of its nodes: others may pass it where there is room for both,
// and the room that it waits for is not taken by those who come after it. One that
// its own policy holds up keeps places from those under the same policy only.
func (t *tally) judge(m *Migration) Verdict {
	if slices.ContainsFunc(m.Pods, func(p types.UID) bool { return t.pods[p] }) {
		return Verdict{Reason: ReasonPod}
	}
	v := Verdict{Begin: true}
	for _, policy := range m.policies() {
		limits := t.limits
		if policy != "" {
			limits = m.Under
		}
		if v = t.room(m, policy, limits); v.Begin {
			continue
		}
		for _, n := range m.nodes() {
			t.kept[place{policy, n}]++
		}
		for _, p := range m.Pods {
			t.pods[p] = true
		}
		return v
	}
	t.begin(m)
	return v
}

// room looks whether a policy, or without one everybody, leaves a migration room.
func (t *tally) room(m *Migration, policy string, limits Limits) Verdict {
	v := Verdict{Begin: true}
	for _, n := range m.nodes() {
		at := place{policy, n}
		switch {
		case reached(limits.PerNode, t.used[at]):
			v = Verdict{Reason: ReasonNode, Node: n, Policy: policy}
		case v.Begin && reached(limits.PerNode, t.used[at]+t.kept[at]):
			v = Verdict{Reason: ReasonTurn, Node: n, Policy: policy}
		}
	}
	if v.Reason != ReasonNode && reached(limits.Migrations, t.used[place{policy: policy}]) {
		v = Verdict{Reason: ReasonCluster, Policy: policy}
	}
	return v
}

// everybody is whose limits hold for a migration without a policy.
var everybody = []string{""}

// policies are whose limits hold: its policy's, and then everybody's.
func (m *Migration) policies() []string {
	if m.Policy == "" {
		return everybody
	}
	return []string{m.Policy, ""}
}

func reached(limit, n int) bool { return limit > 0 && n >= limit }

// nodes are the nodes that are known, each once.
func (m *Migration) nodes() []string {
	nodes := make([]string, 0, len(m.Nodes))
	for _, n := range m.Nodes {
		if n != "" && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}
