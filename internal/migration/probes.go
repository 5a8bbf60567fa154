package migration

import (
	"cmp"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// ProbeBudget says why a process that stands still for the budget could be
// killed by its liveness probe, or nothing.
//
// The kubelet begins a probe every step = max(periodSeconds, timeoutSeconds): it
// probes one after the other, and a tick that it misses it makes up for at once.
// The container is killed when failureThreshold of them in a row have failed. In
// the worst case the first has been under way for nearly timeoutSeconds when the
// process stops, so that they begin at
//
//	-timeout, -timeout+step, … -timeout+(failureThreshold-1)·step
//
// and the last must not begin before the process runs again: one that begins
// earlier may fail though the process wakes up in time, since a dropped SYN is
// sent again only a second later, and an exec needs its time. Hence
//
//	(failureThreshold-1)·step - timeout >= budget
//
// for every type of probe: even tcpSocket, which the kernel answers for a frozen
// process, gets no answer while CRIU locks the network. initialDelaySeconds
// counts from the container's start and does not help one that has long run; a
// startup probe has ended by then, and a readiness probe costs endpoints only.
func ProbeBudget(pod *corev1.Pod, container string, budget time.Duration) string {
	for _, c := range pod.Spec.Containers {
		if c.Name != container || c.LivenessProbe == nil {
			continue
		}
		p := c.LivenessProbe
		timeout := orElse(p.TimeoutSeconds, 1) * time.Second
		step := max(orElse(p.PeriodSeconds, 10)*time.Second, timeout)
		threshold := orElse(p.FailureThreshold, 3)
		if stands := (threshold-1)*step - timeout; stands < budget {
			message := fmt.Sprintf("livenessProbe of the container %q kills a process that stands still for more than %v, and a checkpoint may take %v: it needs a failureThreshold of at least %d",
				container, max(stands, 0), budget, 1+ceil(budget+timeout, step))
			if threshold > 1 {
				message += fmt.Sprintf(", or periodSeconds of at least %d", ceil(ceil(budget+timeout, threshold-1), time.Second))
			}
			return message
		}
	}
	return ""
}

// orElse is a figure of the probe, or its default, as a factor of a duration.
func orElse(n, unset int32) time.Duration { return time.Duration(cmp.Or(n, unset)) }

func ceil(a, b time.Duration) time.Duration { return (a + b - 1) / b }
