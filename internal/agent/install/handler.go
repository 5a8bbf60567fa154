package install

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

const (
	runcType = "io.containerd.runc.v2"
	// annotations lets the shim see which checkpoint a pod waits for.
	annotations = "migration.ms2m.dev/*"
)

// Status is the running containerd.
type Status struct {
	// Version as containerd reports it, Major its first number.
	Version string
	Major   int
	// Default is the name of the handler of pods without a RuntimeClass.
	Default  string
	handlers map[string]handler
}

// handler is a runtime handler in containerd's configuration: the fields in which
// pods of one handler come out differently from those of another.
type handler struct {
	Type                 string         `json:"runtimeType" toml:"runtime_type"`
	Path                 string         `json:"runtimePath" toml:"runtime_path"`
	PodAnnotations       []string       `json:"PodAnnotations" toml:"pod_annotations"`
	ContainerAnnotations []string       `json:"ContainerAnnotations" toml:"container_annotations,omitempty"`
	WithoutHostDevices   bool           `json:"privileged_without_host_devices" toml:"privileged_without_host_devices,omitempty"`
	AllDevicesAllowed    bool           `json:"privileged_without_host_devices_all_devices_allowed" toml:"privileged_without_host_devices_all_devices_allowed,omitempty"`
	CgroupWritable       bool           `json:"cgroupWritable" toml:"cgroup_writable,omitempty"`
	BaseSpec             string         `json:"baseRuntimeSpec" toml:"base_runtime_spec,omitempty"`
	CNIConfDir           string         `json:"cniConfDir" toml:"cni_conf_dir,omitempty"`
	CNIMaxConfNum        int            `json:"cniMaxConfNum" toml:"cni_max_conf_num,omitempty"`
	Snapshotter          string         `json:"snapshotter" toml:"snapshotter,omitempty"`
	Options              map[string]any `json:"options" toml:"options,omitempty"`
}

// parseStatus reads the version and the configuration that containerd's CRI
// plugin reports about itself.
func parseStatus(version, config string) (*Status, error) {
	var c struct {
		Containerd struct {
			Default  string             `json:"defaultRuntimeName"`
			Runtimes map[string]handler `json:"runtimes"`
		} `json:"containerd"`
	}
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return nil, fmt.Errorf("read containerd's configuration: %w", err)
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	major, err := strconv.Atoi(first)
	if err != nil {
		return nil, fmt.Errorf("containerd's version %q is no version", version)
	}
	for name, h := range c.Containerd.Runtimes {
		h.Options = integers(h.Options)
		c.Containerd.Runtimes[name] = h
	}
	return &Status{Version: version, Major: major, Default: c.Containerd.Default, handlers: c.Containerd.Runtimes}, nil
}

// integers undoes JSON's turning integers into floats: containerd would refuse
// 0.0 for a user's ID.
func integers(options map[string]any) map[string]any {
	options = maps.Clone(options)
	for k, v := range options {
		if f, ok := v.(float64); ok && f == math.Trunc(f) {
			options[k] = int64(f)
		}
	}
	return options
}

// handlerFor is the handler that starts shim: in everything else like the one
// by which this node starts its ordinary pods.
func (s *Status) handlerFor(shim string) (handler, error) {
	for _, name := range []string{s.Default, "runc"} {
		h, ok := s.handlers[name]
		if !ok || h.Type != runcType {
			continue
		}
		h.Path = shim
		h.Options = maps.Clone(h.Options)
		h.PodAnnotations = slices.Clone(h.PodAnnotations)
		if !slices.Contains(h.PodAnnotations, annotations) {
			h.PodAnnotations = append(h.PodAnnotations, annotations)
		}
		return h, nil
	}
	return handler{}, fmt.Errorf("containerd has no runtime handler of type %s to go by", runcType)
}

// has tells whether the running containerd has the handler as it is wanted.
func (s *Status) has(want handler) bool {
	have, ok := s.handlers[Handler]
	return ok && reflect.DeepEqual(have.normal(), want.normal())
}

// normal makes empty and absent the same.
func (h handler) normal() handler {
	if len(h.ContainerAnnotations) == 0 {
		h.ContainerAnnotations = nil
	}
	if len(h.Options) == 0 {
		h.Options = nil
	}
	return h
}

// toml is the configuration file with this handler alone; containerd merges it
// into its own. Version 3 is read by every containerd from 2.0.
func (h handler) toml() ([]byte, error) {
	type tree = map[string]any
	data, err := toml.Marshal(tree{
		"version": 3,
		"plugins": tree{"io.containerd.cri.v1.runtime": tree{
			"containerd": tree{"runtimes": tree{Handler: h}},
		}},
	})
	if err != nil {
		return nil, err
	}
	return append([]byte("# Written by the node agent of MS2M; changes are overwritten.\n"), data...), nil
}
