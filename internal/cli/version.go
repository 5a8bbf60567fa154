package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// labelName marks the parts of an installation.
const (
	labelName    = "app.kubernetes.io/name"
	labelVersion = "app.kubernetes.io/version"
	managerName  = "ms2m-manager"
)

func (e *env) versionCommand() *cobra.Command {
	var only bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program and of the manager",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(e.Out, "client:  ", clientVersion())
			if only {
				return nil
			}
			c, _, err := e.open()
			if err != nil {
				return err
			}
			return managerVersion(cmd.Context(), c, e.Out)
		},
	}
	cmd.Flags().BoolVar(&only, "client", false, "this program alone")
	return cmd
}

// clientVersion is what the build says: the module's version, or the commit.
func clientVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := cmp.Or(info.Main.Version, "(devel)")
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && version == "(devel)" {
			version += " " + s.Value
		}
	}
	return fmt.Sprintf("%s (%s)", version, info.GoVersion)
}

// managerVersion prints the managers of the cluster.
func managerVersion(ctx context.Context, c client.Client, w io.Writer) error {
	list := &appsv1.DeploymentList{}
	if err := c.List(ctx, list, client.MatchingLabels{labelName: managerName}); err != nil {
		return err
	}
	for _, d := range list.Items {
		image := "-"
		if cs := d.Spec.Template.Spec.Containers; len(cs) > 0 {
			image = cs[0].Image
		}
		fmt.Fprintf(w, "manager:  %s (%s/%s, %d of %d ready, %s)\n", cmp.Or(d.Labels[labelVersion], "unversioned"),
			d.Namespace, d.Name, d.Status.ReadyReplicas, d.Status.Replicas, image)
	}
	if len(list.Items) == 0 {
		return failed("no manager is installed in this cluster (no Deployment with the label %s=%s)", labelName, managerName)
	}
	return nil
}
