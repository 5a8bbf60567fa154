package cgroup

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const hybridSelf = `9:name=systemd:/
8:pids:/
7:blkio:/
6:freezer:/
5:devices:/
4:memory:/api/ce86
3:cpuset:/
2:cpuacct:/
1:cpu:/
0::/
`

func hybridMounts() string {
	var b strings.Builder
	b.WriteString("24 23 0:5 / /proc rw,relatime - proc proc rw\n")
	for _, c := range []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"} {
		b.WriteString("30 29 0:26 / /sys/fs/cgroup/" + c + " rw,relatime shared:9 - cgroup cgroup rw," + c + "\n")
	}
	b.WriteString("38 29 0:34 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n")
	b.WriteString("39 29 0:35 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n")
	return b.String()
}

func mustPlan(t *testing.T, self, mountinfo string, exists func(string) bool) (Tree, error) {
	t.Helper()
	paths, err := parseSelf(strings.NewReader(self))
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := parseMounts(strings.NewReader(mountinfo))
	if err != nil {
		t.Fatal(err)
	}
	return plan("lab", paths, mounts, exists)
}

func all(string) bool { return true }

func TestPlanFollowsThePathOfEachController(t *testing.T) {
	tree, err := mustPlan(t, hybridSelf, hybridMounts(), all)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, h := range tree {
		got[h.MountName()] = h.Base
	}
	want := map[string]string{"memory": "/sys/fs/cgroup/memory/api/ce86/lab", "systemd": "/sys/fs/cgroup/systemd/lab"}
	for _, c := range required {
		if c != "memory" {
			want[c] = "/sys/fs/cgroup/" + c + "/lab"
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPlanFallsBackToTheRoot(t *testing.T) {
	tree, err := mustPlan(t, hybridSelf, hybridMounts(), func(dir string) bool { return !strings.Contains(dir, "ce86") })
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range tree {
		if h.MountName() == "memory" && h.Base != "/sys/fs/cgroup/memory/lab" {
			t.Errorf("base is %s", h.Base)
		}
	}
}

func TestPlanInsideACgroupMountedFromBelowTheRoot(t *testing.T) {
	// As in a container: the mount's root is a group, and so is the process's.
	mounts := strings.ReplaceAll(hybridMounts(), "0:26 / ", "0:26 /docker/x ")
	tree, err := mustPlan(t, strings.ReplaceAll(hybridSelf, ":/\n", ":/docker/x/y\n"), mounts, all)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tree[0].Base, "/sys/fs/cgroup/cpu/y/lab"; got != want {
		t.Errorf("base is %s, want %s", got, want)
	}
}

func TestJointHierarchy(t *testing.T) {
	self := strings.ReplaceAll(hybridSelf, "2:cpuacct:/\n1:cpu:/\n", "1:cpu,cpuacct:/\n")
	mounts := strings.ReplaceAll(hybridMounts(), "rw,cpu\n", "rw,cpu,cpuacct\n")
	tree, err := mustPlan(t, self, mounts, all)
	if err != nil {
		t.Fatal(err)
	}
	if got := tree[0].MountOptions(); got != "cpu,cpuacct" {
		t.Errorf("options %q", got)
	}
	for _, h := range tree {
		if h.MountName() == "systemd" && h.MountOptions() != "none,name=systemd" {
			t.Errorf("options %q", h.MountOptions())
		}
	}
}

func TestVersion2OnlyIsRefusedPlainly(t *testing.T) {
	_, err := mustPlan(t, "0::/user.slice\n", "30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", all)
	if !errors.Is(err, ErrNoV1) {
		t.Errorf("got %v", err)
	}
}

func TestParseSelfRefusesNonsense(t *testing.T) {
	if _, err := parseSelf(strings.NewReader("nonsense\n")); err == nil {
		t.Error("no error")
	}
}
