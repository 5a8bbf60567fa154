package migration

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Record adds a sample to the course of a replay. When it is full, every other one is left out,
// and from then on samples are as far apart as those that are left: a short replay is
// told by the second, a long one evenly. The last of a replay is always taken.
func Record(series []v1alpha1.Sample, s v1alpha1.Sample, last bool) []v1alpha1.Sample {
	if !last && tooSoon(series, s) {
		return series
	}
	if len(series) >= v1alpha1.MaxSeries {
		series = halve(series)
		if !last && tooSoon(series, s) {
			return series
		}
	}
	return append(series, s)
}

// halve keeps every other sample, the first among them: the beginning of the
// replay is what all the others are seen against.
func halve(series []v1alpha1.Sample) []v1alpha1.Sample {
	kept := make([]v1alpha1.Sample, 0, v1alpha1.MaxSeries)
	for i := 0; i < len(series); i += 2 {
		kept = append(kept, series[i])
	}
	return kept
}

// tooSoon reports whether a sample is nearer to the last than they are to each
// other, in a series that has been thinned out. Until then each is taken. It is the
// median that counts: a replay may have been silent for a while.
func tooSoon(series []v1alpha1.Sample, s v1alpha1.Sample) bool {
	n := len(series)
	if n < v1alpha1.MaxSeries/2 {
		return false
	}
	gaps := make([]time.Duration, n-1)
	for i := range gaps {
		gaps[i] = series[i+1].At.Sub(series[i].At.Time)
	}
	slices.Sort(gaps)
	// Status writes are only about as regular as the reports that cause them.
	return s.At.Sub(series[n-1].At.Time) < gaps[len(gaps)/2]*9/10
}

// record takes note of where the replay stands.
func (p *planner) record(f Forecast, last bool) {
	p.status.Series = Record(p.status.Series, v1alpha1.Sample{
		At: metav1.NewMicroTime(p.Now), LagMessages: f.Messages,
		ArrivalRate: decimal(f.Arrival), ReplayRate: decimal(f.Replay),
	}, last)
}
