package scripts

import (
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.." // of the repository

var update = flag.Bool("update", false, "write what the scripts say to testdata")

// ordinary are the programs that every machine has.
var ordinary = []string{"bash", "cat", "dirname", "env", "head", "mktemp", "od", "rm", "tr", "uname"}

// stub records that it was called, and answers as the file answers/NAME says: there
// is a line "PATTERN|exit code|output" for a call that is to have another answer
// than nothing at all. What kubectl is given to apply is recorded as well, and gcloud makes a key.
const stub = `#!/bin/bash
dir=$(dirname "$0")
call="${0##*/} $*"
call=${call//$'\n'/ }
echo "$call" >>"$dir/calls"
case $call in *" keys create "*) echo '{"private_key": "k"}' >"$5" ;; esac
case $call in *"--filename -"*) cat >>"$dir/input" ;; esac
while IFS='|' read -r pattern code out; do
  case $call in $pattern) [ -z "$out" ] || echo "$out"; exit "$code" ;; esac
done <"$dir/answers"
`

// machine is a PATH with stand-ins.
type machine struct {
	t   *testing.T
	dir string
}

func newMachine(t *testing.T, answers string, stubs ...string) machine {
	t.Helper()
	m := machine{t, t.TempDir()}
	m.link(ordinary...)
	for _, name := range stubs {
		m.write(name, stub)
	}
	m.write("answers", answers)
	m.write("calls", "")
	m.write("input", "")
	return m
}

// link has a machine use programs themselves.
func (m machine) link(names ...string) {
	m.t.Helper()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			m.t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(m.dir, name)); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m machine) write(name, content string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(content), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) read(name string) string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

// calls are those that do something: reads are left out.
func (m machine) calls() []string {
	m.t.Helper()
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(m.read("calls")), "\n"), func(c string) bool {
		return c == "" || strings.HasPrefix(c, "git ") || strings.HasPrefix(c, "jq ") || strings.Contains(c, " describe ") || strings.Contains(c, " get ") || strings.Contains(c, "buildah images ")
	})
}

var changing = regexp.MustCompile(`/tmp/[A-Za-z0-9./]*key\.json|\S*/tmp\.[A-Za-z0-9]+/key\.json`)

// run runs a script and returns what it says, without what differs from run to run.
func (m machine) run(script string, args ...string) (string, error) {
	m.t.Helper()
	abs, err := filepath.Abs(root)
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.CommandContext(m.t.Context(), "bash", append([]string{filepath.Join(abs, script)}, args...)...)
	cmd.Env = []string{"PATH=" + m.dir}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	said := changing.ReplaceAllString(string(out), "KEY")
	return strings.ReplaceAll(said, abs, "ROOT"), err
}

// golden compares with what a file says.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: it says\n%s\nand not\n%s", name, got, want)
	}
}

var cloud = []string{"gcloud", "gke-gcloud-auth-plugin", "kubectl", "jq", "helm", "git"}

func gke(args ...string) []string {
	return append(args, "--project", "my-project", "--tag", "v1.2.3")
}

func TestGKEDryRun(t *testing.T) {
	for _, verb := range []string{"create", "install", "delete"} {
		m := newMachine(t, "", cloud...)
		said, err := m.run("docs/clusters/gke.sh", gke(verb, "--dry-run")...)
		if err != nil {
			t.Errorf("%s: %v", verb, err)
		}
		golden(t, "gke-"+verb+".txt", said)
		if calls := m.read("calls"); calls != "" {
			t.Errorf("%s: a dry run has run\n%s", verb, calls)
		}
	}
}

