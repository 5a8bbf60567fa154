// Package layout says where the lab keeps its files: the cache that outlives any
// lab, and the state of one lab.
package layout

import (
	"fmt"
	"os"
	"path/filepath"
)

// Cache is the directory of everything that is built once and reused.
type Cache struct{ Dir string }

// State is the directory of one lab.
type State struct{ Dir string }

// Default returns the cache and the state directory that the environment asks
// for: MS2M_CACHE and MS2M_LAB_DIR.
func Default() (Cache, State, error) {
	cache := os.Getenv("MS2M_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return Cache{}, State{}, fmt.Errorf("no cache directory: set MS2M_CACHE, XDG_CACHE_HOME or HOME: %w", err)
		}
		cache = filepath.Join(base, "ms2m")
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return Cache{}, State{}, fmt.Errorf("make MS2M_CACHE absolute: %w", err)
	}
	state := os.Getenv("MS2M_LAB_DIR")
	if state == "" {
		state = filepath.Join(cache, "lab")
	}
	state, err = filepath.Abs(state)
	if err != nil {
		return Cache{}, State{}, fmt.Errorf("make MS2M_LAB_DIR absolute: %w", err)
	}
	return Cache{cache}, State{state}, nil
}

// Bin holds one directory of binaries per recipe.
func (c Cache) Bin() string { return filepath.Join(c.Dir, "bin") }

// Rootfs holds one root file system per recipe.
func (c Cache) Rootfs() string { return filepath.Join(c.Dir, "rootfs") }

// Src holds the modules that are being built.
func (c Cache) Src() string { return filepath.Join(c.Dir, "src") }

// Locks holds the lock files of builds.
func (c Cache) Locks() string { return filepath.Join(c.Dir, "locks") }

// Spec is the record of what runs; it is written before anything is started.
func (s State) Spec() string { return filepath.Join(s.Dir, "lab.json") }

// Lock serialises up and down. It is never removed.
func (s State) Lock() string { return filepath.Join(s.Dir, "lock") }

// Kubeconfig is the administrator's.
func (s State) Kubeconfig() string { return filepath.Join(s.Dir, "kubeconfig") }

// PKI holds the authority and one directory per machine.
func (s State) PKI() string { return filepath.Join(s.Dir, "pki") }

// CACert is the certificate of the lab's authority.
func (s State) CACert() string { return filepath.Join(s.PKI(), "ca.crt") }

// CABundle is the host's trusted certificates and the lab's authority.
func (s State) CABundle() string { return filepath.Join(s.PKI(), "ca-bundle.crt") }

// Logs holds one directory per machine; it stays after a tear-down.
func (s State) Logs() string { return filepath.Join(s.Dir, "logs") }

// Machines holds the writable files of every machine.
func (s State) Machines() string { return filepath.Join(s.Dir, "machines") }

// Machine is the directory of one machine's writable files.
func (s State) Machine(name string) string { return filepath.Join(s.Machines(), name) }
