module ms2m.dev/ms2m/examples

go 1.26.0

toolchain go1.26.11

require (
	github.com/rabbitmq/amqp091-go v1.16.0
	ms2m.dev/ms2m/sdk v0.0.0
	pgregory.net/rapid v1.3.0
)

replace ms2m.dev/ms2m/sdk => ../sdk
