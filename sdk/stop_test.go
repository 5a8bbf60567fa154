package sdk

import (
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestStopSettles stops a service in the middle of a stream, again and again: what
// it has applied is settled at the broker when Run returns, for the process goes
// with it. A message that was applied and comes again would reach another consumer
// of the queue, whose memory then counts it, too.
func TestStopSettles(t *testing.T) {
	const stops, each = 20, 60
	queue := t.Name()
	conn, err := amqp.Dial(broker().URL)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	declare(t, conn, queue, amqp.QueueTypeClassic)
	ch, err := conn.Channel()
	must(t, err)

	applied := map[string]int{}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		producers(t, queue, []string{"p"}, stops*each, 100, 0)
	}()
	for n := range stops + 1 {
		s := newService(t, fmt.Sprintf("stop-%d", n), queue, "", 200*time.Microsecond)
		s.start()
		enough := each / 2 // so that there is something left
		if n == stops {
			<-sent
			enough = stops*each - len(applied)
		}
		for len(s.state()) < enough {
			time.Sleep(time.Millisecond) // polls what the handler has done
		}
		s.stop()
		err := <-s.ended
		s.cut() // as the end of a process does
		s.ended <- nil
		must(t, err)
		for _, id := range s.state() {
			if applied[id]++; applied[id] > 1 {
				t.Errorf("%s comes again after the %d. stop", id, n)
			}
		}
	}
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	must(t, err)
	if q.Messages != 0 || len(applied) != stops*each {
		t.Errorf("%d of %d applied, %d left in the queue", len(applied), stops*each, q.Messages)
	}
}
