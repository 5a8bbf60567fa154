package cli

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
)

// TestExplain: an error of the cluster says what to do next.
func TestExplain(t *testing.T) {
	e := newEnv(genericiooptions.NewTestIOStreamsDiscard(), "ms2m")
	ours := schema.GroupResource{Group: "migration.ms2m.dev", Resource: "statefulmigrations"}
	for want, err := range map[string]error{
		"MS2M is not installed":   &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "migration.ms2m.dev", Kind: "StatefulMigration"}},
		"ClusterRole ms2m-editor": apierrors.NewForbidden(ours, "", errors.New("no")),
		"needs what kubectl drain needs); what you may do: kubectl auth can-i --list | grep nodes": apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "node-a", errors.New("no")),
		"log in again":             apierrors.NewUnauthorized("who?"),
		"kubectl cluster-info":     &net.OpError{Op: "dial", Err: errors.New("connection refused")},
		"no cluster is configured": clientcmd.ErrEmptyConfig,
		"interrupted":              context.Canceled,
	} {
		if got := e.explain(err); !strings.Contains(got, want) {
			t.Errorf("%q, want %q in it", got, want)
		}
	}
}

// TestNearby: a name that is not there is answered with those that may be meant.
func TestNearby(t *testing.T) {
	elsewhere := onNode("stock")
	elsewhere.Namespace = "warehouse"
	list := &corev1.PodList{Items: []corev1.Pod{onNode("counter-0"), onNode("counter-1"), onNode("web"), elsewhere}}
	for name, want := range map[string]string{
		"counter": ": did you mean counter-0, counter-1?",
		"stock":   `: there is one in the namespace "warehouse" (-n warehouse)`,
		"zebra":   "",
	} {
		if got := nearby(list, "shop", name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
