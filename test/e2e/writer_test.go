package e2e

import (
	"context"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/test/harness"
)

// writer writes a file in the root of the process that has this queue, until that has ended.
const writer = `for e in /proc/[0-9]*/environ; do grep -qz "^QUEUE=$0$" $e && p=${e%/environ}; done
i=0; while [ $i -lt 6000 ] && echo $i > $p/root/written; do i=$((i+1)); sleep 0.01; done 2>/dev/null; echo $i`

// TestWriter moves a counter to whose root file system somebody writes all the time,
// also while it is frozen: an image whose files are newer than its memory does not
// count, and the next attempt keeps it frozen until all is packed.
func TestWriter(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	flow := startFlow(ctx, t, harness.FlowConfig{CounterConfig: harness.CounterConfig{Name: "writer"}})
	written := make(chan string, 1)
	go func() {
		out, err := lab.Exec(context.WithoutCancel(ctx), flow.Node, "sh", "-c", writer, flow.Queue)
		if err != nil {
			out = err.Error()
		}
		written <- out
	}()
	void := ""
	m, err := flow.Move(ctx, harness.MoveConfig{Target: harness.NodeB, Warm: 200, Backlog: 1000, After: 100, Tell: func(m *v1alpha1.StatefulMigration) {
		for _, c := range m.Status.Conditions {
			if c.Type == v1alpha1.ConditionCheckpointed && c.Reason == v1alpha1.TransferReasonChanged {
				void = c.Message
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteMigration(t, m.Migration) })
	status := m.Migration.Status
	holds(t, m.Migration, v1alpha1.ConditionCheckpointed)
	if void == "" || status.Attempt < 2 {
		t.Errorf("attempt %d was taken, void before: %q", status.Attempt, void)
	}
	assertPause(t, status.Pauses)
	judged(t, m.Outcome)
	noTraces(ctx, t, flow, m.Migration, m.Target)
	t.Logf("void: %s; written %s times", void, <-written)
}
