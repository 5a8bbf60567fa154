package sdk_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"ms2m.dev/ms2m/sdk"
)

// A complete service: it counts what it consumes, and says so.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	total := 0 // the state: it moves with the process
	c, err := sdk.New(sdk.Config{
		URL:   os.Getenv("AMQP_URL"),
		Queue: "orders",
		Handler: func(_ context.Context, m *sdk.Message) error {
			total++
			m.Publish(sdk.Output{RoutingKey: "totals", Body: fmt.Append(nil, total)})
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
