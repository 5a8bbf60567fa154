package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// CRIU's configuration: of every dump and restore by runc, and of everybody's.
// An option with a value crashes CRIU 4.1 when it stands in the first.
const (
	criuName        = "runc.conf"
	criuDefaultName = "default.conf"
)

// criuOptions count for every checkpoint and restore of this node by runc.
// tcp-close: established connections are not carried over, the restored process
// sees them closed; without it a container with an open connection can't be
// checkpointed at all. skip-in-flight: neither are those that nobody has accepted
// yet; without it a probe of the kubelet at the wrong moment fails a checkpoint.
var criuOptions = []string{"tcp-close", "skip-in-flight"}

// With tcp-close there is nothing to be kept from changing in the kernel while a
// process is dumped. CRIU still locks its network, which takes longer than all else
// of a small process, and drops what is sent to it meanwhile.
const criuSkip = "network-lock skip"

// CRIU knows criuSkip since then.
const criuSkipMajor, criuSkipMinor = 3, 19

func (i *Installer) configureCRIU(ctx context.Context) error {
	if err := i.addOptions(criuName, criuOptions...); err != nil {
		return err
	}
	if i.CRIUVersion == nil {
		return nil
	}
	version, err := i.CRIUVersion(ctx)
	if err != nil {
		// Checkpoints take longer without it, and that is all.
		i.Log.Error(err, "ask CRIU for its version")
		return nil
	}
	if !atLeast(version, criuSkipMajor, criuSkipMinor) {
		i.Log.Info("this CRIU always locks the network", "version", version)
		return nil
	}
	return i.addOptions(criuDefaultName, criuSkip)
}

// addOptions adds to a configuration of CRIU what it does not name yet.
func (i *Installer) addOptions(name string, options ...string) error {
	path := filepath.Join(i.CRIUDir, name)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	named := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		// The value follows a blank or an equals sign; whatever it is, it stays.
		if words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n=", r) }); len(words) > 0 {
			named[words[0]] = true
		}
	}
	var missing []string
	for _, o := range options {
		key, _, _ := strings.Cut(o, " ")
		if named[key] {
			continue
		}
		missing = append(missing, o)
		if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
			data = append(data, '\n')
		}
		data = append(data, o+"\n"...)
	}
	if missing == nil {
		return nil
	}
	if err := i.record(name, missing); err != nil {
		return err
	}
	i.Log.Info("configuring", "file", path)
	return replace(path, bytes.NewReader(data), 0o644)
}

// atLeast compares a version like 4.1.1.
func atLeast(version string, major, minor int) bool {
	var haveMajor, haveMinor int
	if n, err := fmt.Sscanf(version, "%d.%d", &haveMajor, &haveMinor); err != nil && n == 0 {
		return false
	}
	return haveMajor > major || haveMajor == major && haveMinor >= minor
}

// NodeCRIU asks the CRIU of the node for its version.
func NodeCRIU(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/env", "criu", "--version")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: hostRoot}
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("criu --version: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Version:"); ok {
			return strings.TrimSpace(v), nil
		}
	}
	return "", fmt.Errorf("criu names no version: %s", bytes.TrimSpace(out))
}
