// Package e2e migrates counters in a real cluster and asserts what must have
// become of them. `make e2e` runs it: the tests need the lab, and fail without.
//
// Each test has a counter with queues of its own, several producers (half of
// them by a bound exchange) and a judge, who reads what the counter holds and what it
// has put out, and tells for each of the two what was lost, doubled and reordered (see
// examples/load). These six numbers are in the log of every test. Only where a
// process or a connection is lost an output may be repeated, under the same identity.
//
// The tests of a lab run one after the other, since they take the broker and the
// manager away; `make e2e` spreads them over two labs (see test/spread), and makes a
// choice of loads and losses in which every value occurs; `make e2e-full` combines
// them all.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/harness"
)

var (
	lab *harness.Lab
	// full asks for every combination where otherwise a choice of them is made.
	full       = flag.Bool("full", false, "every combination: more than an hour")
	chart      = flag.String("chart", "charts/ms2m", "`directory` of the chart to install")
	repository = flag.String("repository", ".", "`directory` of samples and docs")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run()) // no test is run: no lab is needed
	}
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func setUp() (err error) {
	if lab, err = harness.Open(); err != nil {
		return err
	}
	return lab.Deploy(context.Background(), *chart)
}

// within is a context that ends with the test, or before.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("not done in %v", d))
	t.Cleanup(cancel)
	return ctx
}

// startFlow starts a counter under load in namespace e2e. It is removed after
// the test.
func startFlow(ctx context.Context, t *testing.T, cfg harness.FlowConfig) *harness.Flow {
	t.Helper()
	cfg.Namespace = "e2e"
	if cfg.Work == 0 && cfg.Outside == 0 {
		cfg.Work = 2 * time.Millisecond
	}
	if cfg.Rate == 0 {
		cfg.Rate, cfg.Producers = 100, 3
	}
	flow, err := lab.StartFlow(ctx, cfg)
	if err != nil {
		t.Fatalf("start the counter: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if t.Failed() {
			t.Logf("%s--- sent more than once: %v", lab.Diagnose(ctx, flow.Counter), flow.Generator.Resent())
		}
		if err := flow.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return flow
}

// move migrates a flow to node-b and judges it.
func move(ctx context.Context, t *testing.T, flow *harness.Flow, change func(*v1alpha1.StatefulMigration)) *harness.Move {
	t.Helper()
	m, err := flow.Move(ctx, harness.MoveConfig{
		Target: harness.NodeB, Warm: 200, Backlog: 1000, After: 100, Change: change,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteMigration(t, m.Migration) })
	return m
}

// deleteMigration deletes a migration and waits until it is gone.
func deleteMigration(t *testing.T, m *v1alpha1.StatefulMigration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := lab.DeleteMigration(ctx, m); err != nil {
		t.Errorf("delete the migration: %v", err)
	}
}

// noTraces asserts that nothing is left of a migration but the counter's pod.
// The kubelet takes its time to forget a pod, and so do the files kept for it.
func noTraces(ctx context.Context, t *testing.T, flow *harness.Flow, m *v1alpha1.StatefulMigration, pod *corev1.Pod) {
	t.Helper()
	const patience = 30 * time.Second
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		traces, err := lab.Traces(ctx, flow.Counter, m, pod)
		if err != nil {
			t.Fatal(err)
		}
		if len(traces) == 0 {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Errorf("left behind after %v:\n  %s", patience, strings.Join(traces, "\n  "))
			return
		}
	}
}

// judged asserts that the counter is as if nothing had happened to it.
func judged(t *testing.T, o harness.Outcome) {
	t.Helper()
	judgedBy(t, o, load.Verdict.OK)
}

func judgedBy(t *testing.T, o harness.Outcome, ok func(load.Verdict) bool) {
	t.Helper()
	t.Logf("%d messages: %s", o.Sent, o.Numbers())
	if !ok(o.Verdict) {
		t.Errorf("sent %d, counted %d; chain equal: %t", o.Sent, o.Counted, o.ChainEqual)
		for _, p := range o.Problems {
			t.Error(p)
		}
	}
	if !o.SameMemory() {
		t.Errorf("another process: mark %s, started %v; was %s, %v", o.End.Mark, o.End.StartedAt, o.Begin.Mark, o.Begin.StartedAt)
	}
}
