// Command conformant is a service for the conformance test (docs/conformance.md):
// the smallest one in which every clause of the protocol can be seen. What a
// handler is to do stands in the message's header "conformance".
//
// Environment:
//
//	AMQP_URL                 the broker (the test's proxy)
//	QUEUE                    the queue to consume
//	OUTPUT_QUEUE             the queue for the outputs
//	PREFETCH                 messages in flight
//	POD_UID_FILE             a file with the UID of the pod this process is in
//	POD_NAMESPACE, POD_NAME  of the pod at the start of the process
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ms2m.dev/ms2m/sdk"
	"ms2m.dev/ms2m/sdk/handover"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("conformant", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	prefetch, err := strconv.Atoi(os.Getenv("PREFETCH"))
	if err != nil {
		return fmt.Errorf("PREFETCH: %w", err)
	}
	s := &service{output: os.Getenv("OUTPUT_QUEUE"), requeued: map[string]bool{}}
	c, err := sdk.New(sdk.Config{
		URL:      os.Getenv("AMQP_URL"),
		Queue:    os.Getenv("QUEUE"),
		Prefetch: prefetch,
		Handler:  s.handle,
		Digest:   func() []byte { return []byte(s.Chain) },
		Pod: sdk.PodInfo{
			UID: func() (string, error) {
				b, err := os.ReadFile(os.Getenv("POD_UID_FILE"))
				return strings.TrimSpace(string(b)), err
			},
			Namespace: os.Getenv("POD_NAMESPACE"),
			Name:      os.Getenv("POD_NAME"),
		},
	})
	if err != nil {
		return err
	}
	return c.Run(ctx)
}

// service is the state, and what an output tells of it.
type service struct {
	output   string
	requeued map[string]bool

	Identity string `json:"identity"` // of the message last handled
	Count    int    `json:"count"`    // of messages handled well
	Chain    string `json:"chain"`    // over all of them
	Once     string `json:"once"`     // the result of the side effect
}

// handle does what the words of the header say: sleep=MILLISECONDS,
// once=NAME, reject, requeue (the first time).
func (s *service) handle(_ context.Context, m *sdk.Message) error {
	once := ""
	words, _ := m.Properties.Headers["conformance"].(string)
	for _, word := range strings.Fields(words) {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "sleep":
			d, err := time.ParseDuration(value + "ms")
			if err != nil {
				return sdk.Reject(err)
			}
			time.Sleep(d) // the work that is asked for
		case "once":
			b, err := m.Once(value, func() ([]byte, error) { return []byte(rand.Text()), nil })
			if err != nil {
				return err
			}
			once = string(b)
		case "reject":
			return sdk.Reject(errors.New("asked for"))
		case "requeue":
			if !s.requeued[m.Identity()] {
				s.requeued[m.Identity()] = true
				return errors.New("asked for")
			}
		}
	}
	body := sha256.Sum256(m.Body)
	link := sha256.Sum256([]byte(s.Chain + "|" + m.Identity() + "|" + hex.EncodeToString(body[:]) + "|" + once))
	s.Identity, s.Count, s.Chain, s.Once = m.Identity(), s.Count+1, hex.EncodeToString(link[:]), once
	out, err := json.Marshal(s)
	if err != nil {
		return err
	}
	m.Publish(sdk.Output{RoutingKey: s.output, Properties: handover.Properties{ContentType: "application/json"}, Body: out})
	return nil
}
