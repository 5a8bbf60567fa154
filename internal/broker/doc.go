// Package broker is the manager's side of the hand-over protocol on RabbitMQ:
// commands out, reports in, and the marks that bind both instances (holds,
// decision, replay queue). docs/protocol.md says what each of them is.
//
// All migrations of one broker URL share a connection (Pool). It is made again
// for as long as somebody uses it; what is asked meanwhile fails at once with
// ErrUnavailable, and the pool says when it is back.
package broker
