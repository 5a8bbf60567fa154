package scripts

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestFuzz: what the fuzzer finds ends the script, and that the time is over does not,
// though Go may say so as if it were a failure.
func TestFuzz(t *testing.T) {
	const (
		began    = "fuzz: elapsed: 5s, execs: 39677 (2894/sec), new interesting: 5 (total: 193)\n"
		overtime = began + "--- FAIL: FuzzDecode (5.03s)\n    context deadline exceeded\nFAIL\nexit status 1\nFAIL\tms2m.dev/ms2m/internal/nodefacts\t5.033s\n"
		finding  = began + "--- FAIL: FuzzDecode (0.03s)\n    --- FAIL: FuzzDecode (0.00s)\n        decode_test.go:9: context deadline exceeded\n    \n    Failing input written to testdata/fuzz/FuzzDecode/582528ddfad69eb5\nFAIL\nexit status 1\n"
		stuck    = began + "--- FAIL: FuzzDecode (10.03s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\nFAIL\nexit status 1\n"
		broken   = "# ms2m.dev/ms2m/internal/nodefacts\nsyntax error\nFAIL\tms2m.dev/ms2m/internal/nodefacts [build failed]\n"
	)
	for said, bad := range map[string]bool{began + "PASS\n": false, overtime: false, finding: true, stuck: true, broken: true} {
		m := newMachine(t, "")
		m.link("grep", "sed", "sh", "tail", "xargs")
		exit := "0"
		if !strings.HasSuffix(said, "PASS\n") {
			exit = "1"
		}
		m.write("said", said)
		m.write("git", "#!/bin/sh\necho internal/nodefacts/nodefacts_fuzz_test.go\n")
		m.write("go", "#!/bin/sh\ncat "+filepath.Join(m.dir, "said")+"\nexit "+exit+"\n")
		got, err := m.run("hack/fuzz.sh")
		if (err != nil) != bad {
			t.Errorf("%v after\n%s\nit says\n%s", err, said, got)
		}
		if bad && got != said {
			t.Errorf("of the finding\n%s\nit says\n%s", said, got)
		}
	}
}
