package main

import (
	"testing"
	"time"

	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/queue"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	policy := migration.DefaultPolicy()
	paced := func(catchUp, pace time.Duration) migration.Policy {
		return migration.Policy{CatchUp: catchUp, Pace: pace}
	}
	for name, test := range map[string]struct {
		o    options
		want string
	}{
		"the defaults":    {o: options{workers: 10, limits: queue.Limits{Migrations: 5, PerNode: 2}, policy: policy}},
		"no limits":       {o: options{workers: 1, policy: policy}},
		"nobody works":    {o: options{}, want: "--workers is 0: it must be at least 1"},
		"less than none":  {o: options{workers: 1, limits: queue.Limits{Migrations: -1}}, want: "--max-migrations is -1: it must be at least 1, or 0 for no limit"},
		"at once":         {o: options{workers: 1, policy: paced(0, time.Second)}, want: "--catch-up is 0s: it must be more than nothing"},
		"no pace":         {o: options{workers: 1, policy: paced(1, 0)}, want: "--pace is 0s: it must be 1ms to 1s; spec.throttle: Never is for no pace at all"},
		"more than known": {o: options{workers: 1, policy: paced(1, 2*time.Second)}, want: "--pace is 2s: it must be 1ms to 1s; spec.throttle: Never is for no pace at all"},
		"less for a node": {o: options{workers: 1, limits: queue.Limits{PerNode: -2}}, want: "--max-migrations-per-node is -2: it must be at least 1, or 0 for no limit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := test.o.check(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
