package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/test/eval/report"
)

const (
	// starting is how many services are started, and removed, at a time.
	starting = 8
	// longer is added to the bound on a run for each of many services at once.
	longer = 10 * time.Second
	// looking is how often one looks meanwhile at what the machine has left.
	looking = time.Second
)

// fleet moves many services at once, each judged by itself: all of them from the same
// node to the same other one, as when a node is to be emptied.
func (e *evaluation) fleet(ctx context.Context, c report.Case, number, round int) ([]report.Run, *report.Fleet) {
	bound := e.timeout + time.Duration(c.Services)*longer
	within, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("not done in %v", bound))
	defer cancel()
	f := &report.Fleet{Round: round, Services: c.Services}
	runs := make([]report.Run, c.Services)
	services := make([]*service, c.Services)
	begin := time.Now()
	atOnce(c.Services, starting, func(i int) {
		runs[i] = report.Run{Case: c, Number: number + i, Round: round, Begun: begin}
		s, err := e.start(within, c, fmt.Sprintf("c-%s-%d-%d", e.series, number, i+1))
		if err != nil {
			runs[i].Failed = fmt.Sprintf("start the service: %v", err)
			return
		}
		services[i] = s
	})
	f.Starting = time.Since(begin)
	err := e.together(within, f, runs, services)
	atOnce(c.Services, starting, func(i int) {
		if services[i] == nil {
			return
		}
		if err := e.tidy(ctx, services[i], c.Way); err != nil {
			runs[i].Failed = errors.Join(asError(runs[i].Failed), err).Error()
		}
	})
	if f.Ready < c.Services {
		err = errors.Join(err, e.sweep(ctx))
	}
	if err != nil {
		f.Missing = err.Error()
	}
	return runs, f
}

// together moves the services that run, and looks meanwhile at what the machine has left.
func (e *evaluation) together(ctx context.Context, f *report.Fleet, runs []report.Run, services []*service) error {
	before, err := e.used(ctx)
	if err != nil {
		return err
	}
	looked := make(chan error, 1)
	looks, stop := context.WithCancel(ctx)
	go func() { looked <- lookAt(looks, f) }()
	atOnce(len(runs), len(runs), func(i int) {
		if services[i] == nil {
			return
		}
		if err := e.judged(ctx, services[i], &runs[i]); err != nil {
			runs[i].Failed = err.Error()
		}
	})
	stop()
	err = <-looked
	for _, s := range services {
		if s != nil {
			f.Ready++
		}
	}
	after, failed := e.used(ctx)
	if failed == nil {
		f.Used = between(before, after)
	}
	return errors.Join(err, failed)
}

// lookAt keeps the least memory that was available, and the most watchers of inotify
// that there were, until the end of ctx.
func lookAt(ctx context.Context, f *report.Fleet) error {
	look := time.NewTicker(looking)
	defer look.Stop()
	for {
		free, err := available()
		if err != nil {
			return err
		}
		if f.Available == 0 || free < f.Available {
			f.Available = free
		}
		f.Watchers = max(f.Watchers, watchers())
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// sweep removes pods of services that did not start.
func (e *evaluation) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidying)
	defer cancel()
	return e.lab.Client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(namespace))
}

// atOnce calls f with every number below n, so many at a time, and waits for all.
func atOnce(n, most int, f func(int)) {
	var all sync.WaitGroup
	room := make(chan struct{}, most)
	for i := range n {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			f(i)
		})
	}
	all.Wait()
}

// asError is what was told as text; of nothing it is none.
func asError(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
