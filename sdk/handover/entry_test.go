package handover

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// tables draws AMQP tables with every type of field value.
func tables(depth int) *rapid.Generator[Table] {
	values := []*rapid.Generator[any]{
		rapid.Bool().AsAny(), rapid.Int8().AsAny(), rapid.Uint8().AsAny(), rapid.Int16().AsAny(),
		rapid.Int32().AsAny(), rapid.Int64().AsAny(), rapid.Float32().AsAny(), rapid.Float64().AsAny(),
		rapid.String().AsAny(), rapid.SliceOf(rapid.Byte()).AsAny(),
		rapid.Map(rapid.Int64Range(0, 1<<40), func(s int64) time.Time { return time.Unix(s, 0).UTC() }).AsAny(),
		rapid.Map(rapid.Int32(), func(v int32) Decimal { return Decimal{Scale: 2, Value: v} }).AsAny(),
		rapid.Just[any](nil),
	}
	if depth > 0 {
		values = append(values, tables(depth-1).AsAny(),
			rapid.Map(rapid.SliceOf(rapid.OneOf(values...)), func(l []any) []any { return append([]any{}, l...) }).AsAny())
	}
	return rapid.Map(rapid.MapOf(rapid.String(), rapid.OneOf(values...)), func(m map[string]any) Table { return m })
}

func TestTablesKeepTheirTypes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := tables(2).Draw(t, "table")
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out Table
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, out, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEntriesSurviveTheWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "bytes"), rapid.SampledFrom([]int{0, 1, MaxPartBytes / 2, MaxPartBytes}).Draw(t, "times"))
		in := EntryHeader{
			Kind: EntryMessage, Number: rapid.Uint64Min(1).Draw(t, "number"), Outcome: Done,
			Identity:   rapid.String().Draw(t, "identity"),
			Properties: Properties{MessageID: "m", Headers: tables(0).Draw(t, "headers")},
			Records:    []Record{{Name: "now", Value: []byte("x")}},
		}
		parts, err := EncodeEntry(in, payload)
		if err != nil {
			t.Fatal(err)
		}
		// A publishing that was broken off is begun anew after the connection is back.
		broken := rapid.IntRange(0, len(parts)-1).Draw(t, "broken off after")
		parts = append(append([][]byte{}, parts[:broken]...), parts...)
		var a Assembler
		var whole int
		for _, p := range parts {
			h, b, err := DecodeEntry(p)
			if err != nil {
				t.Fatal(err)
			}
			h, b, ok := a.Add(h, b)
			if !ok {
				continue
			}
			whole++
			in.Version = Version
			if diff := cmp.Diff(in, h, cmpopts.EquateEmpty()); diff != "" {
				t.Fatal(diff)
			}
			if !bytes.Equal(payload, b) {
				t.Fatalf("payload of %d bytes came back as %d", len(payload), len(b))
			}
		}
		if whole != 1 {
			t.Fatalf("%d entries came out", whole)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	parts, err := EncodeEntry(EntryHeader{Kind: EntryEnd, Number: 3}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(parts[0])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, b []byte) {
		var a Assembler
		if h, body, err := DecodeEntry(b); err == nil {
			a.Add(h, body)
		}
	})
}
