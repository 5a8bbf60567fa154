package metrics_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	testclock "k8s.io/utils/clock/testing"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/metrics"
)

func TestNode(t *testing.T) {
	archives, stage := t.TempDir(), t.TempDir()
	n := &metrics.Node{Archives: archives, Stage: stage, Ready: func() error { return nil }, Clock: testclock.NewFakePassiveClock(now)}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(n)
	names := []string{"ms2m_agent_ready", "ms2m_agent_staged_bytes", "ms2m_agent_archives", "ms2m_agent_archive_bytes", "ms2m_agent_archive_oldest_seconds", "ms2m_agent_info"}
	shows := func(want ...string) {
		t.Helper()
		var text strings.Builder
		if err := registryText(registry, &text); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(text.String(), w+"\n") {
				t.Errorf("%s is not in\n%s", w, text.String())
			}
		}
	}
	shows("ms2m_agent_ready 1", "ms2m_agent_staged_bytes 0", "ms2m_agent_archives 0", "ms2m_agent_archive_oldest_seconds 0")
	if n, err := testutil.GatherAndCount(registry, "ms2m_agent_info"); err != nil || n != 0 {
		t.Errorf("what was not seen is shown, %v", err)
	}

	write := func(path, text string, age time.Duration) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(archives, "checkpoint-a_b-c-1.tar"), "12345", time.Minute)
	write(filepath.Join(archives, "checkpoint-a_b-c-2.tar"), "123", time.Hour)
	write(filepath.Join(archives, "notes.txt"), "of an administrator", 24*time.Hour)
	write(filepath.Join(stage, "restore", "uid", "main", "checkpoint", "pages-1.img"), "1234567", 0)
	n.Seen(v1alpha1.NodeFacts{Kernel: "6.12.0", CRIU: "4.1.1"})
	n.Ready = func() error { return errors.New("containerd has no handler") }
	shows("ms2m_agent_ready 0", "ms2m_agent_staged_bytes 7", "ms2m_agent_archives 2", "ms2m_agent_archive_bytes 8",
		"ms2m_agent_archive_oldest_seconds 3600", `ms2m_agent_info{criu="4.1.1",kernel="6.12.0"} 1`)

	n.Archives = filepath.Join(archives, "nowhere")
	if n, err := testutil.GatherAndCount(registry, names[2:5]...); err != nil || n != 0 {
		t.Errorf("%d series of what cannot be looked at, %v", n, err)
	}
}

func TestLegs(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	a, err := metrics.NewAgent(registry)
	if err != nil {
		t.Fatal(err)
	}
	a.Leg(v1alpha1.TransferPush, "done", 2*time.Second)
	a.Leg(v1alpha1.TransferPush, "done", 3*time.Second)
	a.Leg(v1alpha1.TransferStage, "failed", time.Second)
	a.Pushed(100)
	a.Pulled(40)
	a.Pulled(2)
	var text strings.Builder
	if err := registryText(registry, &text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`ms2m_agent_leg_duration_seconds_sum{direction="Push",result="done"} 5`,
		`ms2m_agent_leg_duration_seconds_count{direction="Stage",result="failed"} 1`,
		`ms2m_agent_transferred_bytes_total{direction="push"} 100`,
		`ms2m_agent_transferred_bytes_total{direction="pull"} 42`,
	} {
		if !strings.Contains(text.String(), want+"\n") {
			t.Errorf("%s is not in\n%s", want, text.String())
		}
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
