package integration

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// owners is the kube-controller-manager that makes and removes the pods of
// StatefulSets, ReplicaSets and Deployments.
type owners struct {
	cmd *exec.Cmd
	dir string
	log *os.File
}

// startOwners starts it. It needs no check that it is ready: the tests wait for
// the pods that it makes.
func startOwners(env *envtest.Environment, assets string) (*owners, error) {
	o := &owners{}
	user, err := env.AddUser(envtest.User{Name: "owners", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return nil, err
	}
	if o.dir, err = os.MkdirTemp("", "ms2m-owners-"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(o.dir, "kubeconfig"), kubeconfig, 0o600); err != nil {
		return nil, err
	}
	if o.log, err = os.Create(filepath.Join(o.dir, "log")); err != nil {
		return nil, err
	}
	o.cmd = exec.Command(filepath.Join(assets, "kube-controller-manager"),
		"--kubeconfig="+filepath.Join(o.dir, "kubeconfig"),
		"--controllers=statefulset-controller,replicaset-controller,deployment-controller,disruption-controller",
		"--leader-elect=false", "--secure-port=0",
		"--concurrent-statefulset-syncs=20", "--concurrent-replicaset-syncs=20", "--concurrent-deployment-syncs=20",
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	)
	o.cmd.Stdout, o.cmd.Stderr = o.log, o.log
	// It must not outlive a test process that is killed.
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return o, o.cmd.Start()
}

// stop ends it, and prints the end of its log if something has failed.
func (o *owners) stop(failed bool) error {
	errs := []error{o.cmd.Process.Signal(syscall.SIGTERM)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = o.cmd.Wait() // ended by a signal: ours
	}()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		errs = append(errs, o.cmd.Process.Kill())
		<-ended
	}
	if failed {
		const most = 20_000
		if end, err := o.log.Seek(0, io.SeekEnd); err == nil {
			tail := io.NewSectionReader(o.log, max(0, end-most), most)
			fmt.Fprintln(os.Stderr, "the end of kube-controller-manager's log:")
			_, err = io.Copy(os.Stderr, tail)
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, o.log.Close(), os.RemoveAll(o.dir))...)
}
