package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// driver is the driver on one node.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedNodeServer
	registration.UnimplementedRegistrationServer

	name, node, store, dir string

	mu        sync.Mutex        // one call at a time
	published map[string]string // volumes by the path where the pod's container gets them
}

// NodeGetInfo implements csi.NodeServer.
func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}

// NodeGetCapabilities implements csi.NodeServer.
func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}

// NodePublishVolume fetches the volume's files and mounts them for a pod.
func (d *driver) NodePublishVolume(ctx context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.published[r.TargetPath]; ok {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if !d.has(r.VolumeId) {
		if err := d.fetch(ctx, r.VolumeId); err != nil {
			return nil, err
		}
	}
	err := onNode(func() error {
		if err := os.MkdirAll(r.TargetPath, 0o755); err != nil {
			return err
		}
		return unix.Mount(d.files(r.VolumeId), r.TargetPath, "", unix.MS_BIND, "")
	})
	if err != nil {
		return nil, fmt.Errorf("mount at %s: %w", r.TargetPath, err)
	}
	d.published[r.TargetPath] = r.VolumeId
	slog.Info("csi: published", "volume", r.VolumeId, "path", r.TargetPath)
	return &csi.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume takes a volume from a pod, and brings its files back if that was the
// last one here.
func (d *driver) NodeUnpublishVolume(ctx context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.published[r.TargetPath]; !ok {
		return &csi.NodeUnpublishVolumeResponse{}, nil
	}
	err := onNode(func() error {
		if err := unix.Unmount(r.TargetPath, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return err // EINVAL: a call before this one got as far as that
		}
		return os.RemoveAll(r.TargetPath)
	})
	if err != nil {
		return nil, fmt.Errorf("unmount %s: %w", r.TargetPath, err)
	}
	delete(d.published, r.TargetPath)
	if !d.has(r.VolumeId) {
		if err := d.bring(ctx, r.VolumeId); err != nil {
			d.published[r.TargetPath] = r.VolumeId // to be tried again
			return nil, err
		}
	}
	slog.Info("csi: unpublished", "volume", r.VolumeId, "path", r.TargetPath)
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// has reports whether a pod of this node has the volume.
func (d *driver) has(volume string) bool {
	for _, v := range d.published {
		if v == volume {
			return true
		}
	}
	return false
}

// files is the directory that holds a volume's files while it is here.
func (d *driver) files(volume string) string { return filepath.Join(d.dir, "volumes", volume) }

// fetch takes a volume from the store, which refuses while another node has it.
func (d *driver) fetch(ctx context.Context, volume string) error {
	files := make(map[string][]byte)
	if err := d.call(ctx, "take", volume, nil, &files); err != nil {
		return err
	}
	dir := d.files(volume)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o777)); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.Base(name))
		if err := errors.Join(os.WriteFile(path, content, 0o666), os.Chmod(path, 0o666)); err != nil {
			return err
		}
	}
	return nil
}

// bring gives a volume back to the store.
func (d *driver) bring(ctx context.Context, volume string) error {
	files := make(map[string][]byte)
	entries, err := os.ReadDir(d.files(volume))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(d.files(volume), e.Name())); err != nil {
			return err
		}
	}
	if err := d.call(ctx, "give", volume, files, nil); err != nil {
		return err
	}
	return os.RemoveAll(d.files(volume))
}

// call calls the store.
func (d *driver) call(ctx context.Context, verb, volume string, files, answer any) error {
	body, err := json.Marshal(files)
	if err != nil {
		return err
	}
	url := fmt.Sprintf("%s/%s/%s?node=%s", d.store, verb, volume, d.node)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return status.Errorf(codes.FailedPrecondition, "%s %s: %s", verb, volume, resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// onNode does something among the node's mounts: what a container mounts, the
// kubelet does not see. The thread it is done in does not live on.
func onNode(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good
		done <- func() error {
			node, err := os.Open("/proc/1/ns/mnt")
			if err != nil {
				return err
			}
			defer node.Close()
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Setns(int(node.Fd()), unix.CLONE_NEWNS); err != nil {
				return err
			}
			return do()
		}()
	}()
	return <-done
}
