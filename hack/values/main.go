// Command values writes the table of the chart's values into docs/install.md: from
// charts/ms2m/values.yaml, whose comments are the descriptions.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	begin = "<!-- values: made by make generate -->\n"
	end   = "<!-- end of values -->\n"
)

func main() {
	if err := run("charts/ms2m/values.yaml", "docs/install.md"); err != nil {
		fmt.Fprintln(os.Stderr, "values:", err)
		os.Exit(1)
	}
}

func run(values, page string) error {
	data, err := os.ReadFile(values)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("%s: %w", values, err)
	}
	var table bytes.Buffer
	table.WriteString("| value | default | |\n|---|---|---|\n")
	if err := rows(&table, "", "", doc.Content[0]); err != nil {
		return fmt.Errorf("%s: %w", values, err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return fmt.Errorf("%s: the lines that the table goes between are missing", page)
	}
	return os.WriteFile(page, bytes.Join([][]byte{before, []byte(begin + "\n"), table.Bytes(), []byte("\n" + end), after}, nil), 0o644)
}

// rows writes a row for every value that is no section. The comment of a section goes to its first value.
func rows(w *bytes.Buffer, prefix, inherited string, section *yaml.Node) error {
	for i := 0; i+1 < len(section.Content); i += 2 {
		key, value := section.Content[i], section.Content[i+1]
		path := prefix + key.Value
		said := strings.TrimSpace(inherited + " " + comment(key))
		if inherited = ""; prefix == "" {
			said = "" // of the file, or of a part
		}
		if value.Kind == yaml.MappingNode && value.Style&yaml.FlowStyle == 0 && key.Value != "resources" {
			if err := rows(w, path+".", said, value); err != nil {
				return err
			}
			continue
		}
		def, err := one(value)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| `%s` | `%s` | %s |\n", path, def, said)
	}
	return nil
}

// comment is what stands above a key, as one line.
func comment(key *yaml.Node) string {
	var words []string
	for line := range strings.Lines(key.HeadComment) {
		words = append(words, strings.Fields(strings.TrimPrefix(line, "#"))...)
	}
	return strings.ReplaceAll(strings.Join(words, " "), "|", `\|`)
}

// one is a value in one line.
func one(value *yaml.Node) (string, error) {
	flow(value)
	out, err := yaml.Marshal(value)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(out))
	if strings.Contains(s, "\n") {
		return "", errors.New("a value of several lines: " + s)
	}
	return s, nil
}

func flow(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		n.Style = yaml.FlowStyle
	}
	for _, c := range n.Content {
		flow(c)
	}
}
