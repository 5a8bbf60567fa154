package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/internal/version"
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
			fmt.Fprintln(e.Out, "client:  ", version.String())
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

// managerVersion prints the managers of the cluster.
func managerVersion(ctx context.Context, c client.Client, w io.Writer) error {
	list := &appsv1.DeploymentList{}
	if err := c.List(ctx, list, client.MatchingLabels{labelName: managerName}); err != nil {
		return err
	}
	for i := range list.Items {
		fmt.Fprintln(w, "manager: ", managerText(&list.Items[i]))
	}
	if len(list.Items) == 0 {
		return failed("no manager is installed in this cluster (no Deployment with the label %s=%s)", labelName, managerName)
	}
	return nil
}

// managerText is the version of a manager, and how it is.
func managerText(d *appsv1.Deployment) string {
	image := "-"
	if cs := d.Spec.Template.Spec.Containers; len(cs) > 0 {
		image = cs[0].Image
	}
	return fmt.Sprintf("%s (%s/%s, %d of %d ready, %s)", cmp.Or(d.Labels[labelVersion], "unversioned"),
		d.Namespace, d.Name, d.Status.ReadyReplicas, d.Status.Replicas, image)
}
