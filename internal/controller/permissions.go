package controller

import (
	"context"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
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

// AccessOf asks the API server what its client may do.
func AccessOf(c client.Client) Access { return apiAccess{c} }

type apiAccess struct{ client client.Client }

func (a apiAccess) Allowed(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	err := a.client.Create(ctx, review)
	return review.Status.Allowed, err
}

// kubeletPermission is what checkpoints take, by the way in which kubelets are reached.
func (s *scope) kubeletPermission() permission {
	if s.KubeletDirect {
		return permission{"create", "", "nodes", "checkpoint"}
	}
	return permission{"create", "", "nodes", "proxy"}
}
