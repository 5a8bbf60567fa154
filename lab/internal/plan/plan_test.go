package plan

import (
	"net/netip"
	"testing"
)

func TestNodes(t *testing.T) {
	nodes, err := Nodes(3)
	if err != nil {
		t.Fatal(err)
	}
	c := nodes[2]
	if c.Name != "node-c" || c.Address.String() != "10.99.0.13" || c.PodCIDR.String() != "10.99.13.0/24" {
		t.Errorf("third node is %+v", c)
	}
}

func TestNodesDoNotOverlap(t *testing.T) {
	nodes, err := Nodes(MaxNodes)
	if err != nil {
		t.Fatal(err)
	}
	taken := []netip.Prefix{netip.MustParsePrefix("10.99.0.0/24"), netip.MustParsePrefix(ServiceCIDR)}
	for _, n := range nodes {
		for _, p := range taken {
			if p.Overlaps(n.PodCIDR) {
				t.Errorf("%s: %v overlaps %v", n.Name, n.PodCIDR, p)
			}
		}
		taken = append(taken, n.PodCIDR)
	}
	if !netip.MustParsePrefix(ServiceCIDR).Contains(netip.MustParseAddr(APIService)) {
		t.Error("the API server's service address lies outside of the service network")
	}
}

func TestNodesRefusesImpossibleCounts(t *testing.T) {
	for _, n := range []int{-1, 0, MaxNodes + 1} {
		if _, err := Nodes(n); err == nil {
			t.Errorf("Nodes(%d) succeeded", n)
		}
	}
}
