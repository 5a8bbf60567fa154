package handover

import (
	"maps"
	"slices"
)

// Clone is what a checkpoint does to an instance: the copy knows all that the
// original knew at that moment. It is meant for simulations and tests; items in
// hand are copied without their payloads being.
func (in *Instance) Clone() *Instance {
	c := *in
	c.out = nil
	c.buffer = slices.Clone(in.buffer)
	c.entries = slices.Clone(in.entries)
	c.ended = slices.Clone(in.ended)
	c.rate.samples = slices.Clone(in.rate.samples)
	c.items = make([]*Item, len(in.items))
	for i, it := range in.items {
		twin := *it
		c.items[i] = &twin
		if it == in.current {
			c.current = &twin
		}
	}
	m := *in.finished
	m.outcome, m.ring = maps.Clone(m.outcome), slices.Clone(m.ring)
	c.finished = &m
	return &c
}

// SetDigest replaces Config.Digest: the copy's state is another object than the
// original's, which a real checkpoint need not care about.
func (in *Instance) SetDigest(f func() []byte) { in.cfg.Digest = f }
