package site

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/yuin/goldmark/ast"
)

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// Write makes the site of a repository in a directory: a page for each page, and
// what they show or point at. It needs no network to be read.
func Write(repository, directory string) error {
	pages, err := Load(repository)
	if err != nil {
		return err
	}
	w := writer{repository: repository, directory: directory, pages: make(map[string]bool, len(pages))}
	for _, p := range pages {
		w.pages[p.Path] = true
	}
	navigation := Navigation(pages)
	for _, p := range pages {
		if err := w.page(p, navigation); err != nil {
			return fmt.Errorf("%s: %w", p.Path, err)
		}
	}
	start := fmt.Sprintf(`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>MS2M</title><meta http-equiv="refresh" content="0; url=%[1]s"></head><body><h1>MS2M</h1><p><a href="%[1]s">Documentation</a></p></body></html>`, html(Index))
	return w.write("index.html", []byte(start))
}

type writer struct {
	repository, directory string
	pages                 map[string]bool
}

// html is the page of a Markdown file.
func html(file string) string {
	if path.Base(file) == "README.md" && strings.HasPrefix(file, "docs/") {
		return path.Join(path.Dir(file), "index.html")
	}
	return strings.TrimSuffix(file, ".md") + ".html"
}

// item is an entry of the navigation.
type item struct {
	Title, Href string
	Current     bool
}

type group struct {
	Title string
	Items []item
}

func (w *writer) page(p *Page, navigation []Section) error {
	if err := w.links(p); err != nil {
		return err
	}
	var body bytes.Buffer
	if err := markdown().Renderer().Render(&body, p.Source, p.Root); err != nil {
		return err
	}
	groups := make([]group, 0, len(navigation))
	for _, s := range navigation {
		g := group{Title: s.Title}
		for _, e := range s.Entries {
			g.Items = append(g.Items, item{Title: e.Words, Href: relative(p.Path, html(e.Path)), Current: e.Page == p})
		}
		groups = append(groups, g)
	}
	var page bytes.Buffer
	err := pageTemplate.Execute(&page, map[string]any{
		"Title": p.Title(), "Style": template.CSS(styleCSS), "Home": relative(p.Path, html(Index)),
		"Navigation": groups, "Body": template.HTML(body.String()),
	})
	if err != nil {
		return err
	}
	return w.write(html(p.Path), page.Bytes())
}

// links turns the links of a page to the files of the repository into links of the
// site: to a page's page; to a copy of another file; a directory is only named.
func (w *writer) links(p *Page) error {
	var failed error
	turn := func(destination []byte) []byte {
		file, anchor, inside := p.Resolve(string(destination))
		if !inside || failed != nil {
			return destination
		}
		to := html(file)
		if !w.pages[file] {
			if to, failed = w.copy(file); failed != nil || to == "" {
				return nil
			}
		}
		link := relative(p.Path, to)
		if anchor != "" {
			link += "#" + anchor
		}
		return []byte(link)
	}
	each(p, func(i *ast.Image) { i.Destination = turn(i.Destination) })
	var bare []*ast.Link
	each(p, func(l *ast.Link) {
		if l.Destination = turn(l.Destination); l.Destination == nil {
			bare = append(bare, l)
		}
	})
	for _, l := range bare {
		parent := l.Parent()
		for c := l.FirstChild(); c != nil; c = l.FirstChild() {
			parent.InsertBefore(parent, l, c)
		}
		parent.RemoveChild(parent, l)
	}
	return failed
}

// copy takes a file of the repository over: pictures as they are, others as text. It is
// empty for a directory.
func (w *writer) copy(file string) (string, error) {
	from := filepath.Join(w.repository, filepath.FromSlash(file))
	info, err := os.Stat(from)
	if err != nil || info.IsDir() {
		return "", err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	to := file
	switch path.Ext(file) {
	case ".svg", ".png", ".json", ".html":
	default:
		to += ".txt"
	}
	return to, w.write(to, content)
}

func (w *writer) write(file string, content []byte) error {
	to := filepath.Join(w.directory, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}

// relative is the way from a page to a file.
func relative(page, file string) string {
	from, to := strings.Split(path.Dir(page), "/"), strings.Split(file, "/")
	if from[0] == "." {
		from = nil
	}
	for len(from) > 0 && len(to) > 1 && from[0] == to[0] {
		from, to = from[1:], to[1:]
	}
	return strings.Repeat("../", len(from)) + strings.Join(to, "/")
}
