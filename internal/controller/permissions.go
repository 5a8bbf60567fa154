package controller

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/internal/migration"
)

// permission is something that the manager has to be allowed to do for a
// migration, beyond what it needs to have come this far.
type permission struct{ verb, group, resource, subresource string }

var permissions = []permission{
	{"create", "", "pods", ""},
	{"patch", "", "pods", ""},
	{"delete", "", "pods", ""},
	{"patch", "", "pods", "status"},
	{"create", "migration.ms2m.dev", "checkpointtransfers", ""},
	{"delete", "migration.ms2m.dev", "checkpointtransfers", ""},
}

// reviewed is how long an answer about permissions and repository is good for:
// the preflight looks at everything again with every event.
const reviewed = 10 * time.Second

// review asks what takes a call to find out, not more often than it changes.
func (s *scope) review(ctx context.Context, p *migration.Preflight, repository string) error {
	last := &s.session.reviewed
	if now := s.Clock.Now(); last.at.IsZero() || now.Sub(last.at) >= reviewed || last.of != repository {
		forbidden, err := s.forbidden(ctx)
		if err != nil {
			return err
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		*last = review{at: now, of: repository, forbidden: forbidden}
		if repository != "" {
			last.repository = registryError(s.Registry.Writable(call, repository))
		}
	}
	p.Forbidden, p.Repository = last.forbidden, last.repository
	return nil
}

// review is what the last review has shown.
type review struct {
	at         time.Time
	of         string // the repository
	forbidden  []string
	repository error
}

// forbidden asks the API server what of it the manager may not do.
func (s *scope) forbidden(ctx context.Context) ([]string, error) {
	var out []string
	for _, p := range append(permissions[:len(permissions):len(permissions)], s.kubeletPermission()) {
		what := authorizationv1.ResourceAttributes{
			Namespace: s.object.Namespace, Verb: p.verb, Group: p.group, Resource: p.resource, Subresource: p.subresource,
		}
		if p.resource == "nodes" {
			what.Namespace = ""
		}
		allowed, err := s.Access.Allowed(ctx, what)
		if err != nil {
			return nil, err
		}
		if !allowed {
			name := p.resource
			if p.subresource != "" {
				name += "/" + p.subresource
			}
			out = append(out, fmt.Sprintf("%s %s", p.verb, name))
		}
	}
	return out, nil
}

// AccessOf asks the API server what its client may do. That something is allowed is good
// for all migrations for as long as for one; that it is not, is asked again, so that it
// is heard of at once when somebody has mended it.
func AccessOf(c client.Client, now clock.PassiveClock) Access {
	return &apiAccess{client: c, clock: now, allowed: map[authorizationv1.ResourceAttributes]time.Time{}}
}

type apiAccess struct {
	client client.Client
	clock  clock.PassiveClock

	mu      sync.Mutex
	allowed map[authorizationv1.ResourceAttributes]time.Time // when it was found to be
	cleared time.Time                                        // when what is old was dropped
}

func (a *apiAccess) Allowed(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	if a.known(what) {
		return true, nil
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	asked := a.clock.Now()
	if err := a.client.Create(ctx, review); err != nil || !review.Status.Allowed {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.allowed[what] = asked
	return true, nil
}

// known reports whether something was found to be allowed lately. What is old is dropped
// now and then: with every question it would cost the square of the namespaces.
func (a *apiAccess) known(what authorizationv1.ResourceAttributes) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	if now.Sub(a.cleared) >= reviewed {
		maps.DeleteFunc(a.allowed, func(_ authorizationv1.ResourceAttributes, at time.Time) bool { return now.Sub(at) >= reviewed })
		a.cleared = now
	}
	at, ok := a.allowed[what]
	return ok && now.Sub(at) < reviewed
}

// kubeletPermission is what checkpoints take, by the way in which kubelets are reached.
func (s *scope) kubeletPermission() permission {
	if s.KubeletDirect {
		return permission{"create", "", "nodes", "checkpoint"}
	}
	return permission{"create", "", "nodes", "proxy"}
}
