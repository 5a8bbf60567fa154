package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// restored is a file on a node that is kept for a pod which was restored there, shared
// a directory for those of all pods.
var (
	restored = regexp.MustCompile(`/restore/([0-9a-f-]{36})/`)
	shared   = regexp.MustCompile(`^/var/lib/(kubelet/checkpoints|ms2m/restore) on `)
)

// Inventory is everything that migrations of a namespace's pods may leave behind, and
// more: at the broker, on all nodes, in the repository and in the API. It is
// compared with another one, so names that differ from one pod or migration to the
// next are left out where there is nothing wrong with the thing.
func (l *Lab) Inventory(ctx context.Context, namespace string) ([]string, error) {
	var all []string
	pods := &corev1.PodList{}
	if err := l.Client.List(ctx, pods, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, p := range pods.Items {
		there[string(p.UID)] = true
		all = append(all, fmt.Sprintf("a pod of %s, ready %t, finalizers %v", p.Labels["app.kubernetes.io/instance"], podReady(&p), p.Finalizers))
	}
	for _, look := range []func(context.Context, string) ([]string, error){l.apiObjects, l.images} {
		names, err := look(ctx, namespace)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	objects, err := l.brokerObjects(ctx)
	if err != nil {
		return nil, err
	}
	instances, err := l.Exec(ctx, "ctl", "sh", "-c", "rabbitmqctl -q --no-table-headers list_queues name | grep -c ^ms2m.control.")
	if err != nil {
		return nil, err
	}
	all = append(append(all, objects...), strings.TrimSpace(instances)+" control queues")
	files, err := l.nodeFiles(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		// What is kept for a pod that is there goes with it; an empty directory that
		// the node has for all of them is nothing.
		if m := restored.FindStringSubmatch(f); (m == nil || !there[m[1]]) && !shared.MatchString(f) {
			all = append(all, f)
		}
	}
	slices.Sort(all)
	return all, nil
}

// apiObjects are the legs of a namespace, and the migrations that have a finalizer.
func (l *Lab) apiObjects(ctx context.Context, namespace string) ([]string, error) {
	var all []string
	transfers := &v1alpha1.CheckpointTransferList{}
	if err := l.Client.List(ctx, transfers, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	for _, t := range transfers.Items {
		all = append(all, fmt.Sprintf("checkpointtransfer %s, finalizers %v", t.Name, t.Finalizers))
	}
	migrations := &v1alpha1.StatefulMigrationList{}
	if err := l.Client.List(ctx, migrations, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	for _, m := range migrations.Items {
		if len(m.Finalizers) > 0 {
			all = append(all, fmt.Sprintf("statefulmigration %s, finalizers %v", m.Name, m.Finalizers))
		}
	}
	return all, nil
}

// images are the checkpoints in the repository of a namespace.
func (l *Lab) images(ctx context.Context, namespace string) ([]string, error) {
	repository, err := name.NewRepository(l.Registry + "/checkpoints/" + namespace)
	if err != nil {
		return nil, err
	}
	tags, err := remote.List(repository, remote.WithContext(ctx))
	var refused *transport.Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	for i := range tags {
		tags[i] = "image " + tags[i]
	}
	return tags, err
}
