package report

import (
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Read reads a migration, and events, from what kubectl get -o yaml or -o json has
// written: documents or Lists.
func Read(r io.Reader) (Input, error) {
	var in Input
	d := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		u := &unstructured.Unstructured{}
		switch err := d.Decode(&u.Object); {
		case errors.Is(err, io.EOF) && in.Migration == nil:
			return in, errors.New("there is no StatefulMigration in it: make it by kubectl get statefulmigration NAME -o yaml")
		case errors.Is(err, io.EOF):
			return in, nil
		case err != nil:
			return in, err
		case len(u.Object) == 0:
			continue
		}
		if err := in.take(u); err != nil {
			return in, err
		}
	}
}

// take takes an object, or those of a list.
func (in *Input) take(u *unstructured.Unstructured) error {
	if u.IsList() {
		return u.EachListItem(func(o runtime.Object) error { return in.take(o.(*unstructured.Unstructured)) })
	}
	switch u.GetKind() {
	case "StatefulMigration":
		if in.Migration != nil {
			return fmt.Errorf("there are several StatefulMigrations in it, %q and %q: a report is about one", in.Migration.Name, u.GetName())
		}
		if v := u.GetAPIVersion(); v != v1alpha1.GroupVersion.String() {
			return fmt.Errorf("the StatefulMigration %q is of apiVersion %q: it must be %s", u.GetName(), v, v1alpha1.GroupVersion)
		}
		in.Migration = &v1alpha1.StatefulMigration{}
		return convert(u, in.Migration)
	case "Event":
		if u.GetAPIVersion() != "v1" {
			return nil // of another API, with other fields; kubectl get events writes v1
		}
		var ev corev1.Event
		if err := convert(u, &ev); err != nil {
			return err
		}
		in.Events = append(in.Events, ev)
	}
	return nil
}

func convert(u *unstructured.Unstructured, to any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, to); err != nil {
		return fmt.Errorf("%s %q: %w", u.GetKind(), u.GetName(), err)
	}
	return nil
}
