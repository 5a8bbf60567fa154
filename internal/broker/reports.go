package broker

import (
	"encoding/json"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// Heard is what an instance has said.
type Heard struct {
	Last handover.Report
	At   time.Time
	// Answers has the last answer to each kind of command, with the
	// correlation of the command that it answers.
	Answers map[handover.CommandKind]Answer
}

// Answer is the answer to one command. One that comes late (PREPARED after the
// handlers have finished) has no correlation.
type Answer struct {
	Correlation string
	At          time.Time
	Report      handover.Report
}

// reports remembers the last report of each pod.
type reports struct {
	mu    sync.Mutex
	byPod map[string]*Heard
}

func newReports() reports { return reports{byPod: map[string]*Heard{}} }

// take takes a report in. What is no report, or does not say from which pod it
// comes, is of no use to anybody.
func (r *reports) take(d amqp.Delivery, now time.Time) (pod string, ok bool) {
	var report handover.Report
	if d.Type != handover.TypeReport || json.Unmarshal(d.Body, &report) != nil || report.Status.PodUID == "" {
		return "", false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pod = report.Status.PodUID
	h := r.byPod[pod]
	if h == nil {
		h = &Heard{Answers: map[handover.CommandKind]Answer{}}
		r.byPod[pod] = h
	}
	h.Last, h.At = report, now
	if report.Answers != "" {
		h.Answers[report.Answers] = Answer{Correlation: d.CorrelationId, At: now, Report: report}
	}
	return pod, true
}

// Heard is what the instance in the pod has said last.
func (c *Client) Heard(podUID string) (Heard, bool) {
	c.reports.mu.Lock()
	defer c.reports.mu.Unlock()
	h := c.reports.byPod[podUID]
	if h == nil {
		return Heard{}, false
	}
	out := Heard{Last: h.Last, At: h.At, Answers: make(map[handover.CommandKind]Answer, len(h.Answers))}
	for k, a := range h.Answers {
		out.Answers[k] = a
	}
	return out, true
}

// Forget forgets what the instance in the pod has said.
func (c *Client) Forget(podUID string) {
	c.reports.mu.Lock()
	defer c.reports.mu.Unlock()
	delete(c.reports.byPod, podUID)
}
