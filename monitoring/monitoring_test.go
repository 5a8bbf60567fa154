// Package monitoring_test holds that alerts, dashboard, runbooks and docs/monitoring.md are about metrics
// that the programs show, with Debian's promtool for what PromQL is.
package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/metrics"
)

const (
	alertsFile    = "../charts/ms2m/files/monitoring/alerts.yaml"
	dashboardFile = "../charts/ms2m/files/monitoring/dashboard.json"
	runbooks      = "../docs/runbooks"
	runbookBase   = "https://ms2m.dev/docs/runbooks/"
)

// described remembers what is registered.
type described struct {
	*prometheus.Registry
	metrics map[string]metric
}

type metric struct{ labels, help string }

var descForm = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "([^"]*)",.* constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)

func (d described) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc, 100)
	c.Describe(ch)
	close(ch)
	for desc := range ch {
		m := descForm.FindStringSubmatch(desc.String())
		if m == nil {
			return fmt.Errorf("not understood: %s", desc)
		}
		d.metrics[m[1]] = metric{labels: strings.ReplaceAll(m[3], ",", ", "), help: m[2]}
	}
	return d.Registry.Register(c)
}

// exposed are the metrics of both programs, as they register them.
func exposed(t *testing.T) described {
	t.Helper()
	d := described{prometheus.NewPedanticRegistry(), map[string]metric{}}
	manager, err := metrics.NewManager(d)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := metrics.NewAgent(d)
	if err != nil {
		t.Fatal(err)
	}
	active := &metrics.Active{Clock: clock.RealClock{}, Connections: func() (up, all int) { return 0, 0 },
		List: func() ([]v1alpha1.StatefulMigration, bool) { return nil, true }}
	node := &metrics.Node{Archives: t.TempDir(), Stage: t.TempDir(), Clock: clock.RealClock{}, Ready: func() error { return nil }}
	for _, c := range []prometheus.Collector{active, node} {
		if err := d.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	manager.Failed("Unavailable")
	agent.Leg(v1alpha1.TransferPush, "done", time.Second)
	agent.Pushed(1)
	return d
}

var nameForm = regexp.MustCompile(`\bms2m_[a-z0-9_]+`)

// unknown are the metrics in a text that no program shows.
func (d described) unknown(text string) (out []string) {
	for _, name := range nameForm.FindAllString(text, -1) {
		base := name
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			base = strings.TrimSuffix(base, suffix)
		}
		_, ok := d.metrics[name]
		if _, whole := d.metrics[base]; !ok && !whole {
			out = append(out, name)
		}
	}
	return out
}

func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAlerts(t *testing.T) {
	promtool(t, "", "check", "rules", alertsFile)
	promtool(t, "", "test", "rules", "alerts_test.yaml")
	if unknown := exposed(t).unknown(read(t, alertsFile)); len(unknown) > 0 {
		t.Errorf("no program shows %v", unknown)
	}
	var all rules
	if err := yaml.Unmarshal([]byte(read(t, alertsFile)), &all); err != nil || len(all.Groups) == 0 {
		t.Fatal(err)
	}
	tests := read(t, "alerts_test.yaml")
	wanted := map[string]bool{"README.md": true}
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			wanted[r.Alert+".md"] = true
			if r.Annotations["runbook_url"] != runbookBase+r.Alert+".md" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s: %v %v", r.Alert, r.Labels, r.Annotations)
			}
			if !strings.Contains(tests, `alertname="`+r.Alert+`"`) {
				t.Errorf("%s fires in no test", r.Alert)
			}
			book := read(t, filepath.Join(runbooks, r.Alert+".md"))
			for _, section := range []string{"# " + r.Alert + "\n", "\n## Meaning\n", "\n## Impact\n", "\n## Diagnosis\n", "\n## Mitigation\n"} {
				if !strings.Contains(book, section) {
					t.Errorf("the runbook of %s has no %q", r.Alert, strings.TrimSpace(section))
				}
			}
			if unknown := exposed(t).unknown(book); len(unknown) > 0 {
				t.Errorf("the runbook of %s: no program shows %v", r.Alert, unknown)
			}
		}
	}
	there, err := os.ReadDir(runbooks)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range there {
		if !wanted[e.Name()] {
			t.Errorf("%s is about no alert", e.Name())
		}
		if index := read(t, filepath.Join(runbooks, "README.md")); e.Name() != "README.md" && !strings.Contains(index, "("+e.Name()+")") {
			t.Errorf("%s is not in the index", e.Name())
		}
	}
}

// TestMetrics: names, types and helps are as Prometheus has them be.
func TestMetrics(t *testing.T) {
	families, err := exposed(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, text.String(), "check", "metrics")
}

type dashboard struct {
	UID    string `json:"uid"`
	Panels []struct {
		ID      int    `json:"id"`
		Type    string `json:"type"`
		Title   string `json:"title"`
		GridPos struct {
			X, Y, W, H int
		} `json:"gridPos"`
		Description string `json:"description"`
		Datasource  struct {
			UID string `json:"uid"`
		} `json:"datasource"`
		Targets []struct {
			Expr string `json:"expr"`
		} `json:"targets"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name, Type, Query string
		} `json:"list"`
	} `json:"templating"`
}

// TestDashboard: every query is one, about metrics that there are; panels do not overlap.
func TestDashboard(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	if l := d.Templating.List; d.UID == "" || len(l) != 1 || l[0].Name != "datasource" || l[0].Type != "datasource" || l[0].Query != "prometheus" {
		t.Errorf("uid %q, variables %+v", d.UID, l)
	}
	shown := exposed(t)
	var queries strings.Builder
	queries.WriteString("groups:\n- name: dashboard\n  rules:\n")
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: the id %d is another's", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("%q lies on %q at %d, %d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Description == "" || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: %+v", p.Title, p)
		}
		for i, target := range p.Targets {
			if unknown := shown.unknown(target.Expr); len(unknown) > 0 || !nameForm.MatchString(target.Expr) {
				t.Errorf("%s: no program shows %v: %s", p.Title, unknown, target.Expr)
			}
			expr, err := json.Marshal(strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&queries, "  - {record: 'dashboard:panel%d:%d', expr: %s}\n", p.ID, i, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(file, []byte(queries.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}

// TestDocs: the tables of docs/monitoring.md are what the programs say of their metrics.
func TestDocs(t *testing.T) {
	doc := read(t, "../docs/monitoring.md")
	shown := exposed(t)
	for _, name := range slices.Sorted(maps.Keys(shown.metrics)) {
		m := shown.metrics[name]
		labels := ""
		if m.labels != "" {
			labels = "`" + strings.ReplaceAll(m.labels, ", ", "`, `") + "`"
		}
		if row := fmt.Sprintf("| `%s` | %s | %s |\n", name, labels, m.help); !strings.Contains(doc, row) {
			t.Errorf("missing: %s", row)
		}
	}
	if unknown := shown.unknown(doc); len(unknown) > 0 {
		t.Errorf("no program shows %v", unknown)
	}
}
