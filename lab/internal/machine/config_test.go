package machine

import (
	"encoding/json"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"ms2m.dev/ms2m/lab/internal/plan"
)

func node(t *testing.T) plan.Node {
	t.Helper()
	nodes, err := plan.Nodes(2)
	if err != nil {
		t.Fatal(err)
	}
	return nodes[1]
}

func mustRender(t *testing.T, name string, n plan.Node) string {
	t.Helper()
	data, err := render(name, newValues(n))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAllTemplatesRender(t *testing.T) {
	names, err := fs.Glob(configFiles, "config/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		if out := mustRender(t, strings.TrimPrefix(name, "config/"), node(t)); strings.Contains(out, "{{") || strings.Contains(out, "<no value>") {
			t.Errorf("%s:\n%s", name, out)
		}
	}
}

func TestCNIGivesPodsTheNodesRangeWithoutMPTCP(t *testing.T) {
	var config struct {
		Plugins []struct {
			Type   string
			Sysctl map[string]string
			IPAM   struct {
				Ranges [][]struct{ Subnet netip.Prefix }
			}
		}
	}
	if err := json.Unmarshal([]byte(mustRender(t, "cni.conflist", node(t))), &config); err != nil {
		t.Fatal(err)
	}
	if got := config.Plugins[0].IPAM.Ranges[0][0].Subnet.String(); got != "10.99.12.0/24" {
		t.Errorf("pods get %s", got)
	}
	if got := config.Plugins[1].Sysctl["net.mptcp.enabled"]; got != "0" {
		t.Errorf("MPTCP is %q: criu can't dump its sockets", got)
	}
}

func TestContainerdReadsDropIns(t *testing.T) {
	out := mustRender(t, "containerd.toml", node(t))
	for _, want := range []string{`imports = ["/etc/containerd/conf.d/*.toml"]`, "sandbox = '10.99.0.1:5000/pause:1'"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

func TestHostsNamesAllMachines(t *testing.T) {
	got := string(hosts([]plan.Node{node(t)}))
	want := "127.0.0.1 localhost\n10.99.0.1 ctl\n10.99.0.12 node-b\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
