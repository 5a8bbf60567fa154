package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// explain is an error as people read it: what is wrong, and what to do.
func (e *env) explain(err error) string {
	text := err.Error()
	var dial *net.OpError
	switch {
	case clientcmd.IsEmptyConfig(err):
		return "no cluster is configured: name one by --kubeconfig, --context or $KUBECONFIG"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case meta.IsNoMatchError(err):
		return "MS2M is not installed in this cluster (" + text + "): install it (docs/operations.md), or name another cluster by --context"
	case apierrors.IsUnauthorized(err):
		return text + ": the cluster does not know you: log in again, or name another user by --context"
	case apierrors.IsForbidden(err):
		return text + forbidden(err)
	case errors.As(err, &dial):
		return text + ": the API server does not answer: see `kubectl cluster-info`, or name another cluster by --context"
	}
	return text
}

// forbidden says which permission is missing and who gives it.
func forbidden(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return ""
	}
	d := status.Status().Details
	resource := d.Kind
	if d.Group != "" {
		resource += "." + d.Group
	}
	who := "it (evacuate needs what kubectl drain needs)"
	if d.Group == v1alpha1.GroupVersion.Group {
		who = "the ClusterRole ms2m-editor (to look only: ms2m-viewer)"
	}
	return fmt.Sprintf("\nAsk an administrator for %s; what you may do: kubectl auth can-i --list | grep %s", who, resource)
}

// missing makes a NotFound of something that was named on the command line say
// what there is.
func missing(ctx context.Context, c client.Client, err error, obj client.Object, what string, list client.ObjectList) error {
	if !apierrors.IsNotFound(err) {
		return err
	}
	name, ns := obj.GetName(), obj.GetNamespace()
	where := ""
	if ns != "" {
		where = fmt.Sprintf(" in the namespace %q", ns)
	}
	hint := ""
	if c.List(ctx, list) == nil { // of all namespaces, for who may see them
		hint = nearby(list, ns, name)
	}
	if hint == "" && ns != "" && c.List(ctx, list, client.InNamespace(ns)) == nil {
		hint = nearby(list, ns, name)
	}
	return fmt.Errorf("there is no %s %q%s%s", what, name, where, hint)
}

// nearby names the objects that may have been meant: of the same name elsewhere, or
// of one that is alike.
func nearby(list client.ObjectList, ns, name string) string {
	items, err := meta.ExtractList(list)
	if err != nil {
		return ""
	}
	var here []string
	for _, item := range items {
		o, err := meta.Accessor(item)
		switch {
		case err != nil:
		case o.GetNamespace() == ns:
			here = append(here, o.GetName())
		case o.GetName() == name:
			return fmt.Sprintf(": there is one in the namespace %q (-n %s)", o.GetNamespace(), o.GetNamespace())
		}
	}
	if alike := similar(name, here); len(alike) > 0 {
		return ": did you mean " + strings.Join(alike, ", ") + "?"
	}
	return ""
}

// similar are up to three of the names that are a few letters from one, the nearest first.
func similar(name string, names []string) []string {
	type near struct {
		name     string
		distance int
	}
	var found []near
	for _, n := range names {
		d := distance(name, n)
		if strings.HasPrefix(n, name+"-") {
			d = 1 // the pod of a workload, which has a suffix
		}
		if d <= max(2, len(name)/3) {
			found = append(found, near{n, d})
		}
	}
	slices.SortFunc(found, func(a, b near) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	var out []string
	for _, n := range found[:min(3, len(found))] {
		out = append(out, n.name)
	}
	return out
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// getMigration reads a migration by the name that was given.
func getMigration(ctx context.Context, c client.Client, ns, name string) (*migration, error) {
	m := &migration{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	err := c.Get(ctx, client.ObjectKeyFromObject(m), m)
	if err != nil {
		m.Namespace, m.Name = ns, name
		return nil, missing(ctx, c, err, m, "migration", &migrations{})
	}
	return m, nil
}
