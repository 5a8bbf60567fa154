// Package dump looks over containerd's shoulder while it checkpoints a container
// for the kubelet, from the node it runs on.
//
// containerd (2.4.2, internal/cri/server/container_checkpoint_linux.go and
// client/task.go) makes a directory ctrd-checkpoint beside what it knows of the
// container, freezes the container's cgroup, has runc and CRIU dump the process,
// with that directory as their working directory, copies the images into its content
// store, packs the writable layer, thaws, and only then writes the archive that the
// kubelet answers with. What appears in the directory tells how far it is:
//
//	ctrd-checkpoint/            containerd has begun
//	ctrd-checkpoint/dump.log    the cgroup is frozen, CRIU begins
//	ctrd-checkpoint/stats-dump  CRIU has its images and has let go of the process
//	ctrd-checkpoint/status      the writable layer is packed
//
// CRIU makes the file of its statistics last, when it has detached from the process
// (whose cgroup it leaves frozen, as it found it), and only if the dump is good
// (cr-dump.c, cr_dump_finish). There is no event for it in containerd's API.
package dump
