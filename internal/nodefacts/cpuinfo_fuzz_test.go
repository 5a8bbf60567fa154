package nodefacts_test

import (
	"slices"
	"strings"
	"testing"

	"ms2m.dev/ms2m/internal/nodefacts"
)

func FuzzCPUInfo(f *testing.F) {
	f.Add("model name\t: x\nflags\t: b a\n\nflags: a c\n")
	f.Add("Features: \xff a\r\n:\nflags")
	f.Fuzz(func(t *testing.T, text string) {
		model, flags := nodefacts.CPUInfo(text)
		if !slices.IsSorted(flags) || len(slices.Compact(slices.Clone(flags))) != len(flags) {
			t.Errorf("flags %q", flags)
		}
		for _, s := range flags {
			if s == "" || !strings.Contains(text, s) || strings.ContainsAny(s, " \t\n") {
				t.Errorf("flag %q", s)
			}
		}
		if strings.Contains(model, "\n") {
			t.Errorf("model %q", model)
		}
		// A processor more can only take flags away.
		if _, less := nodefacts.CPUInfo(text + "\nflags: a\n"); len(flags) > 0 && len(less) > 1 {
			t.Errorf("%q after %q", less, flags)
		}
	})
}
