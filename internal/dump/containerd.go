package dump

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Labels that the kubelet gives its containers.
const (
	labelPodUID    = "io.kubernetes.pod.uid"
	labelContainer = "io.kubernetes.container.name"
)

// namespace is where containerd keeps the kubelet's containers.
const namespace = "k8s.io"

// Containerd is the containerd behind a socket.
type Containerd struct {
	root  string
	cri   runtimeapi.RuntimeServiceClient
	tasks tasks.TasksClient
}

// NewContainerd is the containerd behind the Unix socket at that path; root is
// where its root directory is seen from here.
func NewContainerd(socket, root string) (*Containerd, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &Containerd{root: root, cri: runtimeapi.NewRuntimeServiceClient(conn), tasks: tasks.NewTasksClient(conn)}, nil
}

// Container is a running container.
type Container struct {
	ID string
	// PID is its first process.
	PID int
	// Dir is containerd's directory for it, Upper its writable layer: empty where it
	// is not known.
	Dir, Upper string
}

// Find finds the running container of a pod.
func (c *Containerd) Find(ctx context.Context, podUID, name string) (*Container, error) {
	list, err := c.cri.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
		State:         &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING},
		LabelSelector: map[string]string{labelPodUID: podUID, labelContainer: name},
	}})
	if err != nil {
		return nil, err
	}
	if n := len(list.Containers); n != 1 {
		return nil, fmt.Errorf("containerd runs %d containers %s of pod %s", n, name, podUID)
	}
	id := list.Containers[0].Id
	status, err := c.cri.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		return nil, err
	}
	var info struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(status.Info["info"]), &info); err != nil {
		return nil, fmt.Errorf("read what containerd says of %s: %w", id, err)
	}
	if info.PID <= 0 {
		return nil, fmt.Errorf("containerd does not name the first process of %s", id)
	}
	running, err := c.cri.Status(ctx, &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		return nil, err
	}
	var config struct {
		Root string `json:"rootDir"`
	}
	if err := json.Unmarshal([]byte(running.Info["config"]), &config); err != nil {
		return nil, fmt.Errorf("read containerd's configuration: %w", err)
	}
	if config.Root == "" {
		return nil, errors.New("containerd does not name its directory")
	}
	out := &Container{ID: id, PID: info.PID, Dir: filepath.Join(c.root, config.Root, "containers", id)}
	if upper, err := Upper("/proc", info.PID); err == nil {
		out.Upper = filepath.Join(c.root, upper)
	}
	return out, nil
}

// Resume lets a container go on that containerd has paused. While containerd's
// shim is still at the dump, it waits for its end: the shim does one at a time.
// containerd's own Resume, later, finds the container running; it expects that.
func (c *Containerd) Resume(ctx context.Context, id string) error {
	_, err := c.tasks.Resume(metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace), &tasks.ResumeTaskRequest{ContainerID: id})
	return err
}
