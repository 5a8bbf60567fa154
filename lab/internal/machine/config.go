package machine

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"ms2m.dev/ms2m/lab/internal/plan"
)

//go:embed config
var configFiles embed.FS

var configs = template.Must(template.New("").Option("missingkey=error").ParseFS(configFiles, "config/*"))

// values are what the templates are filled with.
type values struct {
	PKI        string
	Address    string
	Registry   string
	PauseImage string
	Node       plan.Node
}

func newValues(n plan.Node) values {
	return values{PKI: pkiDir, Address: plan.Address, Registry: plan.Registry, PauseImage: plan.PauseImage, Node: n}
}

// render fills the template.
func render(name string, v values) ([]byte, error) {
	var b bytes.Buffer
	if err := configs.ExecuteTemplate(&b, name, v); err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// writeConfigs renders templates to files: template by path.
func writeConfigs(v values, paths map[string]string) error {
	for path, name := range paths {
		data, err := render(name, v)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make room for %s: %w", name, err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}
