package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Positions are numbers of messages, counted over the life of the state.
type Positions struct {
	// checkpoint is the last message contained in the image.
	// +optional
	Checkpoint int64 `json:"checkpoint,omitempty"`
	// source is the last message that the source has written to the replay queue.
	// +optional
	Source int64 `json:"source,omitempty"`
	// target is the last message that the target has applied.
	// +optional
	Target int64 `json:"target,omitempty"`
	// end is the number in END_REPLAY.
	// +optional
	End int64 `json:"end,omitempty"`
}

// Lag is what the target still has to apply.
type Lag struct {
	// messages outstanding.
	Messages int64 `json:"messages"`
	// seconds that the target needs for them at its measured rate, as a decimal.
	// +optional
	Seconds string `json:"seconds,omitempty"`
}

// MaxSeries bounds a course of a replay, however long that takes.
const MaxSeries = 64

// Sample is where a replay stood at one moment. Rates are decimals, in messages
// per second; what is not known is left out.
type Sample struct {
	// at is the moment, by the manager's clock.
	At metav1.MicroTime `json:"at"`
	// lagMessages is what was outstanding.
	LagMessages int64 `json:"lagMessages"`
	// arrivalRate is what the source wrote to the replay queue.
	// +optional
	ArrivalRate string `json:"arrivalRate,omitempty"`
	// replayRate is what the target applied while it had something to apply.
	// +optional
	ReplayRate string `json:"replayRate,omitempty"`
}

// Cutoff is what is known about the end of the replay. Rates and seconds are
// decimals; what is not known is left out.
type Cutoff struct {
	// reason is the rule that froze the source: CaughtUp, Outpaced, ReplayCutoff,
	// TooSlow or DeadlineExceeded; before that Waiting.
	Reason string `json:"reason"`
	// limitSeconds is spec.replayCutoffSeconds, by which it was judged.
	LimitSeconds int32 `json:"limitSeconds"`
	// lagMessages is what is outstanding.
	LagMessages int64 `json:"lagMessages"`
	// expectedGapSeconds is how long the target needs for what is outstanding:
	// the pause that a freeze at this moment makes, but for its round trips. The
	// pause that was measured is pauses.handoverMillis.
	// +optional
	ExpectedGapSeconds string `json:"expectedGapSeconds,omitempty"`
	// arrivalRate is what the source writes to the replay queue, in messages per
	// second over the last seconds.
	// +optional
	ArrivalRate string `json:"arrivalRate,omitempty"`
	// replayRate is what the target applies, in messages per second of the time
	// in which it has something to apply.
	// +optional
	ReplayRate string `json:"replayRate,omitempty"`
	// catchUpSeconds is the time until nothing is outstanding, at these rates.
	// Left out though both rates are known: never.
	// +optional
	CatchUpSeconds string `json:"catchUpSeconds,omitempty"`
}

// ThrottlePolicy says whether the source may be slowed down.
// +kubebuilder:validation:Enum=WhenBehind;Never
type ThrottlePolicy string

// The throttle policies.
const (
	ThrottleWhenBehind ThrottlePolicy = "WhenBehind"
	ThrottleNever      ThrottlePolicy = "Never"
)

// Throttle is how the source was slowed down, during the replay and before it if
// that could be foreseen, so that the copy catches up before the source has to stand still.
type Throttle struct {
	// since is when it was asked for a pace, the last time that it kept none.
	Since metav1.MicroTime `json:"since"`
	// changedAt is when what is asked for became what it is.
	ChangedAt metav1.MicroTime `json:"changedAt"`
	// endedAt is when that was over; absent: it is not.
	// +optional
	EndedAt *metav1.MicroTime `json:"endedAt,omitempty"`
	// paceMillis is the least time between the beginnings of two messages that it is
	// asked to keep, or was last.
	PaceMillis int64 `json:"paceMillis"`
	// kept says that it does, by its own word: an older library does not know a pace.
	// +optional
	Kept bool `json:"kept,omitempty"`
	// totalMillis is how long it was asked for one, up to endedAt.
	// +optional
	TotalMillis int64 `json:"totalMillis,omitempty"`
}
