package migration

import (
	"fmt"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/policy"
)

// settingsOf is what holds for a migration. From the moment that it has been let in
// that is what was recorded then: whoever edits its policy, or deletes it, changes
// nothing that is under way. One of a manager that recorded nothing has it all in its spec.
func settingsOf(f Facts) v1alpha1.Settings {
	if recorded := f.Object.Status.Settings; recorded != nil && f.Object.Status.StartedAt != nil {
		return *recorded
	}
	return policy.Resolve(&f.Object.Spec, f.MigrationPolicy)
}

// noteSettings notes what holds, and by which policy, while the migration has not begun.
func (p *planner) noteSettings() {
	if p.Source.Pod == nil && p.status.Settings != nil {
		return // whose policy it is cannot be seen any more, and the end goes by it, too
	}
	settings := p.settings
	p.status.Settings, p.status.Policy = &settings, nil
	if pol := p.MigrationPolicy; pol != nil {
		p.status.Policy = &v1alpha1.PolicyReference{Name: pol.Name, Generation: pol.Generation}
	}
}

// checkPolicy refuses what the pod's MigrationPolicy does not allow.
func (p *planner) checkPolicy() *finding {
	if why := policy.Forbids(p.settings, p.MigrationPolicy); why != "" {
		return refuse(ReasonPolicy, "spec.%s", why)
	}
	return nil
}

// byPolicy says that a setting that is in the way is the policy's, and not the spec's.
func (p *planner) byPolicy(said bool) string {
	if said || p.MigrationPolicy == nil {
		return ""
	}
	return fmt.Sprintf(" (not the spec, but the MigrationPolicy %q says so)", p.MigrationPolicy.Name)
}
