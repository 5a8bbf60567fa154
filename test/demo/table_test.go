package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/counter/ledger"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

// goodRun is a migration without a fault.
func goodRun() result {
	memory := ledger.State{Mark: "MARKOFMEMORY", StartedAt: time.Unix(1, 0), Count: 10}
	m := &v1alpha1.StatefulMigration{Status: v1alpha1.StatefulMigrationStatus{
		Phase: v1alpha1.PhaseCompleted, SourceNode: "a", TargetNode: "b",
	}}
	return result{Move: &harness.Move{
		Outcome: harness.Outcome{
			Verdict: load.Verdict{Sent: 10, Counted: 10, ChainEqual: true},
			Begin:   memory, End: memory,
		},
		Migration: m,
		Target:    &corev1.Pod{Spec: corev1.PodSpec{NodeName: "b"}},
	}}
}

func TestGood(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*result)
		want  bool
	}{
		"nothing wrong":         {func(*result) {}, true},
		"an error":              {func(r *result) { r.err = errors.New("any") }, false},
		"did not end":           {func(r *result) { r.Move = nil }, false},
		"lost":                  {func(r *result) { r.State.Lost = 1 }, false},
		"an output doubled":     {func(r *result) { r.Outputs.Doubled = 1 }, false},
		"reordered":             {func(r *result) { r.State.Reordered = 1 }, false},
		"counted too few":       {func(r *result) { r.Counted-- }, false},
		"another chain":         {func(r *result) { r.ChainEqual = false }, false},
		"another memory":        {func(r *result) { r.End.Mark = "ANOTHER" }, false},
		"started again":         {func(r *result) { r.End.StartedAt = time.Unix(2, 0) }, false},
		"runs where it did":     {func(r *result) { r.Migration.Status.SourceNode = "b" }, false},
		"runs somewhere else":   {func(r *result) { r.Target.Spec.NodeName = "c" }, false},
		"failed without a pod":  {func(r *result) { r.Target, r.err = nil, errors.New("failed") }, false},
		"the judge has a doubt": {func(r *result) { r.Problems = []string{"any"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := goodRun()
			tc.spoil(&r)
			if got := r.good(); got != tc.want {
				t.Errorf("good is %t", got)
			}
			var one, all strings.Builder
			printOne(&one, r)
			printAll(&all, []result{r, goodRun()})
			for _, text := range []string{one.String(), all.String()} {
				if !strings.Contains(text, "\nverdict: ") {
					t.Errorf("no verdict in\n%s", text)
				}
				if got := strings.Contains(text, "FAILED"); got == tc.want {
					t.Errorf("FAILED is told: %t, in\n%s", got, text)
				}
			}
		})
	}
}

func TestVerdictLine(t *testing.T) {
	r := goodRun()
	r.State.Lost, r.Outputs.Doubled = 2, 1
	var one, all strings.Builder
	printOne(&one, r)
	printAll(&all, []result{r, r})
	if want := "\nverdict: lost 2, doubled 1, reordered 0\n"; !strings.HasSuffix(one.String(), want) {
		t.Errorf("%s\nwant%s", one.String(), want)
	}
	if want := "\n0 of 2 good\nverdict: lost 4, doubled 2, reordered 0\n"; !strings.HasSuffix(all.String(), want) {
		t.Errorf("%s\nwant%s", all.String(), want)
	}
}
