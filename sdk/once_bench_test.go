package sdk

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/sdk/handover"
)

// BenchmarkOnce handles messages whose handler waits 10 ms for another service,
// and replays them: the source waits, the replay reads the record. It reports
// both rates and their ratio, and how long a copy that is 3 s behind needs to
// catch up with a source at 95 % of its capacity: 3 s · λ ÷ (μ − λ).
//
//	go test -run '^$' -bench Once -benchtime 300x .
func BenchmarkOnce(b *testing.B) {
	const call = 10 * time.Millisecond
	s := newScene(b, amqp.QueueTypeClassic, b.N, 100, 0, func(s *service, _ *Config) {
		s.work = 0
		s.call = func() ([]byte, error) {
			time.Sleep(call)
			return []byte("answer"), nil
		}
	})
	target := s.image("pod-b-" + s.queue)
	total := s.each * len(s.names)
	from := len(target.state()) // handled before the image
	began := time.Now()
	s.load.Wait()
	eventually(b, "everything handled live", func() bool { return len(s.source.state()) == total })
	live := time.Since(began)

	target.start()
	s.m.reach(target.pod, handover.Hello, handover.Restored)
	b.ResetTimer()
	began = time.Now()
	s.m.reach(target.pod, handover.StartReplay, handover.Replaying)
	eventually(b, "everything replayed", func() bool { return len(target.state()) == total })
	replay := time.Since(began)
	b.StopTimer()

	n := float64(total - from)
	mu := n / replay.Seconds()
	lambda := 0.95 / call.Seconds()
	b.ReportMetric(n/live.Seconds(), "live-msg/s")
	b.ReportMetric(mu, "replay-msg/s")
	b.ReportMetric(live.Seconds()/replay.Seconds(), "times-faster")
	b.ReportMetric(3*lambda/(mu-lambda), "s-to-catch-up")
	b.ReportMetric(0, "ns/op")
}
