package metrics_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// TestEveryReasonIsKnown: a reason that somebody adds shows by its own name.
func TestEveryReasonIsKnown(t *testing.T) {
	r := newRecorder(t)
	n := 0
	for _, file := range []string{"../migration/errors.go", "../../api/v1alpha1/checkpointtransfer_types.go", "../../sdk/handover/wire.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || !strings.Contains(spec.Names[0].Name, "Reason") || len(spec.Values) != 1 {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				n++
				r.Failed(strings.Trim(lit.Value, `"`))
			}
			return true
		})
	}
	if n < 60 {
		t.Fatalf("only %d reasons were found", n)
	}
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "ms2m_action_failures_total" && m.GetLabel()[0].GetValue() == "Other" {
				t.Errorf("%v of them are not known", m.GetCounter().GetValue())
			}
		}
	}
}
