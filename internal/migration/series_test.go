package migration_test

import (
	"math/rand/v2"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

// TestSeries: however long a replay takes and however irregular the writes are, its course
// is bounded, in order, begins and ends where the replay did, and leaves no part out.
func TestSeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3000).Draw(t, "writes")
		jitter := rapid.IntRange(0, 300).Draw(t, "jitter")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var series []v1alpha1.Sample
		at := now
		for i := range n {
			at = at.Add(time.Second + time.Duration(rnd.IntN(jitter+1))*time.Millisecond)
			series = migration.Record(series, v1alpha1.Sample{At: metav1.NewMicroTime(at), LagMessages: int64(n - 1 - i)}, i == n-1)
			if len(series) > v1alpha1.MaxSeries {
				t.Fatalf("%d samples after %d writes", len(series), i+1)
			}
		}
		if n <= v1alpha1.MaxSeries/2 && len(series) != n {
			t.Fatalf("%d samples of %d writes", len(series), n)
		}
		if n > v1alpha1.MaxSeries && len(series) < v1alpha1.MaxSeries/2 {
			t.Fatalf("only %d samples of %d writes", len(series), n)
		}
		if first, last := series[0].LagMessages, series[len(series)-1].LagMessages; first != int64(n-1) || last != 0 {
			t.Fatalf("from %d to %d of %d", first, last, n)
		}
		most := 4 * at.Sub(now) / v1alpha1.MaxSeries
		for i := 1; i < len(series); i++ {
			gap := series[i].At.Sub(series[i-1].At.Time)
			if gap <= 0 || gap > max(most, 1500*time.Millisecond) {
				t.Fatalf("%v between samples %d and %d of %d, of %v", gap, i-1, i, len(series), at.Sub(now))
			}
		}
	})
}
