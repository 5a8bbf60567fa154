// Package tables holds the tables of docs/faults.md and docs/security.md against the
// tests that they name.
package tables

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// faults is how many there are in the design.
const faults = 41

var (
	root   = filepath.Join("..", "..")
	named  = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)")
	tested = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
)

// Every fault has a row, and each row a test that there is, or says that it is open.
func TestFaults(t *testing.T) {
	tests := allTests(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 4 || !regexp.MustCompile(`^\d+$`).MatchString(strings.TrimSpace(cells[0])) {
			continue
		}
		n, shown := strings.TrimSpace(cells[0]), cells[3]
		if seen[n] {
			t.Errorf("row %s: twice", n)
		}
		seen[n] = true
		names := named.FindAllStringSubmatch(shown, -1)
		if len(names) == 0 && !strings.Contains(shown, "**open**") {
			t.Errorf("row %s: neither a test nor **open**: %s", n, shown)
		}
		for _, name := range names {
			if !tests[name[1]] {
				t.Errorf("row %s: there is no %s", n, name[1])
			}
		}
	}
	for n := range faults {
		if !seen[fmt.Sprint(n+1)] {
			t.Errorf("row %d is missing", n+1)
		}
	}
}

// allTests are the names of all tests in the repository.
func allTests(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range tested.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
