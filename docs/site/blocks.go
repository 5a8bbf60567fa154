package site

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// How a block of commands is tried, by its mark behind the language:
//
//	```console run=lab          in a cluster with MS2M, by TestDocs of test/e2e
//	```console run=unit         in an empty directory, by TestUnitBlocks
//	```console notrun="why"     not at all
//	```go file=main.go          no commands: the file is put where those of run=unit are run
//
// A command begins with "$ " and goes on with "> ", what follows to the next is its output: "…" stands for
// anything, a line of it for any lines. A command without output may say what it likes.
// Commands of a page are run in their order, in one directory; MS2M is the repository.

// Ways of trying a block.
const (
	RunLab  = "lab"
	RunUnit = "unit"
)

// Block is a block of code.
type Block struct {
	Page   string
	Line   int // of its beginning
	Lang   string
	Run    string // how it is tried; empty: not
	NotRun string // why not
	File   string // what it is
	Text   string
}

// Shell reports whether the block is commands for people.
func (b Block) Shell() bool {
	return slices.Contains([]string{"console", "sh", "bash", "shell"}, b.Lang)
}

// String is where the block is.
func (b Block) String() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

var mark = regexp.MustCompile(`^(\w+)=(?:"([^"]*)"|(\S+))\s*`)

// Blocks are the blocks of code of a page.
func (p *Page) Blocks() ([]Block, error) {
	var (
		blocks []Block
		err    error
	)
	each(p, func(f *ast.FencedCodeBlock) {
		b, failed := p.block(f)
		if failed != nil && err == nil {
			err = failed
		}
		blocks = append(blocks, b)
	})
	return blocks, err
}

func (p *Page) block(f *ast.FencedCodeBlock) (Block, error) {
	b := Block{Page: p.Path}
	lines := f.Lines()
	var text strings.Builder
	for i := range lines.Len() {
		line := lines.At(i)
		text.Write(line.Value(p.Source))
	}
	b.Text = text.String()
	if lines.Len() > 0 {
		b.Line = 1 + strings.Count(string(p.Source[:lines.At(0).Start]), "\n")
	}
	if f.Info == nil {
		return b, nil
	}
	var rest string
	b.Lang, rest, _ = strings.Cut(strings.TrimSpace(string(f.Info.Segment.Value(p.Source))), " ")
	for rest = strings.TrimSpace(rest); rest != ""; {
		m := mark.FindStringSubmatch(rest)
		if m == nil {
			return b, fmt.Errorf("%v: the mark %q is not name=value", b, rest)
		}
		rest = rest[len(m[0]):]
		switch value := m[2] + m[3]; {
		case m[1] == "run" && (value == RunLab || value == RunUnit):
			b.Run = value
		case m[1] == "notrun" && value != "":
			b.NotRun = value
		case m[1] == "file" && value != "":
			b.File = value
		default:
			return b, fmt.Errorf("%v: the mark %s=%q is not run=lab, run=unit, notrun=\"why\" or file=name", b, m[1], value)
		}
	}
	if b.Run != "" && b.NotRun != "" {
		return b, fmt.Errorf("%v: both run and notrun", b)
	}
	return b, nil
}

// Command is a command of a block.
type Command struct {
	Script string
	Want   []string // lines of its output; none: whatever it is
}

// Commands are the commands of a block, in their order. In a block without "$ " the
// whole is one command.
func (b Block) Commands() []Command {
	if !strings.HasPrefix(b.Text, "$ ") {
		return []Command{{Script: b.Text}}
	}
	var all []Command
	for line := range strings.Lines(b.Text) {
		line = strings.TrimRight(line, "\n")
		if script, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, Command{Script: script})
			continue
		}
		c := &all[len(all)-1]
		if more, ok := strings.CutPrefix(line, "> "); ok && len(c.Want) == 0 {
			c.Script += "\n" + more
			continue
		}
		c.Want = append(c.Want, line)
	}
	return all
}

// Matches tells how an output differs from what is wanted: empty, if it does not.
func (c Command) Matches(output string) string {
	if len(c.Want) == 0 {
		return ""
	}
	var pattern strings.Builder
	for _, line := range c.Want {
		if line == "…" {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		words := strings.Fields(line)
		for i, w := range words {
			words[i] = strings.ReplaceAll(regexp.QuoteMeta(w), "…", `.*`)
		}
		pattern.WriteString(`[ \t]*` + strings.Join(words, `[ \t]+`) + `[ \t]*\n`)
	}
	if regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(strings.TrimRight(output, "\n") + "\n") {
		return ""
	}
	return fmt.Sprintf("said\n%s\nthe docs say\n%s", output, strings.Join(c.Want, "\n"))
}
