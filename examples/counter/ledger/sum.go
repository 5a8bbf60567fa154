package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Sum is a link of a hash chain: it stands for every message up to it, in
// their order. The chain of no message is the zero Sum.
type Sum [sha256.Size]byte

// Next is the chain with one more message: the hash of this link, the
// producer, its number and the hash of the body.
func (s Sum) Next(producer string, seq uint64, body Sum) Sum {
	h := sha256.New()
	h.Write(s[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(producer)))) // so that no two messages are written alike
	h.Write([]byte(producer))
	h.Write(binary.BigEndian.AppendUint64(nil, seq))
	h.Write(body[:])
	return Sum(h.Sum(nil))
}

// Body is the hash of a message's body.
func Body(b []byte) Sum { return sha256.Sum256(b) }

// String is the sum in hexadecimal.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText implements encoding.TextMarshaler.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Sum) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("chain: %w", err)
	}
	if len(b) != len(s) {
		return fmt.Errorf("chain: %d bytes, want %d", len(b), len(s))
	}
	copy(s[:], b)
	return nil
}

// MessageID is the message-id of a producer's message.
func MessageID(producer string, seq uint64) string {
	return producer + "-" + strconv.FormatUint(seq, 10)
}

// ParseMessageID takes a message-id apart. The producer may hold dashes itself.
func ParseMessageID(id string) (producer string, seq uint64, err error) {
	i := strings.LastIndexByte(id, '-')
	if i <= 0 {
		return "", 0, fmt.Errorf("message-id %q is not <producer>-<number>", id)
	}
	seq, err = strconv.ParseUint(id[i+1:], 10, 64)
	if err != nil || seq == 0 {
		return "", 0, fmt.Errorf("message-id %q is not <producer>-<number>", id)
	}
	return id[:i], seq, nil
}
