package e2e

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ms2m.dev/ms2m/docs/site"
)

// firstPages are those that make what the others look at.
var firstPages = []string{"docs/quickstart.md", "docs/operations.md"}

// TestDocs runs every command of the documentation that is marked run=lab, as it stands there, and
// compares what it says. What a reader has to bring is there: AMQP_URL, the counter's queues with
// somebody who sends messages, and in the samples' manifests the reader's own images and registry.
func TestDocs(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	root, err := filepath.Abs(*repository)
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	if err := lab.FillSamples(filepath.Join(root, "samples"), filepath.Join(directory, "samples")); err != nil {
		t.Fatal(err)
	}
	drive, err := lab.DriveSample(ctx, "counter")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		drive.Close()
		if err := lab.RemoveSample(ctx, "counter", "shop"); err != nil {
			t.Error(err)
		}
	})
	env := append(os.Environ(), "AMQP_URL="+lab.BrokerURL, "MS2M="+root,
		"PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
	for _, b := range labBlocks(t, root) {
		for _, c := range b.Commands() {
			cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", c.Script)
			cmd.Dir, cmd.Env = directory, env
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s: %v\n%s", b, c.Script, err, out)
			}
			if differs := c.Matches(string(out)); differs != "" {
				t.Errorf("%v: %s: %s", b, c.Script, differs)
			}
		}
	}
}

// labBlocks are the blocks that are run here, in their order.
func labBlocks(t *testing.T, root string) []site.Block {
	t.Helper()
	pages, err := site.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	rank := func(p *site.Page) int {
		if i := slices.Index(firstPages, p.Path); i >= 0 {
			return i
		}
		return len(firstPages)
	}
	slices.SortFunc(pages, func(a, b *site.Page) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Path, b.Path))
	})
	var all []site.Block
	for _, p := range pages {
		blocks, err := p.Blocks()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			if b.Run == site.RunLab {
				all = append(all, b)
			}
		}
	}
	if len(all) < 5 {
		t.Fatalf("only %d blocks", len(all))
	}
	return all
}
