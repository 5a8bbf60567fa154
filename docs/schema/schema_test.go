package schema_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ms2m.dev/ms2m/docs/schema"
	"ms2m.dev/ms2m/sdk/handover"
)

const handoverDir = "../../sdk/handover/"

// object is a part of a schema that describes a Go struct.
type object struct {
	file, at string // the path within the file, "" is the root
	of       reflect.Type
}

var objects = []object{
	{"command", "", reflect.TypeFor[handover.Command]()},
	{"report", "", reflect.TypeFor[handover.Report]()},
	{"report", "$defs/status", reflect.TypeFor[handover.Status]()},
	{"hold", "", reflect.TypeFor[handover.Hold]()},
	{"entry", "", reflect.TypeFor[handover.EntryHeader]()},
	{"entry", "$defs/record", reflect.TypeFor[handover.Record]()},
	{"entry", "$defs/properties", reflect.TypeFor[handover.Properties]()},
	{"entry", "$defs/field/properties/D", reflect.TypeFor[handover.Decimal]()},
}

// TestFields: schema and Go type have the same fields, and require the same.
func TestFields(t *testing.T) {
	for _, o := range objects {
		node := find(t, o.file, o.at)
		if node["additionalProperties"] != false {
			t.Errorf("%s %s allows other fields", o.file, o.at)
		}
		var fields, required []string
		for f := range o.of.NumField() {
			name, rest, _ := strings.Cut(o.of.Field(f).Tag.Get("json"), ",")
			fields = append(fields, name)
			if rest == "" {
				required = append(required, name)
			}
		}
		slices.Sort(fields)
		slices.Sort(required)
		var have []string
		for name := range node["properties"].(map[string]any) {
			have = append(have, name)
		}
		slices.Sort(have)
		if !slices.Equal(have, fields) {
			t.Errorf("%s %s has the fields %v, %s has %v", o.file, o.at, have, o.of, fields)
		}
		if got := names(node["required"]); !slices.Equal(got, required) {
			t.Errorf("%s %s requires %v, %s always writes %v", o.file, o.at, got, o.of, required)
		}
	}
}

// TestEnums: a constant added to the Go types is added to the schema.
func TestEnums(t *testing.T) {
	constants := readConstants(t)
	for _, e := range []struct{ file, at, of string }{
		{"command", "properties/kind", "CommandKind"},
		{"report", "properties/kind", "ReportKind"},
		{"report", "properties/answers", "CommandKind"},
		{"report", "properties/reason", "Reason"},
		{"report", "$defs/status/properties/state", "State"},
		{"report", "$defs/status/properties/identity", "IdentityKind"},
		{"report", "$defs/status/properties/decision", "Decision"},
		{"entry", "properties/kind", "EntryKind"},
		{"entry", "properties/outcome", "Outcome"},
	} {
		want := constants[e.of]
		slices.Sort(want)
		if got := names(find(t, e.file, e.at)["enum"]); !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s %s lists %v, %s has %v", e.file, e.at, got, e.of, want)
		}
	}
	if v := find(t, "command", "properties/version")["const"]; v != float64(handover.Version) {
		t.Errorf("version %v", v)
	}
}

// TestEncodings: what the Go types write is valid, and what lacks a required
// field, or has one that is unknown or of another type, is not.
func TestEncodings(t *testing.T) {
	set, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	constants := readConstants(t)
	rapid.Check(t, func(t *rapid.T) {
		name, message := draw(t, constants)
		b, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Check(name, b); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		var doc map[string]any
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		refused := func(what string, doc map[string]any) {
			b, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			if set.Check(name, b) == nil {
				t.Fatalf("%s is accepted: %s", what, b)
			}
		}
		for _, field := range names(find(t, name, "")["required"]) {
			without := clone(doc)
			delete(without, field)
			refused("without "+field, without)
		}
		for field := range doc {
			with := clone(doc)
			with[field] = []any{true}
			refused("with a list for "+field, with)
		}
		with := clone(doc)
		with["x"] = 1
		refused("with an unknown field", with)
	})
}

