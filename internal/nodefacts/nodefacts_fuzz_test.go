package nodefacts_test

import (
	"testing"

	"ms2m.dev/ms2m/internal/nodefacts"
)

// FuzzDecode compares whatever two agents may have written. A node fits itself, by
// whatever it says, and a refusal is a text for a condition, not the whole of a fact.
func FuzzDecode(f *testing.F) {
	f.Add(`{"kernel":"6.12.1","criu":"4.1","features":["cx8","avx"]}`, `{"kernel":"5.0","criu":"3.19","features":["cx8"]}`)
	f.Add(`{"kernel":"99999999999999999999.1","criu":"..","features":[""]}`, `{"kernel":"1.2","criu":"4"}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		source, err := nodefacts.Decode(a)
		if err != nil {
			return
		}
		if why := nodefacts.Incompatible(source, source); why != "" {
			t.Errorf("%s does not fit itself: %s", a, why)
		}
		if target, err := nodefacts.Decode(b); err == nil {
			nodefacts.Incompatible(source, target)
		}
	})
}
