package install

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// What is written behind a line of containerd's own configuration, so that it can
// be taken back: the line is ours, or the last entry of its list.
const (
	lineMark  = " # this line was added by the node agent of MS2M"
	entryMark = " # the last entry was added by the node agent of MS2M"
)

// importLine is a list of imports on one line. A longer one is left to its author.
var importLine = regexp.MustCompile(`(?m)^[ \t]*imports[ \t]*=[ \t]*\[([^\]\n]*)\][ \t]*(#.*)?$`)

// Import has containerd's own configuration import a directory, where that does
// not yet: few nodes come with one that does.
type Import struct {
	// Config is containerd's configuration as the agent sees it.
	Config string
	// Pattern is what it is to import, by its path on the node.
	Pattern string
}

// add adds the pattern and tells whether it was missing.
func (m Import) add() (bool, error) {
	before, err := os.ReadFile(m.Config)
	if err != nil {
		return false, err
	}
	have, err := imports(before)
	if err != nil {
		return false, fmt.Errorf("%s: %w", m.Config, err)
	}
	// Relative ones are so to its directory, which has the same name here.
	if slices.ContainsFunc(have, func(p string) bool { return filepath.Clean(p) == m.Pattern }) {
		return false, nil
	}
	after := slices.Concat(fmt.Appendf(nil, "imports = [%q]%s\n", m.Pattern, lineMark), before)
	if found := importLine.FindSubmatchIndex(before); found != nil {
		list := strings.TrimRight(string(before[found[2]:found[3]]), " \t,")
		if strings.TrimSpace(list) != "" {
			list += ", "
		}
		after = splice(before, found[0], found[1], fmt.Sprintf("imports = [%s%q]%s", list, m.Pattern, entryMark))
	}
	return true, m.write(before, after, append(have, m.Pattern))
}

// Remove takes back what add has added.
func (m Import) Remove() error {
	before, err := os.ReadFile(m.Config)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	have, err := imports(before)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Config, err)
	}
	found := importLine.FindSubmatchIndex(before)
	if found == nil || len(have) == 0 || have[len(have)-1] != m.Pattern {
		return nil
	}
	var after []byte
	switch line := string(before[found[0]:found[1]]); {
	case strings.HasSuffix(line, lineMark):
		after = splice(before, found[0], min(found[1]+1, len(before)), "")
	case strings.HasSuffix(line, entryMark):
		list := string(before[found[2]:found[3]])
		list = strings.TrimRight(list[:strings.LastIndex(list, fmt.Sprintf("%q", m.Pattern))], " \t,")
		after = splice(before, found[0], found[1], "imports = ["+list+"]")
	default:
		return nil
	}
	return m.write(before, after, have[:len(have)-1])
}

// write replaces the configuration, once it is known that nothing but the imports
// differs: containerd would not start with a broken one, and the node be lost.
func (m Import) write(before, after []byte, want []string) error {
	byHand := fmt.Errorf("%s: add %q to its imports by hand", m.Config, m.Pattern)
	var old, changed map[string]any
	if err := errors.Join(toml.Unmarshal(before, &old), toml.Unmarshal(after, &changed)); err != nil {
		return fmt.Errorf("%w: %w", byHand, err)
	}
	have, err := imports(after)
	if err != nil {
		return fmt.Errorf("%w: %w", byHand, err)
	}
	delete(old, "imports")
	delete(changed, "imports")
	if !slices.Equal(have, want) || !reflect.DeepEqual(old, changed) {
		return byHand
	}
	info, err := os.Stat(m.Config)
	if err != nil {
		return err
	}
	return replace(m.Config, bytes.NewReader(after), info.Mode().Perm())
}

func imports(config []byte) ([]string, error) {
	var c struct {
		Imports []string `toml:"imports"`
	}
	err := toml.Unmarshal(config, &c)
	return c.Imports, err
}

func splice(data []byte, from, to int, with string) []byte {
	return slices.Concat(data[:from], []byte(with), data[to:])
}
