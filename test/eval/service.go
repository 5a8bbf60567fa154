package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/test/eval/report"
	"ms2m.dev/ms2m/test/harness"
)

const (
	namespace = "ms2m-eval"
	// producers of a service; of each of many at once there is one.
	producers = 3
)

// service is a counter under load, whoever owns its pod.
type service struct {
	flow   *harness.Flow
	target string // the node that it is to go to
	url    string // of its Service
	close  func(context.Context) error
}

// start starts a service and the load on it. It is the same whatever the way: what
// differs is the pod's owner.
func (e *evaluation) start(ctx context.Context, c report.Case, name string) (*service, error) {
	s := &service{}
	from := producers
	if c.Services > 1 {
		from = 1
	}
	workload := harness.WorkloadConfig{
		Namespace: namespace, Name: name, Replicas: 1, Work: c.Work, Rate: c.Rate, Producers: from,
		Change: func(p *corev1.PodTemplateSpec) {
			env := &p.Spec.Containers[0].Env
			*env = append(*env, corev1.EnvVar{Name: "BALLAST_MB", Value: strconv.Itoa(c.Ballast)})
			p.Spec.AutomountServiceAccountToken = &e.token
		},
	}
	var err error
	switch c.Way {
	case report.Deployment:
		d, failed := e.lab.StartDeployment(ctx, workload)
		if failed != nil {
			return nil, failed
		}
		s.flow, s.close = d.Flow, d.Close
		s.url, err = e.lab.ClusterIP(ctx, d.Key())
	case report.StatefulSet, report.Sequential:
		set, failed := e.lab.StartStateful(ctx, workload)
		if failed != nil {
			return nil, failed
		}
		s.flow, s.close = set.Ordinals[0], set.Close
		s.url, err = e.lab.ClusterIP(ctx, set.Key())
	default:
		flow, failed := e.lab.StartFlow(ctx, harness.FlowConfig{
			CounterConfig: harness.CounterConfig{Namespace: namespace, Name: name, Work: c.Work, BallastMB: c.Ballast, NoToken: !e.token},
			Rate:          c.Rate, Producers: from,
		})
		if failed != nil {
			return nil, failed
		}
		exposed, base, failed := flow.Expose(ctx)
		s.flow, s.url, err = flow, base, failed
		s.close = func(ctx context.Context) error {
			if exposed == nil {
				return flow.Close(ctx)
			}
			return errors.Join(e.lab.Client.Delete(ctx, exposed), flow.Close(ctx))
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	s.target = map[string]string{harness.NodeA: harness.NodeB, harness.NodeB: harness.NodeA}[s.flow.Pod.Spec.NodeName]
	if s.target == "" {
		return nil, errors.Join(fmt.Errorf("the pod is on %q, which is neither %s nor %s", s.flow.Pod.Spec.NodeName, harness.NodeA, harness.NodeB), s.close(ctx))
	}
	return s, nil
}
