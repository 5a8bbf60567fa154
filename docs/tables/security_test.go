package tables

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// points is how many the design's list has.
const points = 8

var linked = regexp.MustCompile(`\]\(([^)#]+)\)`)

// TestSecurity: every point has a row, every row a test, every test and every manifest
// that is named is there, and every fuzz target that there is, is named.
func TestSecurity(t *testing.T) {
	tests := allTests(t)
	data, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for n := range points {
		row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %d \|.*$`, n+1)).FindAllString(text, -1)
		if len(row) != 1 || !named.MatchString(row[0]) {
			t.Errorf("point %d: %d rows, or none with a test", n+1, len(row))
		}
	}
	mentioned := map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		mentioned[m[1]] = true
		if !tests[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
	for name := range tests {
		if strings.HasPrefix(name, "Fuzz") && !mentioned[name] && name != "FuzzParse" { // of the simulated broker, a tool of tests
			t.Errorf("%s is not named", name)
		}
	}
	for _, m := range linked.FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(root, "docs", m[1])); err != nil {
			t.Error(err)
		}
	}
}
