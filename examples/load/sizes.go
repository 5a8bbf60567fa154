package load

import (
	"encoding/binary"
	"math"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

// Sizes are the sizes of bodies, in bytes.
type Sizes struct{ Min, Max int }

// of is the size of a message's body: the same whenever it is asked. As many
// are between 100 and 200 bytes as between 500 kB and 1 MB, so that both the small and
// the big occur; each producer's first and second are the smallest and the biggest.
func (s Sizes) of(producer string, seq uint64) int {
	switch {
	case s.Max <= s.Min || seq == 1:
		return s.Min
	case seq == 2:
		return s.Max
	}
	sum := ledger.Body([]byte("size of " + ledger.MessageID(producer, seq)))
	x := float64(binary.BigEndian.Uint64(sum[:])) / math.MaxUint64
	return int(float64(s.Min) * math.Pow(float64(s.Max)/float64(s.Min), x))
}
