package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"ms2m.dev/ms2m/lab/internal/plan"
)

// api is the little that the lab itself asks the API server.
type api struct{ http *http.Client }

func (r Running) api() (api, error) {
	tlsConfig, err := r.tls()
	if err != nil {
		return api{}, err
	}
	dir := filepath.Join(r.State.PKI(), plan.ControlPlane)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "admin.crt"), filepath.Join(dir, "admin.key"))
	if err != nil {
		return api{}, fmt.Errorf("read the administrator's certificate: %w", err)
	}
	tlsConfig.Certificates = []tls.Certificate{pair}
	dial, err := r.Dialer()
	if err != nil {
		return api{}, err
	}
	return api{&http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig, DialContext: dial, DisableKeepAlives: true}}}, nil
}

// tls trusts the lab's authority.
func (r Running) tls() (*tls.Config, error) {
	ca, err := os.ReadFile(r.State.CACert())
	if err != nil {
		return nil, fmt.Errorf("read the lab's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s is not a certificate", r.State.CACert())
	}
	return &tls.Config{RootCAs: pool}, nil
}

// Transport is for clients of the lab's registry that run on the host.
func (r Running) Transport() (*http.Transport, error) {
	config, err := r.tls()
	if err != nil {
		return nil, err
	}
	dial, err := r.Dialer()
	if err != nil {
		return nil, err
	}
	return &http.Transport{TLSClientConfig: config, DialContext: dial}, nil
}

func (a api) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, plan.APIServer+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// nodeReady fails unless the node is there and ready.
func (a api) nodeReady(ctx context.Context, name string) error {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := a.get(ctx, "/api/v1/nodes/"+name, &node); err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" && c.Status != "True" {
			return errors.New(c.Message)
		}
	}
	if !slices.ContainsFunc(node.Status.Conditions, func(c struct{ Type, Status, Message string }) bool { return c.Type == "Ready" }) {
		return errors.New("it has not reported yet")
	}
	return nil
}

// defaultServiceAccount fails unless pods can be made in the default namespace.
func (a api) defaultServiceAccount(ctx context.Context) error {
	var account struct{}
	return a.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", &account)
}
