package address_test

import (
	"net/url"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"ms2m.dev/ms2m/internal/broker/address"
)

// FuzzCheck holds that no URL that is let through has the client read a file, and
// that no refusal tells what stands before the @.
func FuzzCheck(f *testing.F) {
	f.Add("broker", "amqps", "vhost", "cacertfile=/etc/passwd")
	f.Add("broker:5672", "amqp", "", "heartbeat=5")
	f.Add("[::1]:x", "amqp", "%zz", ";keyfile=a")
	f.Fuzz(func(t *testing.T, host, scheme, vhost, query string) {
		raw := scheme + "://user:" + password + "@" + host + "/" + vhost + "?" + query
		err := address.Check(raw)
		if err != nil {
			if strings.Contains(err.Error(), password) {
				t.Errorf("%v tells the password", err)
			}
			return
		}
		uri, err := amqp.ParseURI(raw)
		if err != nil || uri.CACertFile != "" || uri.CertFile != "" || uri.KeyFile != "" {
			t.Errorf("%q was let through: %+v, %v", raw, uri, err)
		}
		if u, err := url.Parse(raw); err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" {
			t.Errorf("%q was let through: %v, %v", raw, u, err)
		}
	})
}
