package report

import "time"

// published are the medians of the total time that the evaluation of 2026 (arXiv
// 2603.25484) has for a consumer of 10 ms and a cut-off of 120 s, by rate, in seconds:
// of its best mode at that rate, and of the sequential one on a StatefulSet.
var published = map[float64]struct{ best, sequential float64 }{
	10: {7.7, 45.4}, 20: {8.8, 53.1}, 40: {11.6, 75.8}, 60: {18.1, 131.1},
	80: {40.7, 160.8}, 100: {124.7, 160.3}, 120: {125.3, 161.0},
}

// publishedWork is the consumer of these figures.
const publishedWork = 10 * time.Millisecond
