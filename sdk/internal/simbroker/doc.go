// Package simbroker is a simulated RabbitMQ for deterministic tests: it speaks
// AMQP 0-9-1 to an unmodified client over connections in memory, and does
// nothing by itself. What it could do next is a list ([Broker.Choices]) from
// which the test picks, so that the order of everything that goes on at once in
// a broker (its channels, queues and connections are processes of their own) is
// the test's choice. Only what the library uses is simulated;
// docs/simulation.md says what, and how it was learned that RabbitMQ behaves so.
package simbroker