// TestGKE runs it on a cloud where nothing is there, and everything works: what the
// dry run says is what is done.
func TestGKE(t *testing.T) {
	const nothing = "* describe *|1|\n* get secret *|1|\n"
	for verb, answers := range map[string]string{"create": nothing, "install": nothing, "delete": ""} {
		m := newMachine(t, answers, cloud...)
		if said, err := m.run("docs/clusters/gke.sh", gke(verb)...); err != nil {
			t.Errorf("%s: %v\n%s", verb, err, said)
		}
		dry := newMachine(t, "", cloud...)
		said, err := dry.run("docs/clusters/gke.sh", gke(verb, "--dry-run")...)
		if err != nil {
			t.Errorf("%s: %v", verb, err)
		}
		var want []string
		for line := range strings.Lines(said) {
			if line, ok := strings.CutPrefix(line, "+ "); ok {
				line, _, _ = strings.Cut(strings.TrimSpace(line), " # ")
				want = append(want, strings.ReplaceAll(line, `\`, ""))
			}
		}
		abs, err := filepath.Abs(root)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(changing.ReplaceAllString(strings.Join(m.calls(), "\n"), "KEY"), abs, "ROOT")
		if got != strings.Join(want, "\n") {
			t.Errorf("%s does\n%s\nand says that it does\n%s", verb, got, strings.Join(want, "\n"))
		}
	}
}

// What is there already is neither made nor overwritten.
func TestGKEAgain(t *testing.T) {
	m := newMachine(t, "", cloud...)
	for _, verb := range []string{"create", "install"} {
		if said, err := m.run("docs/clusters/gke.sh", gke(verb)...); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	for _, call := range m.calls() {
		if strings.Contains(call, " create ") {
			t.Errorf("made again: %s", call)
		}
	}
	if input := m.read("input"); strings.Contains(input, "Secret") {
		t.Errorf("a secret is overwritten:\n%s", input)
	}
}

// The password is in the Secret and nowhere else.
func TestGKESecrets(t *testing.T) {
	m := newMachine(t, "* get secret *|1|\n", cloud...)
	said, err := m.run("docs/clusters/gke.sh", gke("install")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	found := regexp.MustCompile(`(?m)^  password: ([0-9a-f]{48})$`).FindStringSubmatch(m.read("input"))
	if found == nil {
		t.Fatalf("no password was made:\n%s", m.read("input"))
	}
	if strings.Contains(said, found[1]) || strings.Contains(m.read("calls"), found[1]) {
		t.Error("the password is shown")
	}
}

// realJQ has a machine use jq itself.
func (m machine) realJQ() {
	m.t.Helper()
	if err := os.Remove(filepath.Join(m.dir, "jq")); err != nil {
		m.t.Fatal(err)
	}
	m.link("jq")
}

func TestGKENodes(t *testing.T) {
	const node = `{"metadata": {"name": "NAME"}, "status": {"nodeInfo": {"kubeletVersion": "KUBELET", "containerRuntimeVersion": "containerd://VERSION", "osImage": "OS"}}}`
	nodes := func(lines ...string) string {
		var items []string
		for _, l := range lines {
			f := strings.Split(l, " ")
			items = append(items, strings.NewReplacer("NAME", f[0], "KUBELET", f[1], "VERSION", f[2], "OS", f[3]).Replace(node))
		}
		return "kubectl get nodes *|0|{\"items\": [" + strings.Join(items, ", ") + "]}\n"
	}
	for answers, want := range map[string]string{
		nodes("a v1.36.0-gke.1 2.0.7 Ubuntu", "b v1.40.1 10.1.0 Ubuntu"): "",
		nodes("a v1.37.2 2.0.7 Ubuntu", "b v1.37.2 1.7.24 Ubuntu", "c v1.37.2 2.0.7 Other", "d v1.35.9-gke.1 2.0.7 Ubuntu"): "MS2M needs Kubernetes 1.36, containerd 2 and Ubuntu (UBUNTU_CONTAINERD): " +
			"b has v1.37.2, containerd://1.7.24 and Ubuntu\nc has v1.37.2, containerd://2.0.7 and Other\nd has v1.35.9-gke.1, containerd://2.0.7 and Ubuntu\n",
	} {
		m := newMachine(t, answers, cloud...)
		m.realJQ()
		said, err := m.run("docs/clusters/gke.sh", gke("install")...)
		if (err == nil) != (want == "") || !strings.Contains(said, want) {
			t.Errorf("%v: %s", err, said)
		}
		if went := strings.Contains(m.read("calls"), "helm "); went != (want == "") {
			t.Errorf("it goes on: %v", went)
		}
	}
}

func TestGKERegistry(t *testing.T) {
	m := newMachine(t, "* get secret ms2m-registry-auth*|1|\nkubectl get nodes *|0|{\"items\": []}\n", cloud...)
	m.realJQ()
	if said, err := m.run("docs/clusters/gke.sh", gke("install")...); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	namespaces := map[string]bool{}
	_, objects, _ := strings.Cut(m.read("input"), "\n{") // the Namespace is first, and no JSON
	for dec := json.NewDecoder(strings.NewReader("{" + objects)); dec.More(); {
		var secret struct {
			Type     string
			Metadata struct{ Name, Namespace string }
			Data     map[string][]byte
		}
		var auths struct {
			Auths map[string]struct{ Auth []byte }
		}
		if err := errors.Join(dec.Decode(&secret), json.Unmarshal(secret.Data[".dockerconfigjson"], &auths)); err != nil {
			t.Fatal(err)
		}
		namespaces[secret.Metadata.Namespace] = true
		if got := string(auths.Auths["europe-west3-docker.pkg.dev"].Auth); got != "_json_key:{\"private_key\": \"k\"}\n" {
			t.Errorf("the registry is given %q", got)
		}
		if secret.Metadata.Name != "ms2m-registry-auth" || secret.Type != "kubernetes.io/dockerconfigjson" {
			t.Errorf("%+v", secret)
		}
	}
	if want := map[string]bool{"ms2m-system": true, "ms2m-nodes": true}; !maps.Equal(namespaces, want) {
		t.Errorf("it is in %v", namespaces)
	}
}

func TestWrongArguments(t *testing.T) {
	for _, tc := range []struct {
		script, args, want string
	}{
		{"docs/clusters/gke.sh", "", "create, install or delete?"},
		{"docs/clusters/gke.sh", "create", "--project is missing: gcloud projects list"},
		{"docs/clusters/gke.sh", "create install --project p", "one of create, install and delete"},
		{"docs/clusters/gke.sh", "create --project", "--project needs a value"},
		{"docs/clusters/gke.sh", "create --project p --zone europe", "--zone europe is no zone, such as"},
		{"docs/clusters/gke.sh", "create --project p --name M", "--name M: it must have"},
		{"docs/clusters/gke.sh", "create --projekt p", "--projekt is not known: see --help"},
		{"hack/images.sh", "--tag", "--tag needs a value"},
		{"hack/images.sh", "--psh", "--psh is no option"},
		{"hack/images.sh", "managr", "there is no examples/managr/main.go"},
	} {
		m := newMachine(t, "", append(cloud, "buildah")...)
		said, err := m.run(tc.script, strings.Fields(tc.args)...)
		if err == nil || !strings.Contains(said, tc.want) {
			t.Errorf("%s %s: %v, %s", tc.script, tc.args, err, said)
		}
		if calls := m.calls(); len(calls) > 0 {
			t.Errorf("%s %s has run %q", tc.script, tc.args, calls)
		}
	}
}

func TestMissingProgram(t *testing.T) {
	for script, needed := range map[string][]string{
		"docs/clusters/gke.sh create --project p --dry-run": {"gcloud", "gke-gcloud-auth-plugin", "kubectl", "jq", "helm"},
		"hack/images.sh --dry-run":                          {"buildah"},
	} {
		for _, missing := range needed {
			have := slices.DeleteFunc(append(slices.Clone(needed), "git"), func(s string) bool { return s == missing })
			args := strings.Fields(script)
			said, err := newMachine(t, "", have...).run(args[0], args[1:]...)
			// What is missing, and where it is to be had.
			if err == nil || !strings.Contains(said, missing+" is missing: ") || !regexp.MustCompile(`https://|install`).MatchString(said) {
				t.Errorf("%s without %s: %v, %s", script, missing, err, said)
			}
		}
	}
}

func TestImagesDryRun(t *testing.T) {
	m := newMachine(t, "git *|0|0123abc\nbuildah images *counter/counter:v1*|0|9f86d0\n", "buildah", "git")
	said, err := m.run("hack/images.sh", "--dry-run", "--push", "--repository", "registry.example/counter", "--tag", "v1", "--build-arg", "GO=mirror/golang:1", "manager", "node-agent", "counter")
	if err != nil {
		t.Error(err)
	}
	golden(t, "images.txt", said)
	if calls := m.calls(); len(calls) > 0 {
		t.Errorf("a dry run has run %q", calls)
	}
}
