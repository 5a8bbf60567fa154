//go:build failpoints

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"ms2m.dev/ms2m/internal/controller"
	"ms2m.dev/ms2m/internal/failpoint"
)

// A manager that is built with the tag failpoints logs each effect that it has, and
// dies at one of them, for tests in the lab.
const (
	// envDeath is where it dies: number of the effect, or its name for the first of that
	// name, and side, as 17/after or Checkpoint/during; if it is not set, nowhere.
	envDeath = "MS2M_FAILPOINT"
	// envSpent is a file that tells the next process in this pod that it has died.
	envSpent = "MS2M_FAILPOINT_SPENT"
	// amidst is how long after its beginning a process dies During an effect.
	amidst = 150 * time.Millisecond
)

// instrument gives the manager its failpoints.
func instrument(r *controller.Reconciler) error {
	death, err := planned()
	if err != nil {
		return err
	}
	log := ctrl.Log.WithName("failpoint")
	points := failpoint.New(func(e failpoint.Effect) bool {
		if e.Side == failpoint.Before {
			log.Info("effect", "n", e.N, "name", e.Name)
		}
		return death != nil && (e.N == death.N || e.Name == death.Name) && e.Side == death.Side
	}, die)
	r.Client, r.Kubelet = points.API(r.Client), points.Kubelet(r.Kubelet)
	r.Registry, r.Brokers = points.Registry(r.Registry), points.Brokers(r.Brokers)
	return nil
}

// planned is the death that this process is to die; nil: none, or another process
// before it has.
func planned() (*failpoint.Effect, error) {
	value := os.Getenv(envDeath)
	if value == "" {
		return nil, nil
	}
	which, side, _ := strings.Cut(value, "/")
	e := &failpoint.Effect{Side: failpoint.Side(side)}
	switch e.Side {
	case failpoint.Before, failpoint.During, failpoint.After:
	default:
		return nil, fmt.Errorf("%s is %q, want number or name of an effect, and side, as 17/after or Checkpoint/during", envDeath, value)
	}
	if n, err := strconv.Atoi(which); err == nil {
		e.N = n
	} else {
		e.Name = which
	}
	if os.Getenv(envSpent) == "" {
		return nil, fmt.Errorf("%s is missing: the next process would die, too", envSpent)
	}
	if _, err := os.Stat(os.Getenv(envSpent)); !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return e, nil
}

// die ends the process as a kill does: nothing is flushed, nothing is given back. (A
// container's first process does not get a SIGKILL of its own.)
func die(e failpoint.Effect) {
	if e.Side == failpoint.During {
		<-time.After(amidst)
	}
	if err := os.WriteFile(os.Getenv(envSpent), nil, 0o600); err != nil {
		ctrl.Log.Error(err, "the next process would die, too: it is not begun")
		return
	}
	ctrl.Log.Info("failpoint: dies", "n", e.N, "side", string(e.Side), "name", e.Name)
	os.Exit(128 + int(syscall.SIGKILL))
}
