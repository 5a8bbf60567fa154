// Package shim is containerd's shim for runc with one addition: a container for
// which the agent stages a checkpoint is restored from it instead of being started
// from its image. The pod keeps its own image, namespaces, mounts and cgroups; only
// memory and writable layer are the checkpoint's.
//
// Every checkpoint is used once. A container that is started again after a crash
// starts from its image like any other.
package shim

import (
	"context"
	"errors"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/status"
	"ms2m.dev/ms2m/internal/staging"
)

// waitForCheckpoint bounds how long a start waits for its checkpoint. It is
// below the two minutes after which the kubelet gives a start up, so that the
// pod's event names the reason. The kubelet then tries again, with a new wait.
const waitForCheckpoint = 90 * time.Second

// Service is runc's task service with restores.
type Service struct {
	taskapi.TTRPCTaskService
	area staging.Area
	wait time.Duration

	mu       sync.Mutex
	restores map[string]*restore // by container, from Create to Start
}

// Wrap adds restores from area to runc's task service.
func Wrap(inner taskapi.TTRPCTaskService, area staging.Area) *Service {
	return &Service{TTRPCTaskService: inner, area: area, wait: waitForCheckpoint, restores: map[string]*restore{}}
}

// RegisterTTRPC serves s, not the service that it wraps.
func (s *Service) RegisterTTRPC(server *ttrpc.Server) error {
	taskapi.RegisterTTRPCTaskService(server, s)
	return nil
}

// Create creates a container; one with a checkpoint waits for it, checks it and
// is created from it.
func (s *Service) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	re, err := s.prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	if re == nil {
		return s.TTRPCTaskService.Create(ctx, r)
	}
	r.Checkpoint = re.images()
	s.mu.Lock()
	s.restores[r.ID] = re
	s.mu.Unlock()
	resp, err := s.TTRPCTaskService.Create(ctx, r)
	if err != nil {
		s.forget(r.ID)
		re.dropFiles(ctx)
	}
	return resp, err
}

// Start starts a process; that of a container created from a checkpoint is restored.
func (s *Service) Start(ctx context.Context, r *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	if r.ExecID != "" {
		return s.TTRPCTaskService.Start(ctx, r)
	}
	re := s.forget(r.ID)
	if re == nil {
		return s.TTRPCTaskService.Start(ctx, r)
	}
	// What was not restored is not wanted any more, what was is in memory.
	defer re.dropFiles(ctx)
	if err := re.applyRootfsDiff(ctx); err != nil {
		re.writeLog(ctx, err)
		return nil, errgrpc.ToGRPCf(errdefs.ErrInternal, "ms2m: write the checkpoint's files into the container: %v", err)
	}
	resp, err := s.TTRPCTaskService.Start(ctx, r)
	cause := re.keepLog(ctx)
	if err != nil {
		return nil, status.Errorf(status.Code(err), "ms2m: restore of checkpoint %s failed: %s%s",
			re.image, cause, status.Convert(err).Message())
	}
	re.rename(ctx, int(resp.Pid))
	log.G(ctx).WithField("id", r.ID).WithField("checkpoint", re.image).Info("ms2m: restored")
	return resp, nil
}

// Delete forgets a container that was created and never started.
func (s *Service) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	if r.ExecID == "" {
		if re := s.forget(r.ID); re != nil {
			re.dropFiles(ctx)
		}
	}
	return s.TTRPCTaskService.Delete(ctx, r)
}

func (s *Service) forget(id string) *restore {
	s.mu.Lock()
	defer s.mu.Unlock()
	re := s.restores[id]
	delete(s.restores, id)
	return re
}

// prepare returns the checked checkpoint of a container, or nil if it starts
// from its image.
func (s *Service) prepare(ctx context.Context, r *taskapi.CreateTaskRequest) (*restore, error) {
	spec, err := readSpec(r.Bundle)
	if err != nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrInternal, "ms2m: read the bundle: %v", err)
	}
	want, ok := wanted(spec)
	if !ok || r.Checkpoint != "" {
		return nil, nil
	}
	used, err := s.area.Used(want.Slot)
	if err != nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrInvalidArgument, "ms2m: look for a used checkpoint: %v", err)
	}
	if len(used) > 0 {
		log.G(ctx).WithField("id", r.ID).Info("ms2m: this pod was restored before, the container starts from its image")
		return nil, nil
	}
	if err := s.await(ctx, want.Slot, r.Bundle); err != nil {
		return nil, err
	}
	re := &restore{spec: spec, bundle: r.Bundle, log: s.area.LogPath(want.Slot)}
	if re.dir, err = s.area.Take(want.Slot, r.ID); err != nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrAborted, "ms2m: take the staged checkpoint: %v", err)
	}
	if re.image, err = staging.Verify(ctx, re.dir, want); err != nil {
		re.writeLog(ctx, err)
		re.dropFiles(ctx)
		return nil, errgrpc.ToGRPCf(errdefs.ErrFailedPrecondition, "ms2m: the staged checkpoint is refused: %v", err)
	}
	return re, nil
}

func (s *Service) await(ctx context.Context, slot staging.Slot, bundle string) error {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	err := s.area.Wait(ctx, slot, bundle)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return errgrpc.ToGRPCf(errdefs.ErrUnavailable, "ms2m: "+notStaged+" %v, is the agent of this node at work?", s.wait)
	case errors.Is(err, context.Canceled), errors.Is(err, staging.ErrAbandoned),
		errors.Is(err, staging.ErrWithdrawn):
		return errgrpc.ToGRPCf(errdefs.ErrAborted, "ms2m: wait for the checkpoint: %v", err)
	}
	return errgrpc.ToGRPCf(errdefs.ErrInternal, "ms2m: wait for the checkpoint: %v", err)
}
