package cluster

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"ms2m.dev/ms2m/lab/internal/plan"
)

// bridge joins the machines; it lies in the control plane's network namespace, so
// that the host's own network does not know of the lab.
const bridge = "br0"

// connect links every node to the control plane: both know where pods are.
func connect(control int, nodes []plan.Node, pids map[string]int) error {
	ctl, err := open(control)
	if err != nil {
		return fmt.Errorf("network of %s: %w", plan.ControlPlane, err)
	}
	defer ctl.Close()
	br, err := ctl.addBridge()
	if err != nil {
		return fmt.Errorf("make the bridge: %w", err)
	}
	for _, n := range nodes {
		if err := ctl.addNode(br, n, pids[n.Name]); err != nil {
			return fmt.Errorf("connect %s: %w", n.Name, err)
		}
		if err := setUpNode(n, nodes, pids[n.Name]); err != nil {
			return fmt.Errorf("network of %s: %w", n.Name, err)
		}
	}
	// Services are answered by the first node's kube-proxy.
	return ctl.addRoute(netip.MustParsePrefix(plan.ServiceCIDR), nodes[0].Address)
}

// network is a network namespace, with its loopback up.
type network struct{ *netlink.Handle }

func open(pid int) (network, error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return network{}, err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return network{}, err
	}
	n := network{h}
	if err := n.up("lo"); err != nil {
		h.Close()
		return network{}, err
	}
	return n, nil
}

func (n network) addBridge() (netlink.Link, error) {
	if err := n.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}); err != nil {
		return nil, err
	}
	if err := n.addAddress(bridge, netip.MustParseAddr(plan.Address)); err != nil {
		return nil, err
	}
	if err := n.up(bridge); err != nil {
		return nil, err
	}
	return n.LinkByName(bridge)
}

// addNode makes the pair of links whose other end is the node's eth0.
func (n network) addNode(br netlink.Link, node plan.Node, pid int) error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: "to-" + node.Name, MasterIndex: br.Attrs().Index},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsPid(pid),
	}
	if err := n.LinkAdd(pair); err != nil {
		return err
	}
	if err := n.up(pair.Name); err != nil {
		return err
	}
	return n.addRoute(node.PodCIDR, node.Address)
}

// setUpNode gives the node its address and the routes to all other pods.
func setUpNode(node plan.Node, all []plan.Node, pid int) error {
	n, err := open(pid)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.addAddress("eth0", node.Address); err != nil {
		return err
	}
	if err := n.up("eth0"); err != nil {
		return err
	}
	if err := n.addRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr(plan.Address)); err != nil {
		return err
	}
	for _, other := range all {
		if other == node {
			continue
		}
		if err := n.addRoute(other.PodCIDR, other.Address); err != nil {
			return err
		}
	}
	return nil
}

func (n network) up(name string) error {
	link, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	return n.LinkSetUp(link)
}

func (n network) addAddress(name string, a netip.Addr) error {
	link, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	return n.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, plan.Prefix))})
}

func (n network) addRoute(to netip.Prefix, via netip.Addr) error {
	if err := n.RouteAdd(&netlink.Route{Dst: ipNet(to), Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("route %s via %s: %w", to, via, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
