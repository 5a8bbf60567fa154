// Package report makes one HTML file of a migration: what happened when, and what it
// cost. The file needs nothing else to be opened: no network, no script. It is pure.
package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Input is what a report is made of.
type Input struct {
	Migration *v1alpha1.StatefulMigration
	Events    []corev1.Event
	// Now is when it is made: a migration that has not ended is shown up to then.
	Now time.Time
	// Versions names the programs that had to do with it.
	Versions []Pair
}

// Pair is a name with a value.
type Pair struct{ Name, Value string }

var (
	//go:embed page.html
	pageText string
	//go:embed style.css
	style string

	page = template.Must(template.New("page").Parse(pageText))
)

// policy lets the page have its own style and nothing else: no script, no network.
func policy() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'none'"
}

// Write writes the report.
func Write(w io.Writer, in Input) error {
	v, err := newView(in)
	if err != nil {
		return err
	}
	v.Policy, v.Style = policy(), template.CSS(style) // the file beside this one
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		return err
	}
	_, err = b.WriteTo(w)
	return err
}
