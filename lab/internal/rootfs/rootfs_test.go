package rootfs

import (
	"strings"
	"testing"

	"ms2m.dev/ms2m/lab/internal/versions"
)

func TestUpstream(t *testing.T) {
	for in, want := range map[string]string{
		"4.1.1-1":           "4.1.1",
		"1.1.15+ds1-2+b4":   "1.1.15",
		"4.0.5-6+deb13u2":   "4.0.5",
		"1:27.3.4.1+dfsg-1": "27.3.4.1",
		"2.0":               "2.0",
	} {
		if got := upstream(in); got != want {
			t.Errorf("upstream(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCheckSaysWhatDiffers(t *testing.T) {
	const status = `Package: criu
Status: install ok installed
Version: 9.9-1
Description: checkpoint
 more: text

Package: runc
Version: 1.1.15+ds1-2
`
	installed, err := parseStatus(strings.NewReader(status))
	if err != nil {
		t.Fatal(err)
	}
	err = check(installed)
	if err == nil || !strings.Contains(err.Error(), "criu is 9.9-1") || !strings.Contains(err.Error(), "jq is not installed") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "runc") {
		t.Errorf("runc is as pinned: %v", err)
	}
}

func TestCheckAcceptsWhatWasTried(t *testing.T) {
	installed := map[string]string{}
	for _, p := range versions.DebianPackages {
		installed[p.Name] = p.Upstream + "+ds-1"
	}
	if err := check(installed); err != nil {
		t.Error(err)
	}
}
