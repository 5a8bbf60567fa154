package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	stamped := &debug.BuildInfo{
		Main:     debug.Module{Version: "v0.0.0-20261126-abc"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}},
	}
	for name, tc := range map[string]struct {
		version, revision string
		info              *debug.BuildInfo
		want              string
	}{
		"linked":         {"v1.2.3", "def", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "v1.2.3 (commit def, go"},
		"from the tree":  {"", "", stamped, "v0.0.0-20261126-abc (commit abc+changes, go"},
		"nothing known":  {"", "", &debug.BuildInfo{}, "(devel) (commit unknown, go"},
		"linked, a tree": {"v1.2.3", "", stamped, "v1.2.3 (commit abc+changes, go"},
	} {
		if got := describe(tc.version, tc.revision, tc.info); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
