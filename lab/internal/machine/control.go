package machine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"ms2m.dev/ms2m/lab/internal/broker"
	"ms2m.dev/ms2m/lab/internal/plan"
	"ms2m.dev/ms2m/lab/internal/service"
)

// controlPlane returns the services of the control plane's machine: the broker
// first, since it takes longest.
func controlPlane() ([]service.Service, error) {
	if err := writeConfigs(newValues(plan.Node{}), map[string]string{"/etc/docker/registry/lab.yml": "registry.yml"}); err != nil {
		return nil, err
	}
	for _, dir := range []string{"/var/lib/etcd-lab", "/var/lib/docker-registry"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the control plane's directories: %w", err)
		}
	}
	rabbit := broker.Server{Listen: []string{"127.0.0.1:5672", plan.Address + ":5672"}}
	credential, err := rabbit.Prepare()
	if err != nil {
		return nil, err
	}
	admin, err := clientTLS("admin")
	if err != nil {
		return nil, err
	}
	apiServer := service.HTTPS("https://127.0.0.1:6443/readyz", admin)
	etcd := service.HTTP("http://127.0.0.1:2379/health")
	return []service.Service{
		{
			Name:       "rabbitmq",
			Command:    broker.Command,
			Env:        broker.Env,
			Credential: credential,
			Ready:      service.AMQP(plan.AMQP),
		},
		{
			Name: "etcd",
			Command: []string{"etcd",
				"--data-dir=/var/lib/etcd-lab",
				"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
				"--listen-peer-urls=http://127.0.0.1:2380",
				"--unsafe-no-fsync", // nothing is to survive the machine
			},
			Ready: etcd,
		},
		{
			Name: "kube-apiserver",
			// Its garbage collector took a fifth of its time, of two cores that all nodes share.
			// There is memory for four times the heap.
			Env: []string{"GOGC=400"},
			Command: []string{"kube-apiserver",
				"--etcd-servers=http://127.0.0.1:2379",
				"--service-cluster-ip-range=" + plan.ServiceCIDR,
				"--bind-address=0.0.0.0", "--secure-port=6443", "--advertise-address=" + plan.Address,
				"--client-ca-file=" + pki("ca.crt"),
				"--tls-cert-file=" + pki("server.crt"), "--tls-private-key-file=" + pki("server.key"),
				"--kubelet-client-certificate=" + pki("kubelet-client.crt"), "--kubelet-client-key=" + pki("kubelet-client.key"),
				"--kubelet-certificate-authority=" + pki("ca.crt"),
				"--kubelet-preferred-address-types=InternalIP",
				"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false",
				"--service-account-issuer=https://kubernetes.default.svc",
				"--service-account-key-file=" + pki("sa.pub"), "--service-account-signing-key-file=" + pki("sa.key"),
				"--allow-privileged=true",
				// Webhooks are called at their pods: there is no kube-proxy on this machine.
				"--enable-aggregator-routing=true",
				"--profiling=false",
			},
			After: etcd,
			Ready: apiServer,
		},
		{
			Name: "kube-controller-manager",
			Command: []string{"kube-controller-manager",
				"--kubeconfig=" + pki("controller-manager.kubeconfig"),
				"--service-account-private-key-file=" + pki("sa.key"), "--root-ca-file=" + pki("ca.crt"),
				"--use-service-account-credentials",
				"--leader-elect=false", "--bind-address=127.0.0.1", "--allocate-node-cidrs=false",
				// It asks for a token per controller before it starts them; at the usual
				// rate that takes seconds.
				"--kube-api-qps=500", "--kube-api-burst=1000",
			},
			After: apiServer,
			Ready: service.HTTPS("https://127.0.0.1:10257/healthz", ownCertificate),
		},
		{
			Name: "kube-scheduler",
			Command: []string{"kube-scheduler",
				"--kubeconfig=" + pki("scheduler.kubeconfig"), "--leader-elect=false", "--bind-address=127.0.0.1",
			},
			After: apiServer,
			Ready: service.HTTPS("https://127.0.0.1:10259/healthz", ownCertificate),
		},
		{
			Name:    "registry",
			Command: []string{"docker-registry", "serve", "/etc/docker/registry/lab.yml"},
			Ready:   service.HTTPS("https://"+plan.Registry+"/v2/", admin),
		},
	}, nil
}

// ownCertificate is for the programs that make themselves a certificate that
// nobody knows. They are asked on the loopback.
var ownCertificate = &tls.Config{InsecureSkipVerify: true}

func pki(name string) string { return pkiDir + "/" + name }

// clientTLS is the configuration of a client of the API server.
func clientTLS(name string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(pki(name+".crt"), pki(name+".key"))
	if err != nil {
		return nil, fmt.Errorf("read a client certificate: %w", err)
	}
	ca, err := os.ReadFile(pki("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the lab's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("the lab's authority is not a certificate")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}, nil
}
