// Package schema holds the JSON Schemas of the protocol's messages, and checks
// messages against them. The contract in words is docs/protocol.md.
package schema

import (
	"bytes"
	"embed"
	"fmt"
	"path"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The names of the schemas, without .json.
const (
	Command = "command"
	Report  = "report"
	Hold    = "hold"
	Entry   = "entry"
)

//go:embed *.json
var files embed.FS

// Set is the schemas, compiled. It may be used concurrently.
type Set map[string]*jsonschema.Schema

// Load compiles all schemas.
func Load() (Set, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	set := Set{}
	for _, name := range []string{Command, Report, Hold, Entry} {
		b, err := files.ReadFile(name + ".json")
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		id := path.Join("docs/schema", name+".json")
		if err := c.AddResource(id, doc); err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		if set[name], err = c.Compile(id); err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
	}
	return set, nil
}

// Check checks a message, given as JSON.
func (s Set) Check(name string, message []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return s[name].Validate(doc)
}
