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

	"ms2m.dev/ms2m/examples/load"
	"ms2m.dev/ms2m/test/eval/report"
	"ms2m.dev/ms2m/test/harness"
)

//go:embed floor.sh
var floorScript string

// roundTrips are measured one after the other.
const roundTrips = 200

// bare is what the service's process holds besides the noise, about.
const bare = 4 << 20

// measureFloor measures what dump, copy, restore and a message take by themselves, with
// as much memory as the service has. What one round adds is kept if a later one fails.
func (e *evaluation) measureFloor(ctx context.Context, f *report.Floor) error {
	bytes := int64(e.ballast)<<20 + bare
	for range e.floor {
		out, err := e.lab.Exec(ctx, harness.NodeA, "sh", "-c", floorScript, "floor", strconv.FormatInt(bytes, 10))
		if err != nil {
			return fmt.Errorf("CRIU by itself: %w", err)
		}
		n, err := numbers(out)
		if err != nil {
			return err
		}
		f.Bytes = n[0]
		f.Dump, f.Copy, f.Restore = append(f.Dump, time.Duration(n[1])), append(f.Copy, time.Duration(n[2])), append(f.Restore, time.Duration(n[3]))
	}
	took, err := e.roundTrips(ctx)
	f.RoundTrip = append(f.RoundTrip, took...)
	return err
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
