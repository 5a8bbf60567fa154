package main

import (
	"testing"

	"ms2m.dev/ms2m/internal/queue"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		o    options
		want string
	}{
		"the defaults":    {o: options{workers: 10, limits: queue.Limits{Migrations: 5, PerNode: 2}}},
		"no limits":       {o: options{workers: 1}},
		"nobody works":    {o: options{}, want: "--workers is 0: it must be at least 1"},
		"less than none":  {o: options{workers: 1, limits: queue.Limits{Migrations: -1}}, want: "--max-migrations is -1: it must be at least 1, or 0 for no limit"},
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
