package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/internal/report"
	"ms2m.dev/ms2m/internal/version"
)

func (e *env) reportCommand() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "report NAME | report -f FILE",
		Short: "Make one HTML file that shows how a migration went",
		Long: `Make one HTML file that shows how a migration went: when its phases were, how the lag
fell, what its pauses are made of, its conditions and events. The file needs no network
to be opened.

With -f the migration is read from a file, as kubectl get statefulmigration NAME -o yaml
has written it: so it can be kept when the object has gone. Events may be in it, too.`,
		Example: e.examples("report counter", "report counter -o report.html", "report -f counter.yaml -o -"),
		Args: func(_ *cobra.Command, args []string) error {
			if (from == "") != (len(args) == 1) {
				return errors.New("report what? give the NAME of a migration, or a file by -f, one of the two")
			}
			return nil
		},
		ValidArgsFunction: once(e.completing(moves)),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := e.reportInput(cmd.Context(), args, from)
			if err != nil {
				return err
			}
			var page bytes.Buffer
			if err := report.Write(&page, in); err != nil {
				return err
			}
			if to == "-" {
				_, err := page.WriteTo(e.Out)
				return err
			}
			if to == "" {
				to = in.Migration.Name + ".html"
			}
			if err := os.WriteFile(to, page.Bytes(), 0o644); err != nil { //nolint:gosec // a report is to be shown around
				return err
			}
			fmt.Fprintf(e.Out, "%s (%s): open it in a browser\n", to, size(int64(page.Len())))
			return nil
		},
	}
	cmd.Flags().StringVarP(&from, "filename", "f", "", "`file` with the migration; - is the standard input")
	cmd.Flags().StringVarP(&to, "output", "o", "", "`file` to write; - is the standard output; by default NAME.html")
	return cmd
}

// reportInput reads what a report is made of, from the cluster or from a file.
func (e *env) reportInput(ctx context.Context, args []string, from string) (report.Input, error) {
	program := report.Pair{Name: "client", Value: version.String()}
	if from != "" {
		in, err := e.readReport(from)
		if err != nil {
			return in, fmt.Errorf("%s: %w", from, err)
		}
		in.Now, in.Versions = e.clock.Now(), []report.Pair{program}
		return in, nil
	}
	c, ns, err := e.open()
	if err != nil {
		return report.Input{}, err
	}
	m, err := getMigration(ctx, c, ns, args[0])
	if err != nil {
		return report.Input{}, err
	}
	events, err := eventsOf(ctx, c, m)
	if err != nil {
		fmt.Fprintln(e.ErrOut, "warning: the report goes without events:", err)
	}
	return report.Input{
		Migration: m, Events: events, Now: e.clock.Now(),
		Versions: append([]report.Pair{program}, managers(ctx, c)...),
	}, nil
}

func (e *env) readReport(from string) (report.Input, error) {
	r := e.In
	if from != "-" {
		f, err := os.Open(from)
		if err != nil {
			return report.Input{}, err
		}
		defer f.Close()
		r = f
	}
	return report.Read(r)
}

// managers are the versions of the managers, for who may see them.
func managers(ctx context.Context, c client.Client) []report.Pair {
	list := &appsv1.DeploymentList{}
	if c.List(ctx, list, client.MatchingLabels{labelName: managerName}) != nil {
		return nil
	}
	var out []report.Pair
	for i := range list.Items {
		out = append(out, report.Pair{Name: "manager", Value: managerText(&list.Items[i])})
	}
	return out
}
