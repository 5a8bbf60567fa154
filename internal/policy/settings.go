package policy

import (
	"cmp"
	"fmt"
	"slices"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// builtIn are the defaults of what neither a migration nor its policy says.
var builtIn = v1alpha1.Settings{
	Strategy: v1alpha1.StrategyAuto, ReplayCutoffSeconds: 120, Throttle: v1alpha1.ThrottleWhenBehind, CheckpointRetention: v1alpha1.RetentionDelete, BackoffLimit: 4,
	Deadlines: v1alpha1.Deadlines{
		PendingSeconds: 60, CheckpointSeconds: 60, TransferSeconds: 300, RestoreSeconds: 300, ReplaySeconds: 600, FinalizeSeconds: 300,
	},
}

// Resolve is what holds for a migration under a policy; nil: under none. A default
// never goes beyond a bound of the same policy, or of what is built in.
func Resolve(spec *v1alpha1.StatefulMigrationSpec, p *v1alpha1.MigrationPolicy) v1alpha1.Settings {
	var d v1alpha1.PolicyDefaults
	var b v1alpha1.PolicyBounds
	if p != nil {
		d, b = p.Spec.Defaults, p.Spec.Bounds
	}
	s := v1alpha1.Settings{
		Strategy:                  cmp.Or(spec.Strategy, d.Strategy, builtIn.Strategy),
		ReplayCutoffSeconds:       cmp.Or(spec.ReplayCutoffSeconds, d.ReplayCutoffSeconds),
		Throttle:                  cmp.Or(spec.Throttle, d.Throttle, builtIn.Throttle),
		CheckpointImageRepository: cmp.Or(spec.CheckpointImageRepository, d.CheckpointImageRepository),
		CheckpointRetention:       cmp.Or(spec.CheckpointRetention, d.CheckpointRetention, builtIn.CheckpointRetention),
		Deadlines:                 deadlines(spec.Deadlines, d.Deadlines),
		BackoffLimit:              *cmp.Or(spec.BackoffLimit, d.BackoffLimit, &builtIn.BackoffLimit),
		TTLSecondsAfterFinished:   cmp.Or(spec.TTLSecondsAfterFinished, d.TTLSecondsAfterFinished),
		MaxMigrations:             b.MaxMigrations,
		MaxMigrationsPerNode:      b.MaxMigrationsPerNode,
	}
	if s.Strategy == v1alpha1.StrategyAuto && len(b.AllowedStrategies) == 1 {
		s.Strategy = b.AllowedStrategies[0]
	}
	if s.ReplayCutoffSeconds == 0 {
		s.ReplayCutoffSeconds = builtIn.ReplayCutoffSeconds
		if b.MaxReplayCutoffSeconds > 0 {
			s.ReplayCutoffSeconds = min(s.ReplayCutoffSeconds, b.MaxReplayCutoffSeconds)
		}
	}
	if q := b.BandwidthPerMigration; q != nil {
		s.BandwidthBytesPerSecond = q.Value()
	}
	return s
}

func deadlines(said, policy v1alpha1.Deadlines) v1alpha1.Deadlines {
	b := builtIn.Deadlines
	return v1alpha1.Deadlines{
		TotalSeconds:      cmp.Or(said.TotalSeconds, policy.TotalSeconds),
		PendingSeconds:    cmp.Or(said.PendingSeconds, policy.PendingSeconds, b.PendingSeconds),
		CheckpointSeconds: cmp.Or(said.CheckpointSeconds, policy.CheckpointSeconds, b.CheckpointSeconds),
		TransferSeconds:   cmp.Or(said.TransferSeconds, policy.TransferSeconds, b.TransferSeconds),
		RestoreSeconds:    cmp.Or(said.RestoreSeconds, policy.RestoreSeconds, b.RestoreSeconds),
		ReplaySeconds:     cmp.Or(said.ReplaySeconds, policy.ReplaySeconds, b.ReplaySeconds),
		FinalizeSeconds:   cmp.Or(said.FinalizeSeconds, policy.FinalizeSeconds, b.FinalizeSeconds),
	}
}

// Forbids says what of a migration's settings its policy forbids, and what to do;
// empty: nothing. Auto is not forbidden: where one strategy is allowed it comes to that.
func Forbids(s v1alpha1.Settings, p *v1alpha1.MigrationPolicy) string {
	if p == nil {
		return ""
	}
	allowed := p.Spec.Bounds.AllowedStrategies
	if s.Strategy != v1alpha1.StrategyAuto && len(allowed) > 0 && !slices.Contains(allowed, s.Strategy) {
		return fmt.Sprintf("strategy is %s, and the MigrationPolicy %q allows %s (bounds.allowedStrategies): ask for that, or leave it out",
			s.Strategy, p.Name, allowed[0])
	}
	if most := p.Spec.Bounds.MaxReplayCutoffSeconds; most > 0 && s.ReplayCutoffSeconds > most {
		return fmt.Sprintf("replayCutoffSeconds is %d, and the MigrationPolicy %q allows %d at most (bounds.maxReplayCutoffSeconds): ask for less, or leave it out",
			s.ReplayCutoffSeconds, p.Name, most)
	}
	return ""
}
