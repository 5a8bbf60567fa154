package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// auditLog is what the API server has written down of the manager's requests.
type auditLog struct {
	file string
	at   int64 // how far it was read
}

// next counts the requests since the last call, as "verb resource[/subresource]". Watches
// are left out: they are written down when they end.
func (a *auditLog) next() (map[string]int, error) {
	f, err := os.Open(a.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(a.at, io.SeekStart); err != nil {
		return nil, err
	}
	calls, read, err := countCalls(f)
	a.at += read
	return calls, err
}

// countCalls counts whole lines, and says how many bytes those are.
func countCalls(r io.Reader) (calls map[string]int, read int64, err error) {
	calls = map[string]int{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return calls, read, nil // the rest of a line comes later
		}
		if err != nil {
			return calls, read, err
		}
		read += int64(len(line))
		var e struct {
			Verb   string `json:"verb"`
			Object *struct {
				Resource    string `json:"resource"`
				Subresource string `json:"subresource"`
			} `json:"objectRef"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return calls, read, fmt.Errorf("audit log: %w: %s", err, line)
		}
		if e.Verb == "watch" {
			continue
		}
		what := "others"
		if e.Object != nil {
			if what = e.Object.Resource; e.Object.Subresource != "" {
				what += "/" + e.Object.Subresource
			}
		}
		calls[e.Verb+" "+what]++
	}
}
