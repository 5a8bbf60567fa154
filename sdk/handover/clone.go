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
	c.rate.samples, c.effort.samples = slices.Clone(in.rate.samples), slices.Clone(in.effort.samples)
	c.items, c.running = twins(in.items), twins(in.running)
	c.ahead = maps.Clone(in.ahead)
	c.finished = in.finished.clone()
	return &c
}

func twins(items []*Item) []*Item {
	out := make([]*Item, len(items))
	for i, it := range items {
		twin := *it
		out[i] = &twin
	}
	return out
}

// SetDigest replaces Config.Digest: the copy's state is another object than the
// original's, which a real checkpoint need not care about.
func (in *Instance) SetDigest(f func() []byte) { in.cfg.Digest = f }
