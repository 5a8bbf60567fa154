package address_test

import (
	"strings"
	"testing"

	"ms2m.dev/ms2m/internal/broker/address"
)

const password = "hunter2-is-secret"

func TestCheck(t *testing.T) {
	for url, why := range map[string]string{
		"amqp://broker": "",
		"amqps://user:" + password + "@broker:5671/vhost":                            "",
		"amqps://user:" + password + "@broker/%2F?heartbeat=10":                      "",
		"amqps://user:" + password + "@broker/?server_name_indication=mq":            "",
		"amqps://user:" + password + "@broker/?cacertfile=/etc/passwd":               "cacertfile",
		"amqps://user:" + password + "@broker/?certfile=a&keyfile=b":                 "certfile",
		"amqps://user:" + password + "@broker/?keyfile=/var/run/secrets/token":       "keyfile",
		"amqps://user:" + password + "@broker/?heartbeat=1&%63acertfile=/etc/passwd": "cacertfile",
		"amqp://user:" + password + "@broker/?cacertfile=/etc/passwd":                "cacertfile",
		"https://user:" + password + "@broker":                                       "not a valid AMQP URL",
		"amqp://user:" + password + "@broker:port":                                   "not a valid AMQP URL",
		"amqp://user:" + password + "/@broker":                                       "not a valid AMQP URL",
		"amqp://user:" + password + " @broker":                                       "not a valid AMQP URL",
		"amqp://user:" + password + "@broker?heartbeat=" + password:                  "not a valid AMQP URL",
		"amqp://user:" + password + "@broker/#" + password:                           "not a valid AMQP URL",
		"amqp://user:12?" + password + "@broker":                                     "not a valid AMQP URL",
		"amqp://user:12/" + password + "@broker":                                     "not a valid AMQP URL",
		"":                                                                           "not a valid AMQP URL",
	} {
		err := address.Check(url)
		switch {
		case why == "" && err != nil, why != "" && (err == nil || !strings.Contains(err.Error(), why)):
			t.Errorf("Check(%q) = %v, want %q", url, err, why)
		case err != nil && strings.Contains(err.Error(), password):
			t.Errorf("Check(%q) tells the password: %v", url, err)
		}
	}
}
