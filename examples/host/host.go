// Package host is what is around the example services: their beginning and end, and HTTP.
package host

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	defaultAddress = ":8080"
	headerTimeout  = 5 * time.Second
	// answering bounds the answering of requests when the service is told to stop, refusing
	// the telling of the rest that there is no answer.
	answering = 200 * time.Millisecond
	refusing  = 100 * time.Millisecond
)

// Run runs a service until it is told to stop, or fails.
func Run(name string, run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error(name, "error", err)
		os.Exit(1)
	}
}

// Serve serves HTTP in the background until stop, at the address in LISTEN.
func Serve(ctx context.Context, handler http.Handler) (stop func(), err error) {
	address := os.Getenv("LISTEN")
	if address == "" {
		address = defaultAddress
	}
	var lc net.ListenConfig
	// Go listens with Multipath TCP where the kernel has it, and CRIU cannot
	// dump such a socket.
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	requests, refuse := context.WithCancel(context.WithoutCancel(ctx))
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, BaseContext: func(net.Listener) context.Context { return requests }}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("HTTP", "error", err)
		}
	}()
	return func() {
		defer refuse()
		// Requests that have come are answered. But one that waits for the state's next
		// owner may keep that from coming: a StatefulSet's new pod is made when the old
		// one has ended. And a connection that was opened in advance never asks anything.
		if shutdown(server, answering) {
			return
		}
		refuse()
		if !shutdown(server, refusing) {
			_ = server.Close()
		}
	}, nil
}

func shutdown(server *http.Server, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return server.Shutdown(ctx) == nil
}

// Answer answers a request with JSON.
func Answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that went away
}
