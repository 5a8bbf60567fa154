package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// nodeFilesScript lists what MS2M may leave on a node: all there is of it, and in directories that
// it shares with others everything. The directory that containerd imports files from stays, empty.
const nodeFilesScript = "find /opt/ms2m /var/lib/ms2m /etc/criu /etc/containerd/conf.d/* /usr/local/bin/criu /usr/local/sbin/criu 2>/dev/null || true"

// Uninstall removes MS2M. Its error holds why that was refused.
func (l *Lab) Uninstall(ctx context.Context) error {
	_, err := output(ctx, nil, l.helm(), "uninstall", release, "--namespace", SystemNamespace, "--wait", "--timeout", rolloutTimeout.String())
	return err
}

// Released are the objects of the release, as kind and key.
func (l *Lab) Released(ctx context.Context) ([]client.Object, error) {
	manifests, err := output(ctx, nil, l.helm(), "get", "manifest", release, "--namespace", SystemNamespace)
	if err != nil {
		return nil, err
	}
	var all []client.Object
	for dec := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096); ; {
		u := &unstructured.Unstructured{}
		if err := dec.Decode(u); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if len(u.Object) > 0 {
			all = append(all, u)
		}
	}
}

// Left is what there still is of these objects, of the hooks' and of the release itself, and what there is of
// MS2M on the nodes.
func (l *Lab) Left(ctx context.Context, released []client.Object, nodes ...string) ([]string, error) {
	var left []string
	for _, o := range released {
		err := l.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		switch {
		case err == nil:
			left = append(left, fmt.Sprintf("%s %s", o.GetObjectKind().GroupVersionKind().Kind, o.GetName()))
		case !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err):
			return nil, err
		}
	}
	more, err := output(ctx, nil, "kubectl", "get", "-A", "-o", "name", "-l", "app.kubernetes.io/part-of=ms2m",
		"jobs,pods,serviceaccounts,configmaps,clusterroles,clusterrolebindings,roles,rolebindings")
	if err != nil {
		return nil, err
	}
	secrets, err := output(ctx, nil, "kubectl", "get", "-n", SystemNamespace, "-o", "name", "secrets")
	if err != nil {
		return nil, err
	}
	left = append(left, strings.Fields(more+secrets)...)
	for _, n := range nodes {
		files, err := l.NodeFiles(ctx, n)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			left = append(left, f+" on "+n)
		}
	}
	return left, nil
}

// NodeFiles are the files and directories of MS2M on a node, and those beside them.
func (l *Lab) NodeFiles(ctx context.Context, node string) ([]string, error) {
	out, err := l.Exec(ctx, node, "sh", "-c", nodeFilesScript)
	return strings.Fields(out), err
}
