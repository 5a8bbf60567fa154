package broker_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"ms2m.dev/ms2m/sdk/brokertest"
)

// rabbit is a RabbitMQ that all tests of the package share.
var rabbit *brokertest.Broker

func TestMain(m *testing.M) {
	code, err := run(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "ms2m-broker")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if rabbit, err = brokertest.Start(dir); err != nil {
		return 0, err
	}
	defer func() { _ = rabbit.Stop() }()
	return m.Run(), nil
}
