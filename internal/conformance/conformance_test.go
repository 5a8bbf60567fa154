package conformance_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/internal/conformance"
	"ms2m.dev/ms2m/sdk/brokertest"
)

// TestLibrary: the Go library conforms, in every clause that there is.
func TestLibrary(t *testing.T) {
	dir := t.TempDir()
	broker, err := brokertest.Start(dir)
	if err != nil {
		t.Fatal("this test needs RabbitMQ:", err)
	}
	t.Cleanup(func() {
		if err := broker.Stop(); err != nil {
			t.Error(err)
		}
	})
	program := filepath.Join(dir, "conformant")
	build := exec.Command("go", "build", "-o", program, "./conformant")
	build.Dir = filepath.Join("..", "..", "examples")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var said bytes.Buffer
	cfg := conformance.Config{URL: broker.URL, Command: []string{program}, Dir: dir, Patience: 20 * time.Second}
	if !conformance.Run(t.Context(), cfg, regexp.MustCompile(""), 4, &said) {
		t.Errorf("%s", said.String())
	}
}

// TestOutcome: what was not checked does not pass, and a line says what was wrong.
func TestOutcome(t *testing.T) {
	clause := conformance.Clause{ID: "a.b", Text: "It is so."}
	for _, c := range []struct {
		r    conformance.Result
		ends string
		ok   bool
		says string
	}{
		{conformance.Result{Clause: clause, Checked: true}, "", true, "ok    a.b"},
		{conformance.Result{Clause: clause}, "", false, "not reached"},
		{conformance.Result{Clause: clause, Checked: true, Want: "one", Got: "two"}, "", false, "expected: one\n      got:      two"},
		{conformance.Result{Clause: clause, Checked: true}, "no answer", false, "no answer"},
	} {
		out := conformance.Outcome{Scenario: "s", Results: []conformance.Result{c.r}, Ended: c.ends}
		var b bytes.Buffer
		out.Print(&b)
		if out.OK() != c.ok || !strings.Contains(b.String(), c.says) {
			t.Errorf("%+v: %v, %s", c.r, out.OK(), b.String())
		}
	}
}

// TestClauses: every clause has a name of its own.
func TestClauses(t *testing.T) {
	seen := map[string]bool{}
	for _, sc := range conformance.Scenarios {
		for _, c := range sc.Clauses {
			if seen[c.ID] {
				t.Errorf("%s twice", c.ID)
			}
			seen[c.ID] = true
		}
	}
}
