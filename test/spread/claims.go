package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// claims is a directory that the labs share: the list of tests, and of each test
// that was taken a file by which no other lab takes it, too; then one with the result.
type claims struct {
	dir   string
	tests []string
}

const (
	passed    = "PASS"
	lastLines = 30 // of a test that has not passed
)

func newClaims(dir string, tests []string) (*claims, error) {
	return &claims{dir, tests}, os.WriteFile(filepath.Join(dir, "tests"), []byte(strings.Join(tests, "\n")), 0o600)
}

func openClaims(dir string) (*claims, error) {
	data, err := os.ReadFile(filepath.Join(dir, "tests"))
	return &claims{dir, strings.Fields(string(data))}, err
}

// next takes the next test that nobody has taken; "" if there is none.
func (c *claims) next() (string, error) {
	for _, test := range c.tests {
		f, err := os.OpenFile(filepath.Join(c.dir, test+".taken"), os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case err == nil:
			return test, f.Close()
		case !errors.Is(err, fs.ErrExist):
			return "", err
		}
	}
	return "", nil
}

func (c *claims) done(test, result string, took time.Duration) error {
	line := fmt.Sprintf("%s %s (%.0fs)", result, test, took.Seconds())
	return os.WriteFile(filepath.Join(c.dir, test+".result"), []byte(line), 0o600)
}

// report lists what became of each test, and returns those that have not passed. The
// ends of what these printed come last: of a long log often only the end is kept.
func (c *claims) report(w io.Writer) (bad []string) {
	for _, test := range c.tests {
		line, err := os.ReadFile(filepath.Join(c.dir, test+".result"))
		if err != nil {
			line = []byte("NOT RUN " + test)
		}
		if !strings.HasPrefix(string(line), passed+" ") {
			bad = append(bad, test)
		}
		fmt.Fprintln(w, string(line))
	}
	for _, test := range bad {
		if printed, err := os.ReadFile(c.printed(test)); err == nil {
			lines := strings.SplitAfter(strings.TrimRight(string(printed), "\n"), "\n")
			fmt.Fprintf(w, "--- the end of %s\n%s\n", test, strings.Join(lines[max(0, len(lines)-lastLines):], ""))
		}
	}
	return bad
}

// printed is the file of what a test prints.
func (c *claims) printed(test string) string { return filepath.Join(c.dir, test+".printed") }

// work runs tests, one after the other, until all are taken. A test that fails
// does not keep the others from being run.
func work(ctx context.Context, dir string, program []string) error {
	c, err := openClaims(dir)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		test, err := c.next()
		if test == "" || err != nil {
			return err
		}
		if err := c.run(ctx, test, program); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// run runs a test and keeps its result.
func (c *claims) run(ctx context.Context, test string, program []string) error {
	printed, err := os.Create(c.printed(test))
	if err != nil {
		return err
	}
	defer printed.Close()
	start := time.Now()
	cmd := exec.CommandContext(ctx, program[0], append([]string{"-test.run", "^" + test + "$"}, program[1:]...)...)
	// One and the same writer: exec then never writes from two goroutines.
	out := io.MultiWriter(os.Stdout, printed)
	cmd.Stdout, cmd.Stderr = out, out
	// What a test leaves running keeps its output open: that is a failure, not a wait.
	cmd.WaitDelay = 10 * time.Second
	result := passed
	if err := cmd.Run(); err != nil {
		result = "FAIL"
		fmt.Fprintf(out, "%s: %v\n", test, err)
	}
	return c.done(test, result, time.Since(start))
}
