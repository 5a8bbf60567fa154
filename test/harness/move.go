package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
)

// Move is a counter under load that was migrated.
type Move struct {
	Outcome
	Migration *v1alpha1.StatefulMigration // as it ended
	Source    *corev1.Pod                 // as it was when the migration began
	Target    *corev1.Pod
	Begun     time.Time     // when the migration was created, by our clock
	Total     time.Duration // from creating the migration to its end, by our clock
	Gap       time.Duration // longest between two outputs since, by our clock
}

// MoveConfig says how to try a migration.
type MoveConfig struct {
	Target  string // node
	Warm    uint64 // messages counted before the migration
	Backlog int    // messages in the queue when the migration begins, at least
	After   uint64 // messages counted after it
	// Change changes the migration before it is created.
	Change func(*v1alpha1.StatefulMigration)
	// Tell is called with every version of the migration.
	Tell func(*v1alpha1.StatefulMigration)
}

// Move migrates the counter while it counts, and judges. An error means that it
// could not be judged, or that the migration failed.
func (f *Flow) Move(ctx context.Context, cfg MoveConfig) (*Move, error) {
	move, err := f.Migrate(ctx, cfg)
	if err != nil {
		return move, err
	}
	if move.Outcome, err = f.Finish(ctx, move.Target); err != nil {
		return nil, err
	}
	move.Gap = load.LongestGap(move.Received, move.Begun)
	return move, nil
}

// Migrate migrates the counter while it counts, and does not judge unless the
// migration fails. The load goes on.
func (f *Flow) Migrate(ctx context.Context, cfg MoveConfig) (*Move, error) {
	if err := f.Counted(ctx, cfg.Warm); err != nil {
		return nil, err
	}
	m := f.Migration(cfg.Target)
	if cfg.Change != nil {
		cfg.Change(m)
	}
	if err := f.Fill(ctx, cfg.Backlog); err != nil {
		return nil, err
	}
	source := &corev1.Pod{}
	if err := f.lab.Client.Get(ctx, client.ObjectKeyFromObject(f.Pod), source); err != nil {
		return nil, err
	}
	move := &Move{Begun: time.Now(), Source: source}
	if err := f.lab.Client.Create(ctx, m); err != nil {
		return nil, err
	}
	m, err := f.lab.Follow(ctx, m, func(m *v1alpha1.StatefulMigration) bool {
		if cfg.Tell != nil {
			cfg.Tell(m)
		}
		return Ended(m)
	})
	if err != nil {
		return nil, err
	}
	move.Migration, move.Total = m, time.Since(move.Begun)
	if m.Status.Phase != v1alpha1.PhaseCompleted {
		return move, f.failed(ctx, move)
	}
	if move.Target, err = f.lab.TargetPod(ctx, m); err != nil {
		return nil, err
	}
	if err := f.Counted(ctx, f.Collector.Count()+cfg.After); err != nil {
		return nil, err
	}
	return move, nil
}

// failed says why a migration failed, and whether the source is unharmed, as it
// must be.
func (f *Flow) failed(ctx context.Context, move *Move) error {
	err := fmt.Errorf("the migration failed: %s", Summary(move.Migration))
	var judging error
	if move.Outcome, judging = f.Finish(ctx, f.Pod); judging != nil {
		return errors.Join(err, fmt.Errorf("and the source: %w", judging))
	}
	if !move.OK() {
		return errors.Join(err, fmt.Errorf("and the source: %v", move.Verdict))
	}
	return err
}
