package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// leave is how often a budget is asked again.
const leave = 2 * time.Second

// carry moves the pods of a plan: all at once, for the manager has its limits, but one
// after another those that a budget guards. When one fails no more are begun, unless
// --continue-on-error; those that are under way are waited for.
func (e *env) carry(ctx context.Context, c client.WithWatch, p *plan, o evacuation) error {
	b := e.newBoard(p)
	further, halt := context.WithCancelCause(ctx)
	defer halt(nil)
	move := func(r *errand) {
		if e.carryOne(ctx, c, r, b, o); r.why != "" && !o.goOn {
			halt(errOther)
		}
	}
	var all sync.WaitGroup
	guarded := map[string][]*errand{} // by namespace, which budgets are in
	for _, r := range p.errands {
		switch {
		case !r.goes():
		case len(r.guards) == 0 || r.under != nil:
			all.Go(func() { move(r) })
		case !o.wait:
			r.why = "it needs --wait: its PodDisruptionBudget lets pods go one at a time"
		default:
			guarded[r.pod.Namespace] = append(guarded[r.pod.Namespace], r)
		}
	}
	for _, line := range guarded {
		all.Go(func() {
			for _, r := range line {
				b.say(r, "Waiting", r.leave())
				if err := e.granted(further, c, r.guards); err != nil {
					r.why = e.explain(err)
					continue
				}
				move(r)
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return e.carried(p, context.Cause(ctx))
	}
	return nil
}

// errOther is why a pod was not begun with.
var errOther = errors.New("another pod could not be moved (go on by --continue-on-error)")

// carried says which migrations go on when nobody looks on any more.
func (e *env) carried(p *plan, err error) error {
	var lines strings.Builder
	for _, r := range p.errands {
		if r.under != nil && !ended(r.under) {
			fmt.Fprintf(&lines, "\n  %s (%s): %s cancel -n %s %s", r.name(), phase(r.under), e.name, r.under.Namespace, r.under.Name)
		}
	}
	return &exit{exitUnended, fmt.Errorf("%s; what has begun goes on, unless it is given up:%s", e.explain(err), lines.String())}
}

// granted waits until all budgets of a pod allow a gap.
func (e *env) granted(ctx context.Context, c client.Client, guards []policyv1.PodDisruptionBudget) error {
	for {
		ok := true
		for i := range guards {
			now := &policyv1.PodDisruptionBudget{}
			switch err := c.Get(ctx, client.ObjectKeyFromObject(&guards[i]), now); {
			case apierrors.IsNotFound(err): // one that is gone guards nothing
			case err != nil && ctx.Err() == nil && !passing(err):
				return err
			default:
				ok = ok && err == nil && allows(now)
			}
		}
		if ok && ctx.Err() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-e.clock.After(leave):
		}
	}
}

// carryOne moves a pod, or goes along with the migration that does.
func (e *env) carryOne(ctx context.Context, c client.WithWatch, r *errand, b *board, o evacuation) {
	if r.under == nil {
		if err := c.Create(ctx, r.ask); err != nil {
			r.why = e.explain(err)
			b.say(r, "NotMade", r.why)
			return
		}
		r.under = r.ask
	}
	if !o.wait {
		b.say(r, "Begun", fmt.Sprintf("%s status -n %s %s", e.name, r.under.Namespace, r.under.Name))
		return
	}
	m, err := e.await(ctx, c, r.under, b.of(r))
	r.under = m
	switch {
	case err != nil:
		r.why = fmt.Sprintf("%s (migration %q)", e.explain(err), m.Name)
	case m.Status.Phase == v1alpha1.PhaseFailed:
		reason, message := outcome(m)
		r.why = fmt.Sprintf("%s: %s (%s status -n %s %s)", reason, printable(message), e.name, m.Namespace, m.Name)
	}
}
