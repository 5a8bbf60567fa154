package cluster

import (
	"errors"
	"fmt"
	"os"

	"ms2m.dev/ms2m/lab/internal/pki"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/spec"
)

// issue makes all certificates, so that a machine sees its own and no other's.
func issue(l spec.Lab) error {
	ca, err := pki.NewAuthority()
	if err != nil {
		return err
	}
	admin, err := ca.Client("ms2m-lab-admin", "system:masters")
	if err != nil {
		return err
	}
	kubeconfig, err := ca.Kubeconfig(plan.APIServer, admin)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.State.Kubeconfig(), kubeconfig, 0o600); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	control, err := controlFiles(ca, admin, kubeconfig)
	if err != nil {
		return err
	}
	trusted := append(hostBundle(), ca.PEM()...)
	errs := []error{
		pki.Files{"ca.crt": ca.PEM(), "ca-bundle.crt": trusted}.Write(l.State.PKI()),
		control.Write(l.State.PKI() + "/" + plan.ControlPlane),
	}
	for _, n := range l.Nodes {
		files, err := nodeFiles(ca, n)
		if err != nil {
			return err
		}
		errs = append(errs, files.Write(l.State.PKI()+"/"+n.Name))
	}
	return errors.Join(errs...)
}

func controlFiles(ca *pki.Authority, admin pki.Pair, kubeconfig []byte) (pki.Files, error) {
	private, public, err := pki.SigningKey()
	if err != nil {
		return nil, err
	}
	files := pki.Files{"ca.crt": ca.PEM(), "sa.key": private, "sa.pub": public, "admin.kubeconfig": kubeconfig}
	files.Add("admin", admin)
	server, err := ca.Server("kube-apiserver", plan.Address, plan.APIService, "127.0.0.1", "localhost",
		plan.ControlPlane, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	if err != nil {
		return nil, err
	}
	files.Add("server", server)
	// The API server may do everything at a kubelet.
	kubelet, err := ca.Client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return nil, err
	}
	files.Add("kubelet-client", kubelet)
	return files, addKubeconfigs(ca, files, map[string]user{
		"controller-manager": {name: "system:kube-controller-manager"},
		"scheduler":          {name: "system:kube-scheduler"},
	})
}

func nodeFiles(ca *pki.Authority, n plan.Node) (pki.Files, error) {
	files := pki.Files{"ca.crt": ca.PEM()}
	server, err := ca.Server("system:node:"+n.Name, n.Name, n.Address.String())
	if err != nil {
		return nil, err
	}
	files.Add("kubelet", server)
	return files, addKubeconfigs(ca, files, map[string]user{
		"kubelet":    {name: "system:node:" + n.Name, groups: []string{"system:nodes"}},
		"kube-proxy": {name: "system:kube-proxy"},
	})
}

type user struct {
	name   string
	groups []string
}

// addKubeconfigs adds for every user a certificate, as file-client, and a
// kubeconfig.
func addKubeconfigs(ca *pki.Authority, files pki.Files, users map[string]user) error {
	for file, u := range users {
		pair, err := ca.Client(u.name, u.groups...)
		if err != nil {
			return err
		}
		config, err := ca.Kubeconfig(plan.APIServer, pair)
		if err != nil {
			return err
		}
		files.Add(file+"-client", pair)
		files[file+".kubeconfig"] = config
	}
	return nil
}

// hostBundle is what the host trusts: programs that are run in the lab's network
// trust that too.
func hostBundle() []byte {
	for _, path := range []string{os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"} {
		if data, err := os.ReadFile(path); err == nil {
			return append(data, '\n')
		}
	}
	return nil
}
