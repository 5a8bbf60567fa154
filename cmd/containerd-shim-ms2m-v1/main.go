// Command containerd-shim-ms2m-v1 is the shim of the runtime handler ms2m:
// containerd's shim for runc, which also restores staged checkpoints.
package main

import (
	"context"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	containerd "github.com/containerd/containerd/v2/pkg/shim"
	"ms2m.dev/ms2m/internal/shim"
)

func main() {
	shim.Register()
	containerd.RunShim(context.Background(), manager.NewShimManager("io.containerd.ms2m.v1"))
}
