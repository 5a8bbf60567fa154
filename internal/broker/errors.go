package broker

import (
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	// ErrUnavailable means that there is no connection to the broker now.
	ErrUnavailable = errors.New("the broker cannot be reached")
	// ErrNoInstance means that no instance of the library listens in the pod:
	// the broker returned the command.
	ErrNoInstance = errors.New("no instance of the library listens in the pod")
	// ErrHeldByOther means that the key is held by another migration.
	ErrHeldByOther = errors.New("held by another migration")
	// ErrMismatch means that an object of that name exists with other properties.
	ErrMismatch = errors.New("exists with other properties")
)

// refusedWith reports whether the broker refused with that reply code.
func refusedWith(err error, code int) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e.Code == code
}

// lost makes what a broken connection leads to one of ErrUnavailable; what the
// broker has refused stays what it is.
func lost(err error) error {
	var e *amqp.Error
	switch {
	case err == nil, errors.Is(err, ErrHeldByOther):
		return err
	case errors.As(err, &e) && e.Server && e.Code != amqp.ConnectionForced:
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
