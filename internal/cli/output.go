package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/printers"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// outputFlag is -o: what is printed for programs, or wide.
type outputFlag struct {
	format  string
	allowed []string
}

func (o *outputFlag) add(cmd *cobra.Command, allowed ...string) {
	o.allowed = allowed
	cmd.Flags().VarP(o, "output", "o", "how to print it: "+strings.Join(allowed, ", "))
	err := cmd.RegisterFlagCompletionFunc("output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return allowed, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag was added above
	}
}

func (o *outputFlag) String() string { return o.format }
func (*outputFlag) Type() string     { return "format" }

// Set implements pflag.Value.
func (o *outputFlag) Set(s string) error {
	if !slices.Contains(o.allowed, s) {
		return fmt.Errorf("one of %s", strings.Join(o.allowed, ", "))
	}
	o.format = s
	return nil
}

// objects reports whether the objects are printed, and not lines for people.
func (o *outputFlag) objects() bool { return o.format != "" && o.format != "wide" }

// print prints an object as the format says.
func (o *outputFlag) print(obj runtime.Object, scheme *runtime.Scheme, w io.Writer) error {
	// A typed client drops kind and version, without which nobody can read it again.
	kinds, _, err := scheme.ObjectKinds(obj)
	if err != nil {
		return err
	}
	obj = obj.DeepCopyObject()
	obj.GetObjectKind().SetGroupVersionKind(kinds[0])
	if list, ok := obj.(*migrations); ok {
		for i := range list.Items {
			list.Items[i].SetGroupVersionKind(kind("StatefulMigration"))
		}
	}
	var p printers.ResourcePrinter
	switch o.format {
	case "json":
		p = &printers.JSONPrinter{}
	case "yaml":
		p = &printers.YAMLPrinter{}
	default:
		p = &printers.NamePrinter{}
	}
	return (&printers.OmitManagedFieldsPrinter{Delegate: p}).PrintObj(obj, w)
}

func kind(name string) schema.GroupVersionKind { return v1alpha1.GroupVersion.WithKind(name) }

// examples are lines with the program as it was called.
func (e *env) examples(lines ...string) string {
	return "  " + e.name + " " + strings.Join(lines, "\n  "+e.name+" ")
}
