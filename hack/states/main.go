// Command states draws the state machine: it makes docs/states.svg of the table
// in docs/states, with graphviz' dot.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"ms2m.dev/ms2m/docs/states"
)

func main() {
	if err := run("docs/states.svg"); err != nil {
		fmt.Fprintln(os.Stderr, "states:", err)
		os.Exit(1)
	}
}

func run(file string) error {
	var picture bytes.Buffer
	dot := exec.Command("dot", "-Tsvg")
	dot.Stdin, dot.Stdout, dot.Stderr = strings.NewReader(states.Dot()), &picture, os.Stderr
	if err := dot.Run(); err != nil {
		return fmt.Errorf("dot (Debian: graphviz): %w", err)
	}
	return os.WriteFile(file, []byte(picture.String()+states.Mark(picture.String())), 0o644)
}
