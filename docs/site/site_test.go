package site_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"ms2m.dev/ms2m/docs/site"
)

var repository = filepath.Join("..", "..")

func load(t *testing.T) []*site.Page {
	t.Helper()
	pages, err := site.Load(repository)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 20 {
		t.Fatalf("only %d pages", len(pages))
	}
	return pages
}

// TestLinks: what a page points at is there, down to the heading, and every picture
// says in words what it shows.
func TestLinks(t *testing.T) {
	pages := load(t)
	anchors := map[string][]string{}
	for _, p := range pages {
		anchors[p.Path] = p.Anchors()
	}
	for _, p := range pages {
		for _, l := range p.Links() {
			if strings.TrimSpace(l.Words) == "" {
				t.Errorf("%s: %s: no words", p.Path, l.To)
			}
			file, anchor, inside := p.Resolve(l.To)
			if !inside {
				if !strings.HasPrefix(l.To, "https://") {
					t.Errorf("%s: %s: neither a file nor https", p.Path, l.To)
				}
				continue
			}
			if _, err := os.Stat(filepath.Join(repository, file)); err != nil {
				t.Errorf("%s: %s: there is no %s", p.Path, l.To, file)
				continue
			}
			if anchor != "" && !slices.Contains(anchors[file], anchor) {
				t.Errorf("%s: %s: no such heading; there are %v", p.Path, l.To, anchors[file])
			}
		}
	}
}

// TestNavigation: whoever begins at the index comes to every page of docs/.
func TestNavigation(t *testing.T) {
	pages := load(t)
	reached := map[string]bool{site.Index: true}
	for _, s := range site.Navigation(pages) {
		for _, e := range s.Entries {
			reached[e.Path] = true
		}
	}
	for again := true; again; {
		again = false
		for _, p := range pages {
			if !reached[p.Path] {
				continue
			}
			for _, l := range p.Links() {
				if file, _, inside := p.Resolve(l.To); inside && !reached[file] {
					reached[file], again = true, true
				}
			}
		}
	}
	for _, p := range pages {
		if strings.HasPrefix(p.Path, "docs/") && !reached[p.Path] {
			t.Errorf("nothing leads to %s", p.Path)
		}
	}
}

// TestHTML: the site is whole: every link leads to a file and an anchor of the
// site, nothing is loaded from elsewhere, and each page has what a reader's programs
// need: a language, a title, one main heading, words for its pictures.
func TestHTML(t *testing.T) {
	out := t.TempDir()
	if err := site.Write(repository, out); err != nil {
		t.Fatal(err)
	}
	documents := map[string]*document{}
	err := filepath.WalkDir(out, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) != ".html" {
			return err
		}
		name, err := filepath.Rel(out, file)
		documents[filepath.ToSlash(name)] = read(t, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range documents {
		if d.lang == "" || d.title == "" || d.headings != 1 {
			t.Errorf("%s: language %q, title %q, %d main headings", name, d.lang, d.title, d.headings)
		}
		for _, p := range d.problems {
			t.Errorf("%s: %s", name, p)
		}
		for _, link := range d.links {
			if strings.HasPrefix(link, "https://") {
				continue
			}
			file, anchor, _ := strings.Cut(link, "#")
			file = path.Join(path.Dir(name), file)
			if strings.HasPrefix(link, "#") {
				file = name
			}
			if _, err := os.Stat(filepath.Join(out, file)); err != nil {
				t.Errorf("%s: %s: %v", name, link, err)
			}
			if other := documents[file]; anchor != "" && (other == nil || !other.ids[anchor]) {
				t.Errorf("%s: %s: there is no such anchor", name, link)
			}
		}
	}
}

// document is what a test looks at of a page.
type document struct {
	lang, title string
	headings    int
	ids         map[string]bool
	links       []string
	problems    []string
}

func read(t *testing.T, file string) *document {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root, err := html.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	d := &document{ids: map[string]bool{}}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		attributes := map[string]string{}
		for _, a := range n.Attr {
			attributes[a.Key] = a.Val
		}
		if id := attributes["id"]; id != "" {
			if d.ids[id] {
				d.problems = append(d.problems, "two of the anchor "+id)
			}
			d.ids[id] = true
		}
		switch n.Data {
		case "html":
			d.lang = attributes["lang"]
		case "title":
			d.title = n.FirstChild.Data
		case "h1":
			d.headings++
		case "a":
			d.links = append(d.links, attributes["href"])
		case "img":
			if attributes["alt"] == "" || strings.Contains(attributes["src"], "://") {
				d.problems = append(d.problems, "picture "+attributes["src"]+": no words, or from elsewhere")
			}
			d.links = append(d.links, attributes["src"])
		case "script", "link", "iframe":
			d.problems = append(d.problems, "a <"+n.Data+">")
		}
	}
	return d
}

var reason = regexp.MustCompile(`(?m)^\s*Reason\w+\s+= "(\w+)"`)

// TestReasons: whatever reason a migration may give, docs/failures.md says what it means.
func TestReasons(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(repository, "internal", "migration", "errors.go"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(repository, "docs", "failures.md"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := reason.FindAllStringSubmatch(string(source), -1)
	if len(reasons) < 40 {
		t.Fatalf("only %d reasons", len(reasons))
	}
	for _, r := range reasons {
		if !strings.Contains(string(text), "`"+r[1]+"`") {
			t.Errorf("docs/failures.md does not name %s", r[1])
		}
	}
}
