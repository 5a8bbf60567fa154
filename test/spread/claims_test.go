package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestNext: labs that take at the same time take every test, and each once.
func TestNext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var tests []string
	for i := range 50 {
		tests = append(tests, fmt.Sprintf("Test%d", i))
	}
	if _, err := newClaims(dir, tests); err != nil {
		t.Fatal(err)
	}
	taken := make(chan string, 2*len(tests))
	var labs sync.WaitGroup
	for range 4 {
		labs.Go(func() {
			c, err := openClaims(dir)
			if err != nil {
				t.Error(err)
				return
			}
			for {
				test, err := c.next()
				if err != nil {
					t.Error(err)
				}
				if test == "" || err != nil {
					return
				}
				taken <- test
			}
		})
	}
	labs.Wait()
	close(taken)
	var all []string
	for test := range taken {
		all = append(all, test)
	}
	slices.Sort(all)
	slices.Sort(tests)
	if !slices.Equal(all, tests) {
		t.Errorf("taken: %v", all)
	}
}

// TestWork: one test fails, the others are run all the same; one that was not
// run has not passed. What the failed one printed last is told again at the end.
func TestWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := newClaims(dir, []string{"TestA", "TestB", "TestC", "TestD"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "TestD.taken"), nil, 0o600); err != nil {
		t.Fatal(err) // by a lab that died
	}
	program := filepath.Join(t.TempDir(), "program")
	script := "#!/bin/sh\nseq 40; [ \"$1 $3\" = '-test.run -x' ] && [ \"$2\" != '^TestB$' ]\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := work(t.Context(), dir, []string{program, "-x"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if bad := c.report(&out); !slices.Equal(bad, []string{"TestB", "TestD"}) {
		t.Errorf("not passed: %v", bad)
	}
	lines := regexp.MustCompile(`\d+s`).ReplaceAllString(out.String(), "0s")
	want := "PASS TestA (0s)\nFAIL TestB (0s)\nPASS TestC (0s)\nNOT RUN TestD\n--- the end of TestB\n"
	for i := 12; i <= 40; i++ {
		want += fmt.Sprintf("%d\n", i)
	}
	if want += "TestB: exit status 1\n"; lines != want {
		t.Errorf("%s, want %s", lines, want)
	}
}

func TestPrefixed(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := newPrefixed(&out, "1| ")
	for _, part := range []string{"a", "b\nc", "\n\nd"} {
		if n, err := p.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	p.flush()
	if want := "1| ab\n1| c\n1| \n1| d\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// TestList: who is alone is apart from the others, of whom the longest begin.
func TestList(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n[ \"$1 $2\" = '-test.list ^Test' ] && printf 'TestA\\nTestLong\\nTestRate\\nTestB\\n'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := options{run: "^Test", alone: "^TestRate$", first: "^TestLong$", program: []string{program}}
	alone, others, err := list(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(alone, []string{"TestRate"}) || !slices.Equal(others, []string{"TestLong", "TestA", "TestB"}) {
		t.Errorf("alone %v, others %v", alone, others)
	}
	o.run = "^None$"
	if _, _, err := list(t.Context(), o); err == nil {
		t.Error("no test is as good as any")
	}
}
