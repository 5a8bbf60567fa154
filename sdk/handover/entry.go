package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// EntryKind tells what an entry of the replay queue is.
type EntryKind string

// The kinds of entries.
const (
	EntryMessage EntryKind = "message" // a message that the source has handled
	EntryEnd     EntryKind = "end"     // END_REPLAY
)

// Outcome is how the handling of a message ended.
type Outcome string

// The outcomes.
const (
	Done     Outcome = "done"     // acknowledged
	Rejected Outcome = "rejected" // given up: dropped or dead-lettered by the broker
	Requeued Outcome = "requeued" // given back to be delivered again: not finished
)

// EntryHeader describes one entry of the replay queue.
type EntryHeader struct {
	Version  int       `json:"version"`
	Kind     EntryKind `json:"kind"`
	Number   uint64    `json:"number"`
	Part     int       `json:"part,omitempty"`  // from 0
	Parts    int       `json:"parts,omitempty"` // 0 or 1: whole
	Outcome  Outcome   `json:"outcome,omitempty"`
	Identity string    `json:"identity,omitempty"`
	Queue    string    `json:"queue,omitempty"` // that the message came from; only if the service has several

	Exchange   string     `json:"exchange,omitempty"`
	RoutingKey string     `json:"routingKey,omitempty"`
	Properties Properties `json:"properties,omitzero"`
	Records    []Record   `json:"records,omitempty"`

	// Digest is the digest of the source's state at END_REPLAY, if the service gives one.
	Digest []byte `json:"digest,omitempty"`
	// Released of END_REPLAY says that the broker had taken the source's consumer
	// off every primary queue, and what it had been given back, before it was written:
	// the target need not look for that. A source that came to its end on a new
	// connection has not seen to it.
	Released bool `json:"released,omitempty"`
	// Takeover marks an END_REPLAY that a target wrote in the place of a dead
	// source: it has no number, and means something to that target alone, for as
	// long as the connection lasts on which it was written.
	Takeover string `json:"takeover,omitempty"`
}

// Record is the result of a side effect that the source ran and the replay reads.
type Record struct {
	Name  string `json:"name"`
	Value []byte `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

// MaxPartBytes bounds the body of one entry: RabbitMQ 4 refuses messages above
// 16 MiB, and the header needs room beside the payload.
const MaxPartBytes = 8 << 20

// ErrEntry is the error of a malformed entry.
var ErrEntry = errors.New("malformed replay entry")

// EncodeEntry lays an entry out for the replay queue, in parts if the payload
// is too big for one message. Only the first part repeats properties and records.
func EncodeEntry(h EntryHeader, payload []byte) ([][]byte, error) {
	h.Version = Version
	parts := (len(payload) + MaxPartBytes - 1) / MaxPartBytes
	if parts <= 1 {
		b, err := frame(h, payload)
		return [][]byte{b}, err
	}
	out := make([][]byte, 0, parts)
	for i := range parts {
		p := h
		p.Part, p.Parts = i, parts
		if i > 0 {
			p.Properties, p.Records = Properties{}, nil
		}
		b, err := frame(p, payload[i*MaxPartBytes:min((i+1)*MaxPartBytes, len(payload))])
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func frame(h EntryHeader, payload []byte) ([]byte, error) {
	hdr, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode replay entry %d: %w", h.Number, err)
	}
	b := make([]byte, 4, 4+len(hdr)+len(payload))
	binary.BigEndian.PutUint32(b, uint32(len(hdr)))
	return append(append(b, hdr...), payload...), nil
}

// DecodeEntry takes one part of an entry apart. The payload aliases body.
func DecodeEntry(body []byte) (EntryHeader, []byte, error) {
	var h EntryHeader
	if len(body) < 4 {
		return h, nil, fmt.Errorf("%w: %d bytes", ErrEntry, len(body))
	}
	n := binary.BigEndian.Uint32(body)
	if uint64(n) > uint64(len(body)-4) {
		return h, nil, fmt.Errorf("%w: header of %d bytes in a body of %d", ErrEntry, n, len(body))
	}
	if err := json.Unmarshal(body[4:4+n], &h); err != nil {
		return h, nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	if h.Version != Version {
		return h, nil, fmt.Errorf("%w: version %d, want %d", ErrEntry, h.Version, Version)
	}
	if h.Kind != EntryMessage && h.Kind != EntryEnd {
		return h, nil, fmt.Errorf("%w: kind %q", ErrEntry, h.Kind)
	}
	if h.Part < 0 || h.Parts < 0 || h.Parts > 0 && h.Part >= h.Parts {
		return h, nil, fmt.Errorf("%w: part %d of %d", ErrEntry, h.Part, h.Parts)
	}
	return h, body[4+n:], nil
}

// Assembler puts the parts of entries together again. Parts of one entry
// arrive in order; after a lost connection the source begins the entry anew.
type Assembler struct {
	head EntryHeader
	next int
	body []byte
}

// Add takes one part and reports whether it completes an entry. A part that
// does not follow the one before is dropped with what was gathered: the
// entry's own beginning comes again, and if it does not, the gap in the
// numbers shows.
func (a *Assembler) Add(h EntryHeader, payload []byte) (EntryHeader, []byte, bool) {
	if h.Parts <= 1 {
		a.next, a.body = 0, nil
		return h, payload, true
	}
	if h.Part == 0 {
		a.head, a.next, a.body = h, 0, nil
	}
	if h.Part != a.next || h.Number != a.head.Number {
		a.next, a.body = 0, nil
		return EntryHeader{}, nil, false
	}
	a.body = append(a.body, payload...)
	if a.next++; a.next < h.Parts {
		return EntryHeader{}, nil, false
	}
	whole := a.head
	whole.Part, whole.Parts = 0, 0
	body := a.body
	a.next, a.body = 0, nil
	return whole, body, true
}
