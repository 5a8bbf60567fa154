package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// VolumeStore keeps the volumes of the tests' CSI driver while no node has them.
type VolumeStore struct {
	URL    string // for the nodes
	server *http.Server

	mu      sync.Mutex
	volumes map[string]*volume
	refused int
}

type volume struct {
	files map[string][]byte
	node  string   // that has it
	taken []string // by which nodes, in turn
}

// StartVolumeStore serves the nodes until Close.
func (l *Lab) StartVolumeStore(ctx context.Context) (*VolumeStore, error) {
	// The nodes reach this program where they reach the broker.
	broker, err := url.Parse(l.BrokerURL)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(broker.Hostname(), "0"))
	if err != nil {
		return nil, err
	}
	s := &VolumeStore{URL: "http://" + listener.Addr().String(), volumes: make(map[string]*volume)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /take/{volume}", s.take)
	mux.HandleFunc("POST /give/{volume}", s.give)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: readTimeout}
	go func() { _ = s.server.Serve(listener) }() // until Close
	return s, nil
}

// Close ends the serving.
func (s *VolumeStore) Close() { _ = s.server.Close() }

func (s *VolumeStore) of(name string) *volume {
	if s.volumes[name] == nil {
		s.volumes[name] = &volume{files: make(map[string][]byte)}
	}
	return s.volumes[name]
}

func (s *VolumeStore) take(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, node := s.of(r.PathValue("volume")), r.FormValue("node")
	if v.node != "" && v.node != node {
		s.refused++
		http.Error(w, v.node+" has it", http.StatusConflict)
		return
	}
	v.node, v.taken = node, append(v.taken, node)
	_ = json.NewEncoder(w).Encode(v.files) // a client that went away
}

func (s *VolumeStore) give(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.of(r.PathValue("volume"))
	files := make(map[string][]byte)
	if err := json.NewDecoder(r.Body).Decode(&files); err != nil || v.node != r.FormValue("node") {
		http.Error(w, fmt.Sprintf("not from %s: %v", v.node, err), http.StatusConflict)
		return
	}
	v.files, v.node = files, ""
}

// Volume tells the files of a volume as a node brought them last, the nodes that
// have taken it, in turn, and how often a node was refused one that another had.
func (s *VolumeStore) Volume(name string) (files map[string][]byte, taken []string, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.of(name)
	return maps.Clone(v.files), append([]string(nil), v.taken...), s.refused
}
