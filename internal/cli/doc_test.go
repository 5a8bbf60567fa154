package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

const (
	docFile = "../../docs/cli.md"
	docMark = "`go test ./internal/cli -run TestDoc -update`.\n"
)

// TestDoc: docs/cli.md has the help of every verb, as the program gives it.
func TestDoc(t *testing.T) {
	page, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(page), docMark)
	if !found {
		t.Fatalf("%s has no %q", docFile, docMark)
	}
	var b strings.Builder
	b.WriteString(head + docMark)
	root := newEnv(genericiooptions.NewTestIOStreamsDiscard(), "kubectl ms2m").root()
	for _, verb := range root.Commands() {
		writeVerb(&b, verb)
	}
	if *update {
		if err := os.WriteFile(docFile, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(page), b.String()); diff != "" {
		t.Errorf("%s is not up to date (-it +the program): go test ./internal/cli -run TestDoc -update\n%s", docFile, diff)
	}
}

func writeVerb(w io.Writer, verb *cobra.Command) {
	text := verb.Long
	if text == "" {
		text = verb.Short + "."
	}
	fmt.Fprintf(w, "\n### %s\n\n%s\n", verb.Name(), text)
	fmt.Fprintf(w, "\n```text\n%s\n", verb.UseLine())
	if verb.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", verb.Example)
	}
	if flags := verb.LocalNonPersistentFlags().FlagUsages(); flags != "" {
		fmt.Fprintf(w, "\nFlags:\n%s", flags)
	}
	fmt.Fprint(w, "```\n")
}

// TestCalled: the program's texts follow the name that it was called by.
func TestCalled(t *testing.T) {
	for arg0, want := range map[string]string{
		"/usr/local/bin/kubectl-ms2m": "kubectl ms2m list -A", "kubectl-ms2m": "Usage:\n  kubectl ms2m list", "./ms2m": "Usage:\n  ms2m list",
	} {
		var out strings.Builder
		e := newEnv(genericiooptions.IOStreams{Out: &out, ErrOut: &out}, called(arg0))
		if code := e.run(t.Context(), []string{"list", "--help"}); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: code %d, want it to say %q:\n%s", arg0, code, want, out.String())
		}
	}
}
