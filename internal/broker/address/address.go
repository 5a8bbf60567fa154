// Package address judges the URL of a broker, which comes from a Secret or a spec of
// somebody who may use the manager and is not its master.
package address

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// errInvalid does not quote the URL: the parser's own error would, with the password.
var errInvalid = errors.New("the URL is not a valid AMQP URL")

// Check refuses what cannot be dialled, and what would have the client read files:
// those would be the manager's, and a text of them might come back in an error.
func Check(rawURL string) error {
	uri, err := amqp.ParseURI(rawURL)
	if err != nil {
		return errInvalid
	}
	for _, file := range []struct{ parameter, name string }{
		{"cacertfile", uri.CACertFile}, {"certfile", uri.CertFile}, {"keyfile", uri.KeyFile},
	} {
		if file.name != "" {
			return fmt.Errorf("the URL has the parameter %s, which would name a file of the manager: leave it out; "+
				"authorities that the manager is to trust are in its SSL_CERT_FILE", file.parameter)
		}
	}
	// An unescaped / ? or # in a password ends the authority there: user and password
	// would be taken for host and port, and named in what comes of dialling them.
	if u, err := url.Parse(rawURL); err != nil || u.Fragment != "" || u.User == nil && strings.Contains(rawURL, "@") {
		return errInvalid
	}
	return nil
}
