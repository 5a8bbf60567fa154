package wire

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestMethodsComeBack(t *testing.T) {
	table := Table{"a": "text", "b": true, "c": int32(-1), "d": int64(1) << 40, "e": Table{"f": false}}
	for _, m := range []Method{
		&ConnectionStart{Properties: table, Mechanisms: "PLAIN", Locales: "en_US"},
		&ConnectionTuneOk{ConnectionTune{ChannelMax: 1, FrameMax: 2, Heartbeat: 3}},
		&ChannelClose{Closing{Code: 406, Text: "PRECONDITION_FAILED", FailedClass: 60, FailedMeth: 80}},
		&QueueDeclare{Queue: "q", Passive: true, Exclusive: true, NoWait: true, Arguments: Table{"x-queue-type": "stream"}},
		&QueueDeclareOk{Queue: "q", MessageCount: 7, ConsumerCount: 1},
		&ExchangeDeclare{Exchange: "e", Type: "direct", Durable: true},
		&BasicConsume{Queue: "q", ConsumerTag: "tag", NoAck: true, Arguments: Table{"x-stream-offset": "first"}},
		&BasicDeliver{ConsumerTag: "tag", DeliveryTag: 1 << 50, Redelivered: true, RoutingKey: "k"},
		&BasicNack{DeliveryTag: 9, Requeue: true},
	} {
		b := AppendMethod(nil, 5, m)
		f, n, err := ParseFrame(append(b, 1, 2, 3))
		if err != nil || n != len(b) || f.Channel != 5 || f.Type != FrameMethod {
			t.Fatalf("%T: %+v, %d of %d, %v", m, f, n, len(b), err)
		}
		got, err := ParseMethod(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, got); d != "" {
			t.Errorf("%T (-sent +parsed):\n%s", m, d)
		}
	}
}

// TestBytes compares with bytes taken from the specification's grammar by hand.
func TestBytes(t *testing.T) {
	got := AppendMethod(nil, 1, &BasicAck{DeliveryTag: 2, Multiple: true})
	want := []byte{1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0xCE}
	if !bytes.Equal(got, want) {
		t.Errorf("basic.ack is % x, want % x", got, want)
	}
	got = Properties{DeliveryMode: Persistent, MessageID: "m"}.Encode()
	want = []byte{0x10, 0x80, 2, 1, 'm'}
	if !bytes.Equal(got, want) {
		t.Errorf("properties are % x, want % x", got, want)
	}
}

func TestContentComesBack(t *testing.T) {
	p := Properties{ContentType: "text/plain", Headers: Table{"k": "v"}, Priority: 3, ReplyTo: "r", Timestamp: time.Unix(1e9, 0).UTC(), Type: "t", AppID: "a"}
	body := []byte(strings.Repeat("x", MaxFrame+10))
	b := AppendContent(nil, 2, Content{Properties: p.Encode(), Body: body})
	var got []byte
	for len(b) > 0 {
		f, n, err := ParseFrame(b)
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		b = b[n:]
		if f.Type == FrameBody {
			got = append(got, f.Payload...)
			continue
		}
		size, raw, err := ParseHeader(f.Payload)
		if err != nil || size != uint64(len(body)) {
			t.Fatal(size, err)
		}
		back, err := ParseProperties(raw)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, back, cmpopts.IgnoreUnexported(Properties{})); d != "" {
			t.Errorf("properties (-sent +parsed):\n%s", d)
		}
	}
	if !bytes.Equal(got, body) {
		t.Errorf("%d bytes of body came back of %d", len(got), len(body))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(AppendMethod(nil, 1, &QueueDeclare{Queue: "q", Arguments: Table{"a": "b"}}))
	f.Add(AppendContent(nil, 1, Content{Properties: Properties{MessageID: "m", Headers: Table{"x": int32(1)}}.Encode(), Body: []byte("b")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			frame, n, err := ParseFrame(b)
			if n == 0 || err != nil {
				return
			}
			b = b[n:]
			switch frame.Type {
			case FrameMethod:
				m, err := ParseMethod(frame.Payload)
				if err != nil {
					continue
				}
				again, err := ParseMethod(encodeMethod(m))
				if err != nil {
					t.Fatalf("%+v does not parse again: %v", m, err)
				}
				if d := cmp.Diff(m, again); d != "" {
					t.Fatalf("%T differs when parsed again:\n%s", m, d)
				}
			case FrameHeader:
				_, raw, err := ParseHeader(frame.Payload)
				if err != nil {
					continue
				}
				_, _ = ParseProperties(raw)
			}
		}
	})
}
