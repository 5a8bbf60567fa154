package site_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/docs/site"
)

func blocks(t *testing.T, p *site.Page) []site.Block {
	t.Helper()
	all, err := p.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestMarked: every block of commands says how it is tried, or why it is not.
func TestMarked(t *testing.T) {
	for _, p := range load(t) {
		for _, b := range blocks(t, p) {
			switch marked := b.Run != "" || b.NotRun != ""; {
			case b.Shell() && !marked:
				t.Errorf("%v: neither run=lab, run=unit nor notrun=\"why\"", b)
			case !b.Shell() && (b.Lang == "" && strings.Contains("\n"+b.Text, "\n$ ") || marked):
				t.Errorf("%v: commands belong into a block of console", b)
			}
		}
	}
}

// TestUnitBlocks runs the blocks of run=unit, each page's in a directory of its own.
func TestUnitBlocks(t *testing.T) {
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range load(t) {
		all := blocks(t, p)
		runs := 0
		for _, b := range all {
			if b.Run == site.RunUnit {
				runs++
			}
		}
		if runs == 0 {
			continue
		}
		t.Run(strings.ReplaceAll(p.Path, "/", "."), func(t *testing.T) {
			directory := t.TempDir()
			for _, b := range all {
				if b.File != "" {
					if err := os.WriteFile(filepath.Join(directory, b.File), []byte(b.Text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if b.Run == site.RunUnit {
					runBlock(t, b, directory, root)
				}
			}
		})
	}
}

func runBlock(t *testing.T, b site.Block, directory, root string) {
	t.Helper()
	for _, c := range b.Commands() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", c.Script)
		cmd.Dir = directory
		cmd.Env = append(os.Environ(), "MS2M="+root)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s: %v\n%s", b, c.Script, err, out)
		}
		if differs := c.Matches(string(out)); differs != "" {
			t.Errorf("%v: %s: %s", b, c.Script, differs)
		}
	}
}

func TestMatches(t *testing.T) {
	const said = "NAME    AGE\ncounter 3s\nnothing else\n"
	for _, tc := range []struct {
		want string
		ok   bool
	}{
		{"NAME AGE\ncounter …\nnothing else", true},
		{"NAME AGE\n…", true},
		{"…\nnothing else", true},
		{"NAME AGE\ncounter …", false},
		{"counter …", false},
		{"NAME AGE\ncounter 4s\nnothing else", false},
	} {
		differs := site.Command{Want: strings.Split(tc.want, "\n")}.Matches(said)
		if (differs == "") != tc.ok {
			t.Errorf("%q: %s", tc.want, differs)
		}
	}
}

func TestCommands(t *testing.T) {
	b := site.Block{Text: "$ one \\\n>   more\nsaid\n> said\n$ two\n"}
	got := b.Commands()
	if len(got) != 2 || got[0].Script != "one \\\n  more" || len(got[0].Want) != 2 || got[0].Want[0] != "said" || got[1].Script != "two" || got[1].Want != nil {
		t.Errorf("%+v", got)
	}
}
