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

const passed = "PASS"

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

// report lists what became of each test, and returns those that have not passed.
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
	return bad
}

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
		start := time.Now()
		cmd := exec.CommandContext(ctx, program[0], append([]string{"-test.run", "^" + test + "$"}, program[1:]...)...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		result := passed
		if err := cmd.Run(); err != nil {
			result = "FAIL"
			fmt.Fprintf(os.Stderr, "%s: %v\n", test, err)
		}
		if err := c.done(test, result, time.Since(start)); err != nil {
			return err
		}
	}
	return ctx.Err()
}
