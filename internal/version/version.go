// Package version says which MS2M a program is.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version and revision are set by the linker where there is no repository to ask,
// as in the build of an image: -ldflags "-X ms2m.dev/ms2m/internal/version.version=v1.2.3".
var version, revision string

// String is the version, the commit, Go's version and the platform.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(version, revision, info)
}

func describe(version, revision string, info *debug.BuildInfo) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision = cmp.Or(revision, settings["vcs.revision"], "unknown")
	if settings["vcs.modified"] == "true" {
		revision += "+changes"
	}
	return fmt.Sprintf("%s (commit %s, %s, %s/%s)",
		cmp.Or(version, info.Main.Version, "(devel)"), revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
