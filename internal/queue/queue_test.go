package queue_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"ms2m.dev/ms2m/internal/queue"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at is a migration that came in the given second.
func at(second int, namespace, name string, nodes ...string) queue.Migration {
	return queue.Migration{
		UID: types.UID(namespace + "/" + name), Namespace: namespace, Name: name,
		Created: start.Add(time.Duration(second) * time.Second), Nodes: nodes,
	}
}

func active(m queue.Migration) queue.Migration { m.Active = true; return m }

// under puts a migration under a policy.
func under(m queue.Migration, policy string, limits queue.Limits) queue.Migration {
	m.Policy, m.Under = policy, limits
	return m
}

func of(m queue.Migration, pods ...types.UID) queue.Migration { m.Pods = pods; return m }

func TestDecide(t *testing.T) {
	t.Parallel()
	begin := queue.Verdict{Begin: true}
	one, onePerNode := queue.Limits{Migrations: 1}, queue.Limits{PerNode: 1}
	for name, test := range map[string]struct {
		all    []queue.Migration
		limits queue.Limits
		want   map[types.UID]queue.Verdict
	}{
		"nobody is there": {want: map[types.UID]queue.Verdict{}},
		"the oldest first": {
			all:    []queue.Migration{at(2, "x", "b", "n1"), at(1, "x", "c", "n2"), at(2, "x", "a", "n3")},
			limits: queue.Limits{Migrations: 2, PerNode: 2},
			want:   map[types.UID]queue.Verdict{"x/c": begin, "x/a": begin, "x/b": {Reason: queue.ReasonCluster}},
		},
		"who has much comes later": {
			all: []queue.Migration{
				active(at(1, "x", "a", "n1")), active(at(2, "x", "b", "n1")), at(3, "x", "c", "n2"), at(9, "y", "a", "n2"),
			},
			limits: queue.Limits{Migrations: 3, PerNode: 2},
			want:   map[types.UID]queue.Verdict{"y/a": begin, "x/c": {Reason: queue.ReasonCluster}},
		},
		"a full node does not hold up those for others": {
			all: []queue.Migration{
				active(at(1, "x", "a", "n1", "n2")), at(2, "x", "b", "n1", "n3"), at(3, "x", "c", "n3", "n4"), at(4, "x", "d", "n5"),
			},
			limits: queue.Limits{Migrations: 9, PerNode: 1},
			want: map[types.UID]queue.Verdict{
				"x/b": {Reason: queue.ReasonNode, Node: "n1"},
				// n3 has room, which is kept for b.
				"x/c": {Reason: queue.ReasonTurn, Node: "n3", Ahead: 1},
				"x/d": {Begin: true, Ahead: 2},
			},
		},
		"there is room for both": {
			all: []queue.Migration{
				active(at(1, "x", "a", "n1")), active(at(1, "x", "b", "n1")), at(2, "x", "c", "n1", "n3"), at(3, "x", "d", "n3", "n4"),
			},
			limits: queue.Limits{Migrations: 9, PerNode: 2},
			want:   map[types.UID]queue.Verdict{"x/c": {Reason: queue.ReasonNode, Node: "n1"}, "x/d": {Begin: true, Ahead: 1}},
		},
		"a node that is not known yet does not count": {
			all:    []queue.Migration{active(at(1, "x", "a", "n1", "")), at(2, "x", "b", "n2", "")},
			limits: queue.Limits{Migrations: 2, PerNode: 1},
			want:   map[types.UID]queue.Verdict{"x/b": begin},
		},
		"one at a time for a pod": {
			all: []queue.Migration{
				of(active(at(1, "x", "a")), "p1", "p1-copy"), of(at(2, "x", "b"), "p1-copy"), of(at(2, "x", "c"), "p2"), of(at(3, "x", "d"), "p2"),
			},
			limits: queue.Limits{Migrations: 9, PerNode: 9},
			want:   map[types.UID]queue.Verdict{"x/b": {Reason: queue.ReasonPod}, "x/c": {Begin: true, Ahead: 1}, "x/d": {Reason: queue.ReasonPod, Ahead: 1}},
		},
		"a policy's limit is for those under it": {
			all: []queue.Migration{
				active(under(at(1, "x", "a", "n1"), "p", one)), under(at(2, "x", "b", "n2"), "p", one), under(at(3, "x", "c", "n2"), "q", one), at(4, "x", "d", "n2"),
			},
			limits: queue.Limits{Migrations: 9, PerNode: 9},
			want: map[types.UID]queue.Verdict{
				"x/b": {Reason: queue.ReasonCluster, Policy: "p"}, "x/c": {Begin: true, Ahead: 1}, "x/d": {Begin: true, Ahead: 1},
			},
		},
		"a policy's limit for a node, and who keeps a place there": {
			all: []queue.Migration{
				active(under(at(1, "x", "a", "n1"), "p", onePerNode)), under(at(2, "x", "b", "n1", "n2"), "p", onePerNode),
				under(at(3, "x", "c", "n2", "n3"), "p", onePerNode), at(4, "x", "d", "n2"),
			},
			limits: queue.Limits{Migrations: 9, PerNode: 1},
			want: map[types.UID]queue.Verdict{
				"x/b": {Reason: queue.ReasonNode, Node: "n1", Policy: "p"},
				"x/c": {Reason: queue.ReasonTurn, Node: "n2", Policy: "p", Ahead: 1},
				"x/d": {Begin: true, Ahead: 2}, // the policy holds up its own only
			},
		},
		"everybody's limit holds beside the policy's": {
			all:    []queue.Migration{active(at(1, "x", "a", "n1")), under(at(2, "x", "b", "n1"), "p", queue.Limits{Migrations: 5, PerNode: 5})},
			limits: queue.Limits{PerNode: 1},
			want:   map[types.UID]queue.Verdict{"x/b": {Reason: queue.ReasonNode, Node: "n1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, queue.Decide(test.all, test.limits)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// policyLimits are those of the policies that are drawn.
var policyLimits = map[string]queue.Limits{"p": {Migrations: 2, PerNode: 1}, "q": {PerNode: 1}}

func draw(t *rapid.T, i int) queue.Migration {
	node := rapid.StringMatching("n[1-4]?") // also one that is not known
	m := at(rapid.IntRange(0, 5).Draw(t, "second"), rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "namespace"), fmt.Sprint(i),
		node.Draw(t, "source"), node.Draw(t, "target"))
	m.Pods = []types.UID{types.UID(rapid.StringMatching("p[0-9]").Draw(t, "pod"))}
	if policy := rapid.SampledFrom([]string{"", "", "p", "q"}).Draw(t, "policy"); policy != "" {
		m = under(m, policy, policyLimits[policy])
	}
	m.Active = rapid.IntRange(0, 3).Draw(t, "one of four is active") == 0
	return m
}

// TestAnyQueue decides about any migrations there can be.
func TestAnyQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := queue.Limits{Migrations: rapid.IntRange(1, 6).Draw(t, "limit"), PerNode: rapid.IntRange(1, 3).Draw(t, "limit per node")}
		var all []queue.Migration
		for i := range rapid.IntRange(0, 20).Draw(t, "migrations") {
			all = append(all, draw(t, i))
		}
		verdicts := queue.Decide(all, limits)
		if diff := cmp.Diff(verdicts, queue.Decide(rapid.Permutation(all).Draw(t, "in another order"), limits)); diff != "" {
			t.Fatalf("another order, another answer: %s", diff)
		}
		before, after, begun := count(all), count(all), 0
		waiting := 0
		for _, m := range all {
			v, asked := verdicts[m.UID]
			switch {
			case asked == m.Active:
				t.Fatalf("%s: active %t, asked %t", m.UID, m.Active, asked)
			case v.Begin:
				after.add(m)
				begun++
			case asked:
				waiting++
			}
		}
		if begun > 0 && after.total > limits.Migrations {
			t.Fatalf("%d are active", after.total)
		}
		for n, c := range after.nodes {
			if c > before.nodes[n] && c > limits.PerNode {
				t.Fatalf("%d are active on %s", c, n)
			}
		}
		for p, c := range after.under {
			limits := policyLimits[p[0]]
			limit := limits.Migrations
			if p[1] != "" {
				limit = limits.PerNode
			}
			if c > before.under[p] && limit > 0 && c > limit {
				t.Fatalf("%d are active of the policy %q on %q", c, p[0], p[1])
			}
		}
		for p, c := range after.pods {
			if c > before.pods[p] && c > 1 {
				t.Fatalf("%d have the pod %s", c, p)
			}
		}
		if before.total == 0 && waiting > 0 && begun == 0 {
			t.Fatal("nothing is active, and nobody may begin")
		}
	})
}

type counts struct {
	total int
	nodes map[string]int
	pods  map[types.UID]int
	under map[[2]string]int // by policy, and by policy and node
}

func count(all []queue.Migration) *counts {
	c := &counts{nodes: map[string]int{}, pods: map[types.UID]int{}, under: map[[2]string]int{}}
	for _, m := range all {
		if m.Active {
			c.add(m)
		}
	}
	return c
}

func (c *counts) add(m queue.Migration) {
	c.total++
	c.under[[2]string{m.Policy}]++
	nodes := slices.Clone(m.Nodes)
	slices.Sort(nodes)
	for _, n := range slices.Compact(nodes) {
		if n != "" {
			c.nodes[n]++
			c.under[[2]string{m.Policy, n}]++
		}
	}
	for _, p := range m.Pods {
		c.pods[p]++
	}
}

// TestNobodyWaitsForEver lets others come all the time, from old namespaces and
// new ones. Whoever is the oldest of all is the first who is asked, so it begins
// as soon as those have ended that are active then; and so on.
func TestNobodyWaitsForEver(t *testing.T) {
	t.Parallel()
	const longest = 3 // rounds that one is active
	rapid.Check(t, func(t *rapid.T) {
		limits := queue.Limits{Migrations: rapid.IntRange(1, 4).Draw(t, "limit"), PerNode: rapid.IntRange(1, 2).Draw(t, "limit per node")}
		there := map[types.UID]queue.Migration{}
		ends := map[types.UID]int{}   // by when it has ended
		begins := map[types.UID]int{} // by when it has to have begun
		for round := range 60 {
			for i := range rapid.IntRange(0, 2).Draw(t, "newcomers") {
				m := draw(t, i)
				m.Active, m.Pods, m.Created = false, nil, start.Add(time.Duration(round)*time.Second)
				if rapid.Bool().Draw(t, "of a new namespace") {
					m.Namespace = fmt.Sprintf("new-%d", round)
				}
				m.Name = fmt.Sprintf("%d-%d", round, i)
				m.UID = types.UID(m.Namespace + m.Name)
				there[m.UID] = m
				begins[m.UID] = round + 2*longest*len(there)
			}
			for uid, v := range queue.Decide(slices.Collect(maps.Values(there)), limits) {
				m := there[uid]
				switch {
				case v.Begin:
					m.Active = true
					there[uid], ends[uid] = m, round+rapid.IntRange(1, longest).Draw(t, "for")
				case round > begins[uid]:
					t.Fatalf("%s came in second %v, and has not begun in round %d: %+v", uid, m.Created, round, v)
				}
			}
			for uid, end := range ends {
				if end <= round {
					delete(there, uid)
					delete(ends, uid)
				}
			}
		}
	})
}

// TestTwoNodesAtOnce has one wait for two nodes, of which one is always in use
// by somebody younger who needs no other.
func TestTwoNodesAtOnce(t *testing.T) {
	t.Parallel()
	wants := at(1, "x", "wants-both", "n1", "n2")
	onOne, onTwo := active(at(0, "x", "a", "n1")), active(at(0, "x", "b", "n2"))
	for round := range 4 {
		young := []queue.Migration{at(10+round, "x", "young-1", "n1"), at(10+round, "x", "young-2", "n2")}
		in := onTwo
		if round%2 == 0 { // it has ended, and one on n1 is active
			in = onOne
		}
		verdicts := queue.Decide(slices.Concat(young, []queue.Migration{wants, in}), queue.Limits{Migrations: 9, PerNode: 1})
		if verdicts[young[0].UID].Begin || verdicts[young[1].UID].Begin {
			t.Fatalf("somebody younger takes one of the two nodes: %v", verdicts)
		}
	}
	if v := queue.Decide([]queue.Migration{wants, at(20, "x", "young", "n1")}, queue.Limits{Migrations: 9, PerNode: 1}); !v[wants.UID].Begin {
		t.Errorf("both are free: %v", v)
	}
}

// TestShares has two namespaces wait, one with much more: they get the same.
func TestShares(t *testing.T) {
	t.Parallel()
	var all []queue.Migration
	for i := range 50 {
		all = append(all, at(i, "much", fmt.Sprint(i)))
	}
	for i := range 5 {
		all = append(all, at(100+i, "little", fmt.Sprint(i)))
	}
	limits := queue.Limits{Migrations: 4, PerNode: 1}
	var begun []string
	for range 10 {
		verdicts := queue.Decide(all, limits)
		share := map[string]int{}
		for i, m := range all {
			if verdicts[m.UID].Begin {
				all[i].Active = true
				begun = append(begun, m.Namespace)
			}
			if all[i].Active {
				share[m.Namespace]++
			}
		}
		if share["much"] != share["little"] {
			t.Fatalf("%v are active, after %v", share, begun)
		}
		for _, namespace := range []string{"much", "little"} {
			i := slices.IndexFunc(all, func(m queue.Migration) bool { return m.Active && m.Namespace == namespace })
			all = slices.Delete(all, i, i+1) // one of each ends
		}
		if !slices.ContainsFunc(all, func(m queue.Migration) bool { return m.Namespace == "little" && !m.Active }) {
			return
		}
	}
	t.Fatalf("little's five have not begun: %v", begun)
}
