package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestNoFailpoints: the manager that is shipped contains none of them.
func TestNoFailpoints(t *testing.T) {
	const failpoints = "ms2m.dev/ms2m/internal/failpoint"
	deps := func(args ...string) []string {
		out, err := exec.Command("go", append(append([]string{"list", "-deps"}, args...), ".")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	if slices.Contains(deps(), failpoints) {
		t.Errorf("it depends on %s", failpoints)
	}
	if !slices.Contains(deps("-tags", "failpoints"), failpoints) {
		t.Errorf("with the tag failpoints it does not depend on %s", failpoints)
	}
}
