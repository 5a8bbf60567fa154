package book

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Report is what the exchange publishes for each command.
type Report struct {
	Number  uint64 `json:"number"`  // of the command, in the order in which they were done
	Command string `json:"command"` // its message-id, which is the order's ID, too
	Result
	At time.Time `json:"at"` // by the exchange's clock
	// Chain is a hash over this report and the chain of the one before: two exchanges
	// with one chain have the same past, times and all.
	Chain string `json:"chain"`
}

// Next is the chain that follows from the one before.
func (r Report) Next(chain string) string {
	r.Chain = chain
	text, _ := json.Marshal(r) // of strings, numbers and a time of this age: cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// State is what the exchange serves over HTTP.
type State struct {
	Done  uint64 `json:"done"` // commands
	Chain string `json:"chain"`
	View

	// Mark is drawn at random when the process starts and kept in memory alone:
	// the same mark is the same memory.
	Mark     string `json:"mark"`
	Hostname string `json:"hostname"`
	Owner    bool   `json:"owner"` // whether this process owned the state before it looked at it
}
