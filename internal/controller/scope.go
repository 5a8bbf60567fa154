package controller

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// scope is one reconcile of one migration.
type scope struct {
	*Reconciler
	session *session
	object  *v1alpha1.StatefulMigration
	key     types.NamespacedName
}

// stale is how long a cache is waited for before something is done again that it does
// not show: doing it twice is doing it once, but not for nothing.
const stale = 100 * time.Millisecond

// run observes, plans and acts until there is nothing to do now. The status is
// written before each action that it announces, or else after it: see migration.Ahead.
func (s *scope) run(ctx context.Context) (ctrl.Result, error) {
	for range maxSteps {
		facts, err := s.observe(ctx)
		if err != nil {
			return settled(err)
		}
		plan, err := s.plan(ctx, facts)
		if err != nil {
			return settled(err)
		}
		wait := s.session.last.shown(plan.Action, s.Clock.Now())
		ahead := migration.Ahead(plan.Action) && wait == 0
		if ahead {
			err = s.do(ctx, plan.Action)
		}
		if err := s.write(ctx, plan.Status); err != nil {
			return settled(err)
		}
		switch {
		case plan.Ended:
			s.close(s.Sessions.end(s.key))
			return s.finish(ctx, s.object)
		case plan.Action == nil:
			log.FromContext(ctx).V(1).Info("waiting", "for", plan.For, "until", plan.Until)
			return s.until(plan.Until), nil
		case wait > 0:
			// The cache does not show yet what was done just now; it will wake us.
			return ctrl.Result{RequeueAfter: wait}, nil
		case !ahead:
			err = s.do(ctx, plan.Action)
		}
		if err != nil {
			if done, result, err := s.failed(ctx, migration.Name(plan.Action), err); done {
				return result, err
			}
		}
	}
	return ctrl.Result{RequeueAfter: time.Millisecond}, nil
}

// do does an action, and remembers it if it was done.
func (s *scope) do(ctx context.Context, action migration.Action) error {
	if err := s.act(ctx, action); err != nil {
		return err
	}
	s.session.last = recent{action, s.Clock.Now()}
	if s.session.retry.action == migration.Name(action) {
		s.session.retry = retry{}
	}
	return nil
}

// recent is what was done last, and when.
type recent struct {
	action migration.Action
	at     time.Time
}

// shown is how long a cache still has to show what was done before it is done again;
// zero: it is something else, or the cache has had its time.
func (r recent) shown(next migration.Action, now time.Time) time.Duration {
	if next == nil || !reflect.DeepEqual(next, r.action) {
		return 0
	}
	return max(0, stale-now.Sub(r.at))
}

// until asks to be called at a time.
func (s *scope) until(t time.Time) ctrl.Result {
	if t.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(t.Sub(s.Clock.Now()), time.Millisecond)}
}

// failed is the one place where an error of an action becomes a condition, an
// event and a time to try again. done is false if the planner has to hear of it.
func (s *scope) failed(ctx context.Context, action string, err error) (done bool, result ctrl.Result, _ error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return true, ctrl.Result{}, nil // the manager stops; the next one goes on
	}
	e := migration.AsError(err)
	s.session.suspect = s.session.suspect || e.Reason == migration.ReasonBrokerUnavailable
	r := &s.session.retry
	if r.action != action {
		*r = retry{action: action}
	}
	const first, most = 250 * time.Millisecond, 15 * time.Second
	r.at = s.Clock.Now().Add(min(first<<min(r.tries, 10), most))
	r.tries++
	log.FromContext(ctx).Info("action failed", "action", action, "reason", e.Reason, "retry", e.Retry, "try", r.tries, "error", e.Err.Error())
	if s.Failures != nil {
		s.Failures.Failed(e.Reason)
	}
	if r.tries == 1 || !e.Retry {
		s.told(migration.Told{Warning: true, Reason: e.Reason, Action: "Act", Note: fmt.Sprintf("%s: %v", action, e.Err)})
	}
	if !e.Retry && s.session.failure == nil {
		s.session.failure = e
		return false, ctrl.Result{}, nil
	}
	status := migration.Explain(s.object, s.Clock.Now(), e)
	if err := s.write(ctx, status); err != nil {
		result, err := settled(err)
		return true, result, err
	}
	return true, s.until(r.at), nil
}

// write writes the status if it differs, and then tells of it in events. It
// never overwrites what another process has written meanwhile.
func (s *scope) write(ctx context.Context, status v1alpha1.StatefulMigrationStatus) error {
	before := s.object.Status
	if equality.Semantic.DeepEqual(before, status) {
		return nil
	}
	next := s.object.DeepCopy()
	next.Status = status
	if err := s.Client.Status().Update(ctx, next); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	s.object = next
	s.session.version, s.session.lastWrite = next.ResourceVersion, s.Clock.Now()
	s.tell(ctx, &before)
	for _, o := range s.Observers {
		o.Wrote(next, &before)
	}
	return nil
}
