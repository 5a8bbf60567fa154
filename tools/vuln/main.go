// Command vuln looks for known vulnerabilities that the modules in the named
// directories call, and fails if there is one.
//
// It is govulncheck with a database of a pinned day (see go.mod) in place of the
// one on the web, and a shorter report. The standard library is that of the
// toolchain that a module's go.mod names, for that is what its programs are to be
// built with; that the Go of this machine is older is said.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/vuln/scan"
)

const database = "golang.org/x/vulndb"

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dirs []string) error {
	old, err := goVersion(ctx, ".", "")
	if err != nil {
		return err
	}
	db, err := findDatabase(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("vulnerabilities known on %s\n", db.day)
	called := 0
	for _, dir := range dirs {
		r, err := check(ctx, db, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		r.print(dir, old)
		called += len(r.called())
	}
	if called > 0 {
		return fmt.Errorf("%d known vulnerabilities are called: update what has them, `go get MODULE@VERSION` and `go mod tidy`", called)
	}
	return nil
}

// vulndb is the module of vulnerabilities in the module cache.
type vulndb struct{ dir, day string }

// findDatabase fetches the module at the version that go.mod has.
func findDatabase(ctx context.Context) (vulndb, error) {
	out, err := output(exec.CommandContext(ctx, "go", "mod", "download", "-json", database))
	if err != nil {
		return vulndb{}, fmt.Errorf("fetch %s: %w", database, err)
	}
	var module struct{ Dir, Version string }
	if err := json.Unmarshal(out, &module); err != nil {
		return vulndb{}, fmt.Errorf("fetch %s: %w", database, err)
	}
	// A version without a tag says when it is of: v0.0.0-20261105234957-e22db6528018.
	parts := strings.Split(module.Version, "-")
	if len(parts) != 3 {
		return vulndb{}, fmt.Errorf("the version %q of %s does not say of which day it is", module.Version, database)
	}
	at, err := time.Parse("20060102150405", parts[1])
	if err != nil {
		return vulndb{}, fmt.Errorf("version of %s: %w", database, err)
	}
	return vulndb{dir: filepath.Join(module.Dir, "data", "osv"), day: at.Format(time.DateOnly)}, nil
}

// finding is one vulnerability of one module, at the deepest level that it was
// found at.
type finding struct {
	ID    string  `json:"osv"`
	Fixed string  `json:"fixed_version"`
	Trace []frame `json:"trace"`
}

type frame struct {
	Module   string `json:"module"`
	Version  string `json:"version"`
	Package  string `json:"package"`
	Receiver string `json:"receiver"`
	Function string `json:"function"`
	Position *struct {
		Filename string `json:"filename"`
		Line     int    `json:"line"`
	} `json:"position"`
}

// depth is 0 if the module is required, 1 if a package of it is imported that has
// the vulnerability, 2 if a function is called that has.
func (f finding) depth() int {
	switch top := f.Trace[0]; {
	case top.Function != "":
		return 2
	case top.Package != "":
		return 1
	}
	return 0
}

type result struct {
	goVersion string
	summaries map[string]string  // by ID
	findings  map[string]finding // by ID and module
}

// check runs govulncheck in the directory of a module.
func check(ctx context.Context, db vulndb, dir string) (*result, error) {
	version, err := goVersion(ctx, dir, "auto")
	if err != nil {
		return nil, err
	}
	// In this process, too: govulncheck asks for the version where it stands, not in dir.
	if err := os.Setenv("GOTOOLCHAIN", version); err != nil {
		return nil, err
	}
	var out, messages bytes.Buffer
	cmd := scan.Command(ctx, "-C", dir, "-db", "file://"+db.dir, "-format", "json", "./...")
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := errors.Join(cmd.Start(), cmd.Wait()); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, messages.String())
	}
	return read(&out)
}

func read(in io.Reader) (*result, error) {
	r := &result{summaries: map[string]string{}, findings: map[string]finding{}}
	for dec := json.NewDecoder(in); ; {
		var m struct {
			SBOM *struct {
				GoVersion string `json:"go_version"`
			} `json:"SBOM"`
			OSV     *struct{ ID, Summary string } `json:"osv"`
			Finding *finding                      `json:"finding"`
		}
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read govulncheck's output: %w", err)
		}
		switch {
		case m.SBOM != nil:
			r.goVersion = m.SBOM.GoVersion
		case m.OSV != nil:
			r.summaries[m.OSV.ID] = m.OSV.Summary
		case m.Finding != nil && len(m.Finding.Trace) > 0:
			key := m.Finding.ID + " " + m.Finding.Trace[0].Module
			if old, ok := r.findings[key]; !ok || old.depth() < m.Finding.depth() {
				r.findings[key] = *m.Finding
			}
		}
	}
	if r.goVersion == "" {
		return nil, errors.New("govulncheck says nothing of what it has looked at")
	}
	return r, nil
}

// called are the findings of functions that are called.
func (r *result) called() []finding {
	fs := slices.DeleteFunc(slices.Collect(maps.Values(r.findings)), func(f finding) bool { return f.depth() < 2 })
	slices.SortFunc(fs, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Trace[0].Module, b.Trace[0].Module), cmp.Compare(a.ID, b.ID))
	})
	return fs
}

func (r *result) print(dir, old string) {
	called := r.called()
	fmt.Printf("%s with %s: %d called, %d in what is required and not called\n", dir, r.goVersion, len(called), len(r.findings)-len(called))
	for _, f := range called {
		top, end := f.Trace[0], f.Trace[len(f.Trace)-1]
		fmt.Printf("  %s: %s\n    %s %s, mended in %s\n    %s calls %s\n",
			f.ID, r.summaries[f.ID], top.Module, top.Version, cmp.Or(f.Fixed, "no version"), end.where(), top.name())
	}
	if old != r.goVersion {
		fmt.Printf("  this machine's Go is %s: what it builds has that one's standard library\n", old)
	}
}

func (f frame) name() string {
	return strings.Join(slices.DeleteFunc([]string{f.Package, f.Receiver, f.Function}, func(s string) bool { return s == "" }), ".")
}

func (f frame) where() string {
	if f.Position == nil {
		return f.name()
	}
	return fmt.Sprintf("%s:%d: %s", f.Position.Filename, f.Position.Line, f.name())
}

// goVersion is the version of Go that builds what is in dir.
func goVersion(ctx context.Context, dir, toolchain string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir, cmd.Env = dir, os.Environ()
	if toolchain != "" {
		cmd.Env = append(cmd.Env, "GOTOOLCHAIN="+toolchain)
	}
	out, err := output(cmd)
	return strings.TrimSpace(string(out)), err
}

func output(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(failed.Stderr))
	}
	return out, err
}
