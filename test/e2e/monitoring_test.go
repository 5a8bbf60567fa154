package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// prometheus is a real one that scrapes manager and agents.
type prometheus struct {
	t   *testing.T
	url string
}

// startPrometheus starts Debian's beside the lab's API server, with the chart's alerts.
func startPrometheus(ctx context.Context, t *testing.T) *prometheus {
	t.Helper()
	manager, err := lab.ManagerPod(ctx)
	if err != nil {
		t.Fatal(err)
	}
	agents, err := lab.AgentPods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	targets := []string{manager.Status.PodIP + ":8080"}
	for _, a := range agents {
		targets = append(targets, a.Status.PodIP+":8080")
	}
	alerts, err := filepath.Abs(filepath.Join(*chart, "files/monitoring/alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"global":         map[string]any{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{alerts},
		"scrape_configs": []any{map[string]any{"job_name": "ms2m", "static_configs": []any{map[string]any{"targets": targets}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	const address = "127.0.0.1:19090"
	var said bytes.Buffer
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	p := &prometheus{t: t, url: "http://" + address}
	p.eventually(ctx, fmt.Sprintf("count(up == 1) == %d", len(targets)))
	return p
}

type sample struct {
	Metric map[string]string  `json:"metric"`
	Value  [2]json.RawMessage `json:"value"`
}

// get asks the API; false: it does not answer yet.
func (p *prometheus) get(ctx context.Context, path string, into any) bool {
	p.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return false // it is starting, and says so in plain text
	}
	if answer.Status != "success" {
		p.t.Fatalf("%s: %s", path, answer.Error)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		p.t.Fatal(err)
	}
	return true
}

func (p *prometheus) query(ctx context.Context, expr string) []sample {
	p.t.Helper()
	var data struct{ Result []sample }
	p.get(ctx, "/api/v1/query?query="+url.QueryEscape(expr), &data)
	return data.Result
}

// eventually waits until a query has a result.
func (p *prometheus) eventually(ctx context.Context, expr string) float64 {
	p.t.Helper()
	for tick := time.NewTicker(250 * time.Millisecond); ; {
		if got := p.query(ctx, expr); len(got) > 0 {
			var text string
			if err := json.Unmarshal(got[0].Value[1], &text); err != nil {
				p.t.Fatal(err)
			}
			x, err := strconv.ParseFloat(text, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return x
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("%s has no result: %v", expr, context.Cause(ctx))
		}
	}
}

// TestMonitoring moves a counter while a real Prometheus scrapes manager and agents: what it
// knows then is what became of the migration, every panel of the dashboard shows something, and
// no alert cannot be evaluated.
func TestMonitoring(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	p := startPrometheus(ctx, t)
	flow := startFlow(ctx, t, busy("monitored"))
	m := move(ctx, t, flow, func(m *v1alpha1.StatefulMigration) {
		m.Spec.Throttle = v1alpha1.ThrottleNever // for the replay to last for some scrapes
	})
	judged(t, m.Outcome)
	for _, expr := range []string{
		`ms2m_migrations_total{result="completed",reason="Done"} >= 1`,
		`ms2m_pause_seconds_count{kind="handover"} >= 1`,
		`ms2m_phase_duration_seconds_count{phase="Replaying"} >= 1`,
		`max_over_time(ms2m_active_migrations{phase="Replaying"}[5m]) >= 1`,
		`max_over_time(ms2m_replay_lag_messages{of="all"}[5m]) >= 1`,
		`sum(ms2m_agent_transferred_bytes_total{direction="push"}) > 1000`,
		`sum(ms2m_agent_transferred_bytes_total{direction="pull"}) > 1000`,
		`count(ms2m_agent_ready == 1) == 3`,
		`sum(ms2m_active_migrations) == 0`,
		`count(ms2m_agent_info) == 3`,
	} {
		t.Logf("%s: %v", expr, p.eventually(ctx, expr))
	}
	for title, expr := range panels(t) {
		// What nothing has gone wrong for has nothing to show.
		trouble := strings.Contains(expr, "aborted") || strings.Contains(expr, `!="done"`) || strings.Contains(expr, "action_failures")
		if got := p.query(ctx, expr); len(got) == 0 && !trouble {
			t.Errorf("the panel %s shows nothing: %s", title, expr)
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	p.get(ctx, "/api/v1/rules", &rules)
	seen := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			seen++
			if r.Health != "ok" || r.State == "firing" {
				t.Errorf("%s is %s, %s %s", r.Name, r.State, r.Health, r.LastError)
			}
		}
	}
	if seen == 0 {
		t.Error("there are no alerts")
	}
}

// panels are the queries of the dashboard, by where they stand.
func panels(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(*chart, "files/monitoring/dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all[p.Title+" "+target.RefID] = strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d queries", len(all))
	}
	return all
}
