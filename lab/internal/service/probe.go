package service

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// HTTP passes if the address answers 200.
func HTTP(url string) Probe { return get(http.DefaultClient, url) }

// HTTPS is HTTP with this TLS configuration.
func HTTPS(url string, config *tls.Config) Probe {
	return get(&http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}, url)
}

func get(c *http.Client, url string) Probe {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
			return fmt.Errorf("%s: %s %s", url, resp.Status, body)
		}
		return nil
	}
}

// UnixSocket passes if something listens on the socket.
func UnixSocket(path string) Probe {
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// AMQP passes if the broker lets the address's user in.
func AMQP(url string) Probe {
	return func(ctx context.Context) error {
		conn, err := amqp.DialConfig(url, amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
			d := net.Dialer{Timeout: time.Second}
			conn, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return conn, conn.SetDeadline(time.Now().Add(probeTimeout))
		}})
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// All passes if all of them pass.
func All(probes ...Probe) Probe {
	return func(ctx context.Context) error {
		for _, p := range probes {
			if err := p(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}
