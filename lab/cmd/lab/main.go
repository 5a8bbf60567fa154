// Lab brings up a Kubernetes cluster on one machine.
package main

import (
	"os"
	"runtime"

	"ms2m.dev/ms2m/lab/internal/cli"
)

// The main goroutine stays on the main thread. The lab enters namespaces by one
// thread and starts anew from there; from another thread than the main one, the
// process would for a moment seem to be in no namespace at all.
func init() { runtime.LockOSThread() }

func main() { os.Exit(cli.Main(os.Args[1:])) }
