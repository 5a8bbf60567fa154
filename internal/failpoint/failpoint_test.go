package failpoint_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"ms2m.dev/ms2m/internal/failpoint"
)

// kubelet counts how often it was called.
type kubelet struct{ calls chan string }

func (k kubelet) Checkpoint(_ context.Context, node, _, _, _ string) (string, error) {
	k.calls <- node
	return "archive of " + node, nil
}

func TestDeath(t *testing.T) {
	for _, side := range []failpoint.Side{failpoint.Before, failpoint.During, failpoint.After} {
		t.Run(string(side), func(t *testing.T) {
			var seen []string
			deaths := 0
			k := kubelet{make(chan string, 10)}
			points := failpoint.New(func(e failpoint.Effect) bool {
				seen = append(seen, fmt.Sprintf("%s %d", e.Side, e.N))
				return e.N == 2 && e.Side == side
			}, func(failpoint.Effect) { deaths++ })
			wrapped := points.Kubelet(k)
			if archive, err := wrapped.Checkpoint(t.Context(), "a", "", "", ""); err != nil || archive != "archive of a" {
				t.Fatalf("the first call: %q, %v", archive, err)
			}
			for range 2 { // nobody hears of the second, and there is no third
				if archive, err := wrapped.Checkpoint(t.Context(), "b", "", "", ""); !errors.Is(err, failpoint.ErrDead) || archive != "" {
					t.Fatalf("%q, %v", archive, err)
				}
			}
			want := []string{"before 1", "during 1", "after 1", "before 2", "during 2", "after 2"}
			want = want[:slices.Index(want, string(side)+" 2")+1]
			if !slices.Equal(seen, want) || deaths != 1 {
				t.Errorf("asked at %v, want %v; %d deaths", seen, want, deaths)
			}
			calls := []string{<-k.calls}
			if side != failpoint.Before {
				calls = append(calls, <-k.calls)
			}
			if len(k.calls) > 0 {
				t.Errorf("called once more after %v", calls)
			}
		})
	}
}
