package shim

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"ms2m.dev/ms2m/internal/staging"
)

// Annotations of an OCI configuration. Those of the migration are the API's; the
// API package is not imported here, because a shim runs beside every pod of the
// handler and Kubernetes' machinery would be most of its memory.
const (
	annotationMigration = "migration.ms2m.dev/migration"
	annotationContainer = "migration.ms2m.dev/container"

	// notStaged is the API's MessageNotStaged.
	notStaged = "no checkpoint was staged within"

	annotationType          = "io.kubernetes.cri.container-type"
	annotationContainerName = "io.kubernetes.cri.container-name"
	annotationNamespace     = "io.kubernetes.cri.sandbox-namespace"
	annotationPodName       = "io.kubernetes.cri.sandbox-name"
	annotationPodUID        = "io.kubernetes.cri.sandbox-uid"

	typeContainer = "container"
)

// readSpec reads the OCI configuration of a bundle.
func readSpec(bundle string) (*specs.Spec, error) {
	data, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, err
	}
	var spec specs.Spec
	return &spec, json.Unmarshal(data, &spec)
}

// wanted returns what is to be restored into the container of that
// configuration, and false for one that starts from its image.
func wanted(spec *specs.Spec) (staging.Want, bool) {
	a := spec.Annotations
	if a[annotationType] != typeContainer || a[annotationMigration] == "" ||
		a[annotationContainer] != a[annotationContainerName] {
		return staging.Want{}, false
	}
	return staging.Want{
		MigrationUID: a[annotationMigration],
		Namespace:    a[annotationNamespace],
		PodName:      a[annotationPodName],
		Slot:         staging.Slot{PodUID: a[annotationPodUID], Container: a[annotationContainerName]},
	}, true
}

// hostname is the name that the pod of that configuration has for itself: the
// configuration's own or, since the CRI gives that to the pod's sandbox only, what
// is mounted at /etc/hostname.
func hostname(spec *specs.Spec) string {
	if spec.Hostname != "" {
		return spec.Hostname
	}
	for _, m := range spec.Mounts {
		if filepath.Clean(m.Destination) == "/etc/hostname" {
			if data, err := os.ReadFile(m.Source); err == nil {
				return strings.TrimSpace(string(data))
			}
		}
	}
	return ""
}
