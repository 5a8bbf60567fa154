// Package plan is the lab's address plan. Every lab has the same addresses: its
// network is linked to nothing outside, so that labs do not meet.
package plan

import (
	"fmt"
	"net/netip"
)

// The control plane's machine.
const (
	ControlPlane = "ctl"
	Address      = "10.99.0.1"
	APIServer    = "https://" + Address + ":6443"
	Registry     = Address + ":5000"
	AMQPUser     = "ms2m"
	AMQPPassword = "ms2m-lab"
	AMQP         = "amqp://" + AMQPUser + ":" + AMQPPassword + "@" + Address + ":5672/"
)

// The cluster's networks.
const (
	Prefix      = 24 // of the machines' network
	ServiceCIDR = "10.98.0.0/24"
	APIService  = "10.98.0.1" // first of ServiceCIDR
)

// PauseImage is the sandbox image, pushed by up.
const PauseImage = Registry + "/pause:1"

// MaxNodes is the number of letters to name them with.
const MaxNodes = 26

const firstHost = 11

// Node is a worker's place in the plan.
type Node struct {
	Name    string       `json:"name"`
	Address netip.Addr   `json:"address"`
	PodCIDR netip.Prefix `json:"podCIDR"`
}

// Nodes returns the first n workers.
func Nodes(n int) ([]Node, error) {
	if n < 1 || n > MaxNodes {
		return nil, fmt.Errorf("the number of nodes must be between 1 and %d, not %d", MaxNodes, n)
	}
	nodes := make([]Node, n)
	for i := range nodes {
		host := byte(firstHost + i)
		nodes[i] = Node{
			Name:    "node-" + string(rune('a'+i)),
			Address: netip.AddrFrom4([4]byte{10, 99, 0, host}),
			PodCIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, host, 0}), 24),
		}
	}
	return nodes, nil
}
