package nodefacts_test

import (
	"strings"
	"testing"

	"ms2m.dev/ms2m/internal/nodefacts"
)

func TestCPUInfo(t *testing.T) {
	for name, tc := range map[string]struct{ text, model, flags string }{
		"x86":               {"processor\t: 0\nmodel\t\t: 85\nmodel name\t: A: processor\nflags\t\t: sse fpu\nbugs\t\t: l1tf\n\nprocessor\t: 1\nmodel name\t: A: processor\nflags\t\t: sse fpu\n", "A: processor", "fpu sse"},
		"unlike processors": {"model name\t: big\nflags\t: b a c\n\nmodel name\t: small\nflags\t: c b d\n", "big", "b c"},
		"arm64":             {"processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "implementer 0x41 part 0xd0c", "asimd fp"},
		"no end of line":    {"flags: a", "", "a"},
		"nothing":           {"", "", ""},
	} {
		if model, flags := nodefacts.CPUInfo(tc.text); model != tc.model || strings.Join(flags, " ") != tc.flags {
			t.Errorf("%s: %q %q", name, model, flags)
		}
	}
}
