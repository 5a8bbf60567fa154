package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

func authority(t *testing.T) (*Authority, *x509.CertPool) {
	t.Helper()
	a, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(a.PEM()) {
		t.Fatal("the authority's certificate can't be read")
	}
	return a, pool
}

func leaf(t *testing.T, p Pair) *x509.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestServerIsGoodForItsHostsOnly(t *testing.T) {
	a, pool := authority(t)
	p, err := a.Server("kube-apiserver", "10.99.0.1", "kubernetes.default.svc")
	if err != nil {
		t.Fatal(err)
	}
	cert := leaf(t, p)
	for host, good := range map[string]bool{"10.99.0.1": true, "kubernetes.default.svc": true, "10.99.0.2": false} {
		_, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: host})
		if (err == nil) != good {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("a server's certificate serves as a client's")
	}
}

func TestClientCarriesUserAndGroups(t *testing.T) {
	a, pool := authority(t)
	p, err := a.Client("system:node:node-a", "system:nodes")
	if err != nil {
		t.Fatal(err)
	}
	cert := leaf(t, p)
	if cert.Subject.CommonName != "system:node:node-a" || cert.Subject.Organization[0] != "system:nodes" {
		t.Errorf("subject %v", cert.Subject)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
}

func TestAuthoritiesDiffer(t *testing.T) {
	a, _ := authority(t)
	_, other := authority(t)
	p, err := a.Client("x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf(t, p).Verify(x509.VerifyOptions{Roots: other, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("one lab's certificate is good in another")
	}
}

func TestSigningKey(t *testing.T) {
	private, public, err := SigningKey()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(private)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	block, _ = pem.Decode(public)
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey.Equal(pub) {
		t.Error("the keys do not belong together")
	}
}

func TestKubeconfigHoldsWhatAClientNeeds(t *testing.T) {
	a, _ := authority(t)
	p, err := a.Client("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	data, err := a.Kubeconfig("https://10.99.0.1:6443", p)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server string
				CA     []byte `json:"certificate-authority-data"`
			}
		}
		Users []struct {
			User struct {
				Cert []byte `json:"client-certificate-data"`
				Key  []byte `json:"client-key-data"`
			}
		}
	}
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	if config.Clusters[0].Cluster.Server != "https://10.99.0.1:6443" || string(config.Clusters[0].Cluster.CA) != string(a.PEM()) {
		t.Errorf("cluster %+v", config.Clusters[0])
	}
	if _, err := tls.X509KeyPair(config.Users[0].User.Cert, config.Users[0].User.Key); err != nil {
		t.Error(err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	f := Files{}
	f.Add("x", Pair{Cert: []byte("c"), Key: []byte("k")})
	if err := f.Write(dir); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "x.key"))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
}
