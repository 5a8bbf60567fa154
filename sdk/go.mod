module ms2m.dev/ms2m/sdk

go 1.26.0

toolchain go1.26.11

require (
	github.com/google/go-cmp v0.7.0
	github.com/rabbitmq/amqp091-go v1.16.0
	pgregory.net/rapid v1.3.0
)
