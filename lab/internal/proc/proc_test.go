package proc

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestParseStatus(t *testing.T) {
	const line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n"
	st, err := parseStatus(line)
	if err != nil || st != (status{"S", 7, 123456}) {
		t.Errorf("got %+v, %v", st, err)
	}
	if _, err := parseStatus("1 (x) S"); err == nil {
		t.Error("a short line was accepted")
	}
}

func TestAliveUntilGone(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := Get(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Error("not alive")
	}
	children, err := Children(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := children[cmd.Process.Pid]; !slices.Equal(got, []string{"sleep", "60"}) {
		t.Errorf("the child's command line is %q", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for id.Alive() { // a zombie from now on
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a killed process ended well")
	}
	if (ID{PID: os.Getpid(), Start: 1}).Alive() {
		t.Error("a process with the PID of another one counts as alive")
	}
}
