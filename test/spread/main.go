// Command spread runs the tests of a test program in several labs at once. Each
// lab takes the next test that no other has taken, and a test has its lab for
// itself while it runs: tests that take the broker or a node away stay possible.
//
//	spread [-labs N] [-nodes N] [-bin DIR] [-run PATTERN] [-alone PATTERN] [-first PATTERN] -- PROGRAM [ARGS...]
//
// In a lab it runs itself again, with -claims, as the command of inlab.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

func main() {
	o := options{}
	flag.IntVar(&o.labs, "labs", 2, "`number` of labs")
	flag.IntVar(&o.nodes, "nodes", 3, "`number` of nodes of each")
	flag.StringVar(&o.bin, "bin", "bin", "`directory` of the programs")
	flag.StringVar(&o.run, "run", ".", "`pattern` of the tests to run")
	flag.StringVar(&o.alone, "alone", "^$", "`pattern` of those that are run before all others, in one lab while there is no other: what they measure depends on it")
	flag.StringVar(&o.first, "first", "^$", "`pattern` of those that begin: the longest, so that none is left alone at the end")
	claims := flag.String("claims", "", "the `directory` in which labs take their tests: set by spread itself")
	flag.Parse()
	o.program = flag.Args()
	if len(o.program) == 0 {
		fmt.Fprintln(os.Stderr, "spread: which test program?")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	if *claims != "" {
		err = work(ctx, *claims, o.program)
	} else {
		err = spread(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "spread:", err)
		os.Exit(1)
	}
}

type options struct {
	labs, nodes            int
	bin, run, alone, first string
	program                []string
}

// spread runs the tests that are to be alone, then the others.
func spread(ctx context.Context, o options) error {
	alone, others, err := list(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(over(ctx, o, alone, 1), over(ctx, o, others, o.labs))
}

// over makes the claims, starts the labs, and sees that every test was run.
func over(ctx context.Context, o options, tests []string, labs int) error {
	if len(tests) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "ms2m-spread-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	claims, err := newClaims(dir, tests)
	if err != nil {
		return err
	}
	labs = min(labs, len(tests))
	fmt.Printf("%d tests in %d labs\n", len(tests), labs)
	ended := make(chan error, labs)
	for i := range labs {
		go func() { ended <- lab(ctx, o, dir, i) }()
	}
	for range labs {
		err = errors.Join(err, <-ended)
	}
	bad := claims.report(os.Stdout)
	if len(bad) > 0 {
		err = errors.Join(err, fmt.Errorf("not passed: %s", strings.Join(bad, ", ")))
	}
	return err
}

// list is the tests that match: those that are to be alone, and the others, those of
// -first before the rest.
func list(ctx context.Context, o options) (alone, others []string, err error) {
	first, err := regexp.Compile(o.first)
	if err != nil {
		return nil, nil, fmt.Errorf("-first: %w", err)
	}
	apart, err := regexp.Compile(o.alone)
	if err != nil {
		return nil, nil, fmt.Errorf("-alone: %w", err)
	}
	cmd := exec.CommandContext(ctx, o.program[0], "-test.list", o.run)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("list the tests: %w", err)
	}
	for _, test := range strings.Fields(string(out)) {
		if apart.MatchString(test) {
			alone = append(alone, test)
		} else {
			others = append(others, test)
		}
	}
	if len(alone)+len(others) == 0 {
		return nil, nil, fmt.Errorf("no test matches -run %q", o.run)
	}
	slices.SortStableFunc(others, func(a, b string) int { return late(first, a) - late(first, b) })
	return alone, others, nil
}

func late(first *regexp.Regexp, test string) int {
	if first.MatchString(test) {
		return 0
	}
	return 1
}

// lab brings lab number i up and has it work.
func lab(ctx context.Context, o options, dir string, i int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"-bin", o.bin, "-nodes", fmt.Sprint(o.nodes), "--", self, "-claims", dir, "--"}, o.program...)
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "inlab"), args...)
	cmd.Env = os.Environ()
	if i > 0 {
		state, err := stateOf(i)
		if err != nil {
			return err
		}
		cmd.Env = append(cmd.Env, envLab+"="+state)
	}
	out := newPrefixed(os.Stdout, fmt.Sprintf("%d| ", i+1))
	defer out.flush()
	cmd.Stdout, cmd.Stderr = out, out
	// inlab takes its lab down then.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("lab %d: %w", i+1, err)
	}
	return nil
}

// envLab chooses a lab.
const envLab = "MS2M_LAB_DIR"

// stateOf is where the state of a further lab is, beside that of the first.
func stateOf(i int) (string, error) {
	first := os.Getenv(envLab)
	if first == "" {
		cache := os.Getenv("MS2M_CACHE")
		if cache == "" {
			user, err := os.UserCacheDir()
			if err != nil {
				return "", err
			}
			cache = filepath.Join(user, "ms2m")
		}
		first = filepath.Join(cache, "lab")
	}
	return fmt.Sprintf("%s-%d", first, i+1), nil
}
