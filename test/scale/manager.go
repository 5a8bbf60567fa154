package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// manager is one process of it.
type manager struct {
	cmd            *exec.Cmd
	metrics, pprof string
	log            string
	ended          chan error
}

// startManager starts the manager with its own flags and the ones of a series.
func (w *world) startManager(name string, flags []string) (*manager, error) {
	var at [2]string
	for i := range at {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		at[i] = l.Addr().String()
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	m := &manager{metrics: at[0], pprof: at[1], log: filepath.Join(w.out, "manager-"+name+".log"), ended: make(chan error, 1)}
	log, err := os.Create(m.log)
	if err != nil {
		return nil, err
	}
	m.cmd = exec.Command(filepath.Join(w.bin, "manager"), append([]string{
		"--metrics-bind-address=" + m.metrics, "--health-probe-bind-address=0", "--pprof-bind-address=" + m.pprof,
		"--agent-namespace=" + agents, "--leader-election-namespace=" + system, "--registry-plain-http",
		// A machine that is busy with the simulation is not to make it give up its lease.
		"--leader-elect-lease-duration=2m", "--leader-elect-renew-deadline=100s",
		"--kubelet-access=direct", "--kubelet-ca-file=" + w.http.authority, // the API server's proxy does not go to loopback addresses
	}, flags...)...)
	m.cmd.Env = append(os.Environ(), "KUBECONFIG="+w.config)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() { m.ended <- errors.Join(m.cmd.Wait(), log.Close()) }()
	return m, nil
}

// stop ends it, and waits.
func (m *manager) stop() error {
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := <-m.ended; err != nil {
		return fmt.Errorf("the manager (%s): %w", m.log, err)
	}
	return nil
}

// alive is nil while it runs.
func (m *manager) alive() error {
	select {
	case err := <-m.ended:
		m.ended <- err
		return fmt.Errorf("the manager has ended (%s): %w", m.log, err)
	default:
		return nil
	}
}

// usage is what the manager's own metrics and the kernel say of it.
type usage struct {
	CPU        time.Duration
	Resident   float64 // bytes, now
	Peak       float64 // bytes, since its start
	Requests   float64
	Reconciles float64
	Depth      float64
	Waits      float64 // of all that were in the work queue, in seconds
	Waited     float64 // how many those are
	Active     float64 // whether it is at work at all
}

// ours is the name of the controller in controller-runtime's metrics.
const ours = "statefulmigration"

func (m *manager) usage() (usage, error) {
	resp, err := http.Get("http://" + m.metrics + "/metrics")
	if err != nil {
		return usage{}, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return usage{}, err
	}
	sum := func(name string) float64 {
		var s float64
		for _, one := range families[name].GetMetric() {
			if of(one) {
				s += one.GetCounter().GetValue() + one.GetGauge().GetValue()
			}
		}
		return s
	}
	u := usage{
		CPU:      time.Duration(sum("process_cpu_seconds_total") * float64(time.Second)),
		Resident: sum("process_resident_memory_bytes"), Requests: sum("rest_client_requests_total"),
		Reconciles: sum("controller_runtime_reconcile_total"), Depth: sum("workqueue_depth"),
		Active: sum("controller_runtime_max_concurrent_reconciles"),
	}
	for _, one := range families["workqueue_queue_duration_seconds"].GetMetric() {
		if !of(one) {
			continue
		}
		u.Waits += one.GetHistogram().GetSampleSum()
		u.Waited += float64(one.GetHistogram().GetSampleCount())
	}
	u.Peak, err = m.peak()
	return u, err
}

// of leaves out what is said of other controllers.
func of(m *dto.Metric) bool {
	for _, l := range m.GetLabel() {
		if (l.GetName() == "controller" || l.GetName() == "name") && l.GetValue() != ours {
			return false
		}
	}
	return true
}

// peak is the most memory that it ever had.
func (m *manager) peak() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kilobytes * 1024, err
		}
	}
	return 0, errors.New("the kernel does not say VmHWM")
}

// profile writes a profile of it into a file.
func (m *manager) profile(what, file string) error {
	resp, err := http.Get("http://" + m.pprof + "/debug/pprof/" + what)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
