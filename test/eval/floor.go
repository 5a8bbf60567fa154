package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/eval/report"
	"ms2m.dev/ms2m/test/harness"
)

//go:embed floor.sh
var floorScript string

const (
	// roundTrips and writes are measured one after the other.
	roundTrips = 200
	writes     = 50
	// bare is what the service's process holds besides the noise, about.
	bare = 4 << 20
)

// measureFloor measures what the pieces of a migration take by themselves: dump, copy
// and restore with as much memory as the services have. What one round adds is kept if
// a later one fails.
func (e *evaluation) measureFloor(ctx context.Context, f *report.Floor, round int) error {
	add := func(p report.Piece, mib int, bytes int64, took ...time.Duration) {
		for _, t := range took {
			f.Measured = append(f.Measured, report.Measured{Round: round, Piece: p, MiB: mib, Bytes: bytes, Took: t})
		}
	}
	for i := range e.floor {
		for _, mib := range e.sizes() {
			out, err := e.lab.Exec(ctx, harness.NodeA, "sh", "-c", floorScript, "floor", strconv.FormatInt(int64(mib)<<20+bare, 10))
			if err != nil {
				return fmt.Errorf("CRIU by itself: %w", err)
			}
			n, err := numbers(out)
			if err != nil {
				return err
			}
			for j, p := range []report.Piece{report.Dump, report.Copy, report.Restore} {
				add(p, mib, n[0], time.Duration(n[j+1]))
			}
		}
		start, end, err := e.lab.EmptyPod(ctx, harness.CounterConfig{
			Namespace: namespace, Name: fmt.Sprintf("empty-%s-%d-%d", e.series, round, i+1), Node: harness.NodeB, NoToken: !e.token,
		})
		if err != nil {
			return fmt.Errorf("an empty pod: %w", err)
		}
		add(report.PodStart, 0, 0, start)
		add(report.PodEnd, 0, 0, end)
	}
	took, err := e.roundTrips(ctx)
	add(report.RoundTrip, 0, 0, took...)
	if err != nil {
		return err
	}
	took, err = e.writes(ctx)
	add(report.Write, 0, 0, took...)
	return err
}

// writes changes an object at the API server, again and again.
func (e *evaluation) writes(ctx context.Context) (took []time.Duration, err error) {
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "floor-" + e.series}}
	if err := client.IgnoreAlreadyExists(e.lab.Client.Create(ctx, m)); err != nil {
		return nil, err
	}
	for i := range writes {
		old := m.DeepCopy()
		m.Data = map[string]string{"n": strconv.Itoa(i)}
		begin := time.Now()
		if err := e.lab.Client.Patch(ctx, m, client.MergeFrom(old)); err != nil {
			return took, err
		}
		took = append(took, time.Since(begin))
	}
	return took, e.lab.Client.Delete(ctx, m)
}

// numbers are the four that the script prints.
func numbers(text string) (n [4]int64, err error) {
	fields := strings.Fields(text)
	if len(fields) != len(n) {
		return n, fmt.Errorf("the floor is told as %q", text)
	}
	for i, field := range fields {
		one, failed := strconv.ParseInt(field, 10, 64)
		n[i], err = one, errors.Join(err, failed)
	}
	return n, err
}

// roundTrips publishes a persistent message, waits for its confirm and its delivery,
// and publishes the next.
func (e *evaluation) roundTrips(ctx context.Context) (took []time.Duration, err error) {
	queue := "eval." + e.series
	if err := load.DeclareQueues(e.lab.BrokerURL, load.Classic, queue); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, load.DeleteQueues(e.lab.BrokerURL, queue)) }()
	conn, err := amqp.Dial(e.lab.BrokerURL)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	deliveries, err := ch.ConsumeWithContext(ctx, queue, "", true, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	for range roundTrips {
		begin := time.Now()
		confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: make([]byte, 64)})
		if err != nil {
			return nil, err
		}
		if ok, err := confirm.WaitContext(ctx); err != nil || !ok {
			return nil, errors.Join(errors.New("the broker did not confirm a message"), err)
		}
		if _, ok := <-deliveries; !ok {
			return nil, amqp.ErrClosed
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}
