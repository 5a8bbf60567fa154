package cluster

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"ms2m.dev/ms2m/lab/internal/machine"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/spec"
)

// The hidden commands with which the lab starts itself.
const (
	SuperviseCommand = "_supervise"
	JoinCommand      = "_join"
	MachineCommand   = "_machine"
)

// supervisorGroup is the cgroup of the supervisor itself.
const supervisorGroup = "supervisor"

// Supervise is process 1 of the lab's PID namespace: it makes the machines,
// connects them, and ends, and everything with it, if one of them ends.
func Supervise(l spec.Lab) error {
	if err := l.Cgroups.Join(supervisorGroup); err != nil {
		return err
	}
	// Nothing that is mounted from here on reaches the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount the lab's own /proc: %w", err)
	}
	pids := map[string]int{}
	var gates []*os.File
	ended := make(chan error)
	for _, name := range l.Machines() {
		cmd, gate, err := startMachine(l, name)
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		pids[name] = cmd.Process.Pid
		gates = append(gates, gate)
		go func() { ended <- fmt.Errorf("%s ended: %w", name, waitFor(cmd)) }()
	}
	if err := connect(pids[plan.ControlPlane], l.Nodes, pids); err != nil {
		return err
	}
	for _, g := range gates {
		g.Close()
	}
	log.Print("all machines are connected")
	return <-ended
}

// startMachine starts a machine's process 1 and returns the end of a pipe that it
// waits at until it is closed.
func startMachine(l spec.Lab, name string) (*exec.Cmd, *os.File, error) {
	wait, gate, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer wait.Close()
	cmd := exec.Command("/proc/self/exe", JoinCommand, l.State.Dir, name)
	cmd.Args[0] = "lab"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{machine.GateFD - 3: wait}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID,
	}
	if err := cmd.Start(); err != nil {
		gate.Close()
		return nil, nil, err
	}
	return cmd, gate, nil
}

func waitFor(cmd *exec.Cmd) error {
	if err := cmd.Wait(); err != nil {
		return err
	}
	return errors.New("its process 1 exited")
}
