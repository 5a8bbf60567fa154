// Package site reads the documentation: the Markdown files of docs/ and the READMEs. It makes
// HTML pages of them (make site), and finds their links and their commands, for the tests that hold
// both against what there is.
package site

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// Index is the page that leads to all others: its lists are the navigation.
const Index = "docs/README.md"

// Page is a Markdown file. Paths are relative to the repository, with slashes.
type Page struct {
	Path   string
	Source []byte
	Root   ast.Node
}

// markdown reads what the forge reads: tables, and headings with an anchor each.
func markdown() goldmark.Markdown {
	return goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
}

// Load reads the documentation of a repository: everything in docs/, and every README.
func Load(repository string) ([]*Page, error) {
	var pages []*Page
	err := filepath.WalkDir(repository, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(repository, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || name == "bin" || name == "site") {
				return filepath.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".md" || !strings.HasPrefix(name, "docs/") && path.Base(name) != "README.md" {
			return nil
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		context := parser.NewContext(parser.WithIDs(&anchors{taken: map[string]int{}}))
		root := markdown().Parser().Parse(text.NewReader(source), parser.WithContext(context))
		pages = append(pages, &Page{Path: name, Source: source, Root: root})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the documentation: %w", err)
	}
	return pages, nil
}

// anchors makes anchors as the forge makes them.
type anchors struct{ taken map[string]int }

// Generate implements parser.IDs.
func (a *anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(string(value))) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteRune('-')
		}
	}
	anchor := b.String()
	n := a.taken[anchor]
	a.taken[anchor]++
	if n > 0 {
		anchor = fmt.Sprintf("%s-%d", anchor, n)
	}
	return []byte(anchor)
}

// Put implements parser.IDs.
func (a *anchors) Put([]byte) {}

// each calls f for every node of a kind.
func each[T ast.Node](p *Page, f func(T)) {
	_ = ast.Walk(p.Root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(T); ok && entering {
			f(t)
		}
		return ast.WalkContinue, nil
	}) // f has no error to give
}

// Title is the page's first heading.
func (p *Page) Title() string {
	var title string
	each(p, func(h *ast.Heading) {
		if title == "" {
			title = p.words(h)
		}
	})
	return title
}

// words are the text of a node without its marks.
func (p *Page) words(n ast.Node) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Segment.Value(p.Source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
			continue
		}
		b.WriteString(p.words(c))
	}
	return b.String()
}

// Anchors are what can be pointed at in a page.
func (p *Page) Anchors() []string {
	var all []string
	each(p, func(h *ast.Heading) {
		if id, ok := h.AttributeString("id"); ok {
			all = append(all, string(id.([]byte)))
		}
	})
	return all
}

// Link is where a page points.
type Link struct {
	To    string // as it is written
	Words string // the link's text, or the picture's
	Image bool
}

// Links are a page's links and pictures.
func (p *Page) Links() []Link {
	var all []Link
	each(p, func(l *ast.Link) { all = append(all, Link{To: string(l.Destination), Words: p.words(l)}) })
	each(p, func(i *ast.Image) { all = append(all, Link{To: string(i.Destination), Words: p.words(i), Image: true}) })
	return all
}

// Resolve is the file and the anchor that a link of the page leads to; ok is
// false if it leads out of the repository.
func (p *Page) Resolve(to string) (file, anchor string, ok bool) {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return "", "", false
	}
	file, anchor, _ = strings.Cut(to, "#")
	if file == "" {
		return p.Path, anchor, true
	}
	return path.Join(path.Dir(p.Path), file), anchor, true
}

// Section is a part of the navigation.
type Section struct {
	Title   string
	Entries []Entry
}

// Entry is a page of the navigation, with the words of the index for it.
type Entry struct {
	Words string
	*Page
}

// decisions are numbered, and listed by their titles.
const decisions = "docs/decisions/"

// Navigation is what the lists of the index say, heading by heading. Under
// "Decisions" come all of them.
func Navigation(pages []*Page) []Section {
	i := slices.IndexFunc(pages, func(p *Page) bool { return p.Path == Index })
	if i < 0 {
		return nil
	}
	index := pages[i]
	var sections []Section
	for n := index.Root.FirstChild(); n != nil; n = n.NextSibling() {
		if h, ok := n.(*ast.Heading); ok && h.Level == 2 {
			sections = append(sections, Section{Title: index.words(h)})
		}
		list, ok := n.(*ast.List)
		if !ok || len(sections) == 0 {
			continue
		}
		each(&Page{Root: list}, func(l *ast.Link) {
			file, _, _ := index.Resolve(string(l.Destination))
			if i := slices.IndexFunc(pages, func(p *Page) bool { return p.Path == file }); i >= 0 {
				s := &sections[len(sections)-1]
				s.Entries = append(s.Entries, Entry{Words: index.words(l), Page: pages[i]})
			}
		})
	}
	for i := range sections {
		for _, p := range pages {
			if sections[i].Title == "Decisions" && strings.HasPrefix(p.Path, decisions) {
				sections[i].Entries = append(sections[i].Entries, Entry{Words: p.Title(), Page: p})
			}
		}
	}
	return sections
}
