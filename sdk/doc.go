// Package sdk makes a service that consumes RabbitMQ and keeps its state in
// memory movable: a StatefulMigration can take the running process to another
// node without losing, doubling or reordering a message.
//
// The example below is a complete service.
//
// The handler must be deterministic: what it does to the state depends on the
// state and the message alone. Time, random numbers and calls to others go
// through [Message.Once], which the replay reads back; messages to others go
// through [Message.Publish], which the replay leaves out. Producers give every
// message a message-id (or a header, see [Config.IdentityHeader]), by which a
// redelivery is known again.
//
// Handlers run one at a time unless [Config.Concurrency] and [Config.Key] let
// several run, each on a message of another key.
//
// What does not travel: open connections other than the library's own (they
// are closed; reconnect), files outside the container's writable layer, and
// environment variables (a moved process keeps those it began with).
package sdk
