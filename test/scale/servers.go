package main

import (
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ms2m.dev/ms2m/sdk/handover"
)

// servers are the kubelets, all at one address, and the registry.
type servers struct {
	kubelet   int    // port
	authority string // file with that of their certificates
	registry  string // host and port
	both      []*httptest.Server
}

func serve(p *plane, dir string) (*servers, error) {
	kubelets, registry := http.NewServeMux(), http.NewServeMux()
	kubelets.HandleFunc("POST /checkpoint/{namespace}/{pod}/{container}", p.checkpoint)
	registry.HandleFunc("/v2/", p.repository)
	s := &servers{authority: filepath.Join(dir, "kubelets.pem"), both: []*httptest.Server{httptest.NewTLSServer(kubelets), httptest.NewServer(registry)}}
	at, ok := s.both[0].Listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errors.Join(errors.New("the kubelets have no port"), s.close())
	}
	s.kubelet, s.registry = at.Port, s.both[1].Listener.Addr().String()
	signed := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.both[0].Certificate().Raw})
	if err := os.WriteFile(s.authority, signed, 0o600); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *servers) close() error {
	for _, one := range s.both {
		one.Close()
	}
	return nil
}

// checkpoint is what a kubelet does when it is asked for a checkpoint: the process is
// dumped, which the node's agent sees before the kubelet answers.
func (p *plane) checkpoint(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	source := p.in(r.PathValue("pod"))
	if source == nil {
		p.mu.Unlock()
		http.Error(w, "no such container", http.StatusNotFound)
		return
	}
	name := fmt.Sprintf("checkpoint-%s_%s-%s-%d.tar", r.PathValue("pod"), r.PathValue("namespace"), r.PathValue("container"), time.Now().UnixNano())
	p.archives[name] = source.Instance
	told := p.dumped[r.PathValue("pod")]
	p.mu.Unlock()
	if told != nil {
		told()
	}
	answer, err := json.Marshal(map[string][]string{"items": {"/var/lib/kubelet/checkpoints/" + name}})
	if err == nil {
		_, err = w.Write(answer)
	}
	if err != nil {
		p.fail(fmt.Errorf("kubelet: %w", err))
	}
}

// in is the process in the pod of a name that may be checkpointed. The lock is held.
func (p *plane) in(pod string) *instance {
	for _, in := range p.instances {
		if in.pod == pod && in.State == handover.Paused {
			return in
		}
	}
	return nil
}

// push makes an image of an archive.
func (p *plane) push(archive string) (digest string) {
	digest = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(archive)))
	p.mu.Lock()
	defer p.mu.Unlock()
	if source, ok := p.archives[archive]; ok {
		p.images[digest] = source
	}
	return digest
}

// remove removes an archive.
func (p *plane) remove(archive string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.archives, archive)
}

// sweep removes what is left of a pod's archives.
func (p *plane) sweep(pod string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.archives {
		if strings.HasPrefix(name, "checkpoint-"+pod+"_") {
			delete(p.archives, name)
		}
	}
}

// repository is as much of a registry as the manager asks for.
func (p *plane) repository(w http.ResponseWriter, r *http.Request) {
	switch at := strings.LastIndex(r.URL.Path, "/manifests/"); {
	case r.URL.Path == "/v2/":
	case strings.Contains(r.URL.Path, "/blobs/uploads/") && r.Method == http.MethodPost:
		w.Header().Set("Location", r.URL.Path+"upload")
		w.WriteHeader(http.StatusAccepted)
	case strings.Contains(r.URL.Path, "/blobs/uploads/") && r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case at >= 0:
		p.manifest(w, r, r.URL.Path[at+len("/manifests/"):])
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// manifest answers for one image.
func (p *plane) manifest(w http.ResponseWriter, r *http.Request, digest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, there := p.images[digest]
	switch {
	case !there:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(p.images, digest)
		w.WriteHeader(http.StatusAccepted)
	default:
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Docker-Content-Digest", digest)
	}
}