func clone(m map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// draw draws a message as the protocol has it.
func draw(t *rapid.T, constants map[string][]string) (name string, message any) {
	text := rapid.StringN(1, 20, -1)
	millis := rapid.Int64Range(1, 1<<40)
	one := func(of string) string { return rapid.SampledFrom(constants[of]).Draw(t, of) }
	switch name = rapid.SampledFrom([]string{schema.Command, schema.Report, schema.Hold, schema.Entry}).Draw(t, "name"); name {
	case schema.Command:
		c := handover.Command{Version: handover.Version, Kind: handover.CommandKind(one("CommandKind")), Migration: text.Draw(t, "migration"),
			Attempt: rapid.IntRange(0, 9).Draw(t, "attempt"), Epoch: millis.Draw(t, "epoch"), PodUID: text.Draw(t, "pod"),
			ReplayQueue: text.Draw(t, "queue"), DeadlineMillis: millis.Draw(t, "deadline"), LeaseMillis: millis.Draw(t, "lease"), ReportMillis: rapid.Int64Range(0, 9).Draw(t, "report")}
		switch c.Kind {
		case handover.TakeOver:
			c.FencePodUID = rapid.String().Draw(t, "fence")
		case handover.Prepare:
			c.Sequential = rapid.Bool().Draw(t, "sequential")
		case handover.Hello:
			c.PaceMillis = rapid.Int64Range(0, 1000).Draw(t, "pace")
		case handover.Freeze:
			c.Successor = rapid.String().Draw(t, "successor")
		}
		return name, c
	case schema.Report:
		r := handover.Report{Version: handover.Version, Kind: handover.ReportKind(one("ReportKind")), Message: rapid.String().Draw(t, "message"),
			Reason: handover.Reason(one("Reason")), Status: handover.Status{
				PodUID: rapid.String().Draw(t, "pod"), Incarnation: text.Draw(t, "incarnation"), State: handover.State(one("State")), Migration: rapid.String().Draw(t, "migration"),
				Attempt: rapid.IntRange(0, 9).Draw(t, "attempt"), Epoch: millis.Draw(t, "epoch"), Queue: text.Draw(t, "queue"), Prefetch: rapid.IntRange(1, 65535).Draw(t, "prefetch"),
				Identity: handover.IdentityKind(one("IdentityKind")), Number: uint64(millis.Draw(t, "number")), Confirmed: uint64(millis.Draw(t, "confirmed")),
				Rate: rapid.Float64Range(0, 1e9).Draw(t, "rate"), Capacity: rapid.Float64Range(0, 1e9).Draw(t, "capacity"), PauseMillis: millis.Draw(t, "pause"), PaceMillis: rapid.Int64Range(0, 1000).Draw(t, "pace")}}
		if rapid.Bool().Draw(t, "several") {
			r.Status.Queue, r.Status.Queues = "", rapid.SliceOfNDistinct(text, 2, 4, rapid.ID).Draw(t, "queues")
		}
		if rapid.Bool().Draw(t, "decided") {
			r.Status.Decision = handover.Decision(one("Decision"))
		}
		if r.Kind != handover.ReportProgress {
			r.Answers = handover.CommandKind(one("CommandKind"))
		}
		return name, r
	case schema.Hold:
		return name, handover.Hold{Version: handover.Version, Migration: text.Draw(t, "migration"), SourcePod: rapid.String().Draw(t, "pod"), DeadlineMillis: millis.Draw(t, "deadline"), Sequential: rapid.Bool().Draw(t, "sequential")}
	}
	h := handover.EntryHeader{Version: handover.Version, Kind: handover.EntryKind(one("EntryKind")), Number: uint64(millis.Draw(t, "number"))}
	if h.Kind == handover.EntryEnd {
		h.Digest = rapid.SliceOf(rapid.Byte()).Draw(t, "digest")
		h.Takeover = rapid.String().Draw(t, "takeover")
		h.Released = rapid.Bool().Draw(t, "released")
		return name, h
	}
	h.Outcome, h.Identity = handover.Outcome(one("Outcome")), rapid.String().Draw(t, "identity")
	h.Queue = rapid.String().Draw(t, "primary")
	h.Exchange, h.RoutingKey = rapid.String().Draw(t, "exchange"), rapid.String().Draw(t, "key")
	h.Parts = rapid.IntRange(0, 3).Draw(t, "parts")
	h.Part = max(0, h.Parts-1)
	h.Records = rapid.SliceOf(rapid.Custom(func(t *rapid.T) handover.Record {
		return handover.Record{Name: rapid.String().Draw(t, "name"), Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value"), Error: rapid.String().Draw(t, "error")}
	})).Draw(t, "records")
	at := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "timestamp"), 0).UTC()
	h.Properties = handover.Properties{ContentType: rapid.String().Draw(t, "type"), Priority: rapid.Byte().Draw(t, "priority"), DeliveryMode: rapid.Byte().Draw(t, "mode"),
		MessageID: rapid.String().Draw(t, "message id"), Timestamp: &at, Headers: table(t, 0)}
	return name, h
}

// table draws a table with values of every type that AMQP has.
func table(t *rapid.T, depth int) handover.Table {
	out := handover.Table{}
	for _, key := range rapid.SliceOf(rapid.String()).Draw(t, "keys") {
		out[key] = value(t, depth)
	}
	return out
}

func value(t *rapid.T, depth int) any {
	n := rapid.Int64().Draw(t, "n")
	switch k := rapid.IntRange(0, 14).Draw(t, "kind"); {
	case k == 0:
		return nil
	case k == 1:
		return n > 0
	case k == 2:
		return int8(n)
	case k == 3:
		return uint8(n)
	case k == 4:
		return int16(n)
	case k == 5:
		return int32(n)
	case k == 6:
		return n
	case k == 7:
		return float32(n)
	case k == 8:
		return float64(n)
	case k == 9:
		return rapid.String().Draw(t, "s")
	case k == 10:
		return rapid.SliceOf(rapid.Byte()).Draw(t, "x")
	case k == 11:
		return handover.Decimal{Scale: uint8(n), Value: int32(n)}
	case k == 12:
		return time.Unix(n>>20, 0)
	case k == 13 && depth < 3:
		return table(t, depth+1)
	case depth < 3:
		return []any{value(t, depth+1), value(t, depth+1)}
	}
	return int(n)
}

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// find is a part of a schema.
func find(t fataler, file, at string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(file + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var node map[string]any
	if err := json.Unmarshal(b, &node); err != nil {
		t.Fatal(err)
	}
	for step := range strings.SplitSeq(at, "/") {
		if step == "" {
			continue
		}
		next, ok := node[step].(map[string]any)
		if !ok {
			t.Fatalf("%s has no %s", file, at)
		}
		node = next
	}
	return node
}

// names are the strings of a list, sorted; none if there is no list.
func names(list any) []string {
	var out []string
	all, _ := list.([]any)
	for _, e := range all {
		out = append(out, e.(string))
	}
	slices.Sort(out)
	return out
}

// readConstants are the values of the string constants of sdk/handover by their type.
func readConstants(t fataler) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, name := range []string{"wire.go", "entry.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), handoverDir+name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Type == nil {
				return true
			}
			of, ok := spec.Type.(*ast.Ident)
			if !ok {
				return true
			}
			for _, v := range spec.Values {
				lit, ok := v.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				if s != "" {
					out[of.Name] = append(out[of.Name], s)
				}
			}
			return true
		})
	}
	return out
}
