package nodefacts_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/nodefacts"
)

func facts(change ...func(*v1alpha1.NodeFacts)) v1alpha1.NodeFacts {
	f := v1alpha1.NodeFacts{
		Kernel: "6.12.85+deb13-amd64", CRIU: "4.1.1", CPU: "A processor",
		Features:         strings.Fields("avx avx2 cx8 fpu pti sse sse2"),
		ArchiveFreeBytes: 1 << 30, StageFreeBytes: 1 << 31,
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

func kernel(v string) func(*v1alpha1.NodeFacts) { return func(f *v1alpha1.NodeFacts) { f.Kernel = v } }
func criu(v string) func(*v1alpha1.NodeFacts)   { return func(f *v1alpha1.NodeFacts) { f.CRIU = v } }
func flags(v string) func(*v1alpha1.NodeFacts) {
	return func(f *v1alpha1.NodeFacts) { f.Features = strings.Fields(v) }
}

func TestIncompatible(t *testing.T) {
	for name, tc := range map[string]struct {
		source, target func(*v1alpha1.NodeFacts)
		want           string // a part of the reason; empty: none
	}{
		"the same":                    {},
		"older kernel":                {target: kernel("6.1.0-1-amd64"), want: "the target's kernel 6.1.0-1-amd64 is older than the source's, 6.12.85+deb13-amd64"},
		"older major kernel":          {target: kernel("5.14.0-427.el9.x86_64"), want: "kernel"},
		"newer kernel":                {target: kernel("7.0-rc1")},
		"kernel with fewer fixes":     {target: kernel("6.12.4")},
		"kernel by number, no string": {source: kernel("6.9.0"), target: kernel("6.10.0")},
		"kernel not known":            {target: kernel("")},
		"older CRIU":                  {target: criu("4.1"), want: "the target's CRIU 4.1 is older than the source's, 4.1.1"},
		"CRIU with more fixes":        {target: criu("4.1.2")},
		"newer CRIU":                  {target: criu("4.2"), want: "the target's CRIU is 4.2, the source's 4.1.1"},
		"older minor CRIU":            {target: criu("4.0.9"), want: "older"},
		"older major CRIU":            {target: criu("3.19"), want: "older"},
		"CRIU not known":              {source: criu("")},
		"more features":               {target: flags("avx avx2 avx512f cx8 fpu sse sse2")},
		"a workaround less":           {target: flags("avx avx2 cx8 fpu sse sse2")},
		"a feature less":              {target: flags("avx cx8 fpu pti sse sse2"), want: "lacks avx2, which"},
		"the order does not count":    {target: flags("sse2 sse fpu cx8 avx2 avx")},
		"many features less": {source: flags("cx8 avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni"), target: flags("cx8"),
			want: "lacks avx512_vnni, avx512bw, avx512cd, avx512dq, avx512f and 1 more, which"},
		"features not known":       {target: flags("")},
		"another architecture":     {target: flags("fp asimd evtstrm"), want: "lacks"},
		"arm64, a feature less":    {source: flags("fp asimd evtstrm sve"), target: flags("fp asimd evtstrm"), want: "lacks sve, which"},
		"arm64, an event less":     {source: flags("fp asimd evtstrm"), target: flags("fp asimd")},
		"arm64 on x86 by mischief": {source: flags("fp asimd"), want: "lacks asimd, fp"},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := facts(), facts()
			if tc.source != nil {
				tc.source(&source)
			}
			if tc.target != nil {
				tc.target(&target)
			}
			if got := nodefacts.Incompatible(source, target); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	want := facts()
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := nodefacts.Decode(string(data)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "{", `{"features":"sse"}`} {
		if _, err := nodefacts.Decode(bad); err == nil || !strings.Contains(err.Error(), v1alpha1.AnnotationNodeFacts) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
