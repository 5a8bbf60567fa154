package migration

import (
	"strings"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// missing says what the status lacks on which its phase builds; empty: nothing. The
// phases leave none of it out, but a status can be written by hand, and an action
// that is bound to nothing would find whom it does not mean.
func (p *planner) missing() string {
	type field struct {
		name  string
		there bool
	}
	image := p.status.CheckpointImage
	fields := []field{
		{"sourcePodUID", p.status.SourcePodUID != ""},
		{"sourceNode", p.status.SourceNode != ""},
		{"container", p.status.Container != ""},
		{"owner", p.status.Owner != nil || !p.recreated()},
	}
	switch p.status.Phase {
	case v1alpha1.PhaseTransferring:
		fields = append(fields, field{"checkpointID", p.status.CheckpointID != ""})
	case v1alpha1.PhaseRestoring:
		fields = append(fields,
			field{"checkpointImage", image != nil && image.Reference != "" && image.Digest != ""},
			field{"targetNode", p.status.TargetNode != "" || !p.sequential() || p.committed()},
			field{"targetPodName", p.status.TargetPodName != "" || !p.recreated()})
	}
	var missing []string
	for _, f := range fields {
		if !f.there {
			missing = append(missing, "status."+f.name)
		}
	}
	return strings.Join(missing, ", ")
}
