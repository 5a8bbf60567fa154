// Package broker runs RabbitMQ: as a service of the lab, and as a private broker
// for tests.
package broker

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"ms2m.dev/ms2m/lab/internal/plan"
)

// Server is a RabbitMQ node, to be run in the lab's root file system.
type Server struct {
	// Listen are the addresses to serve AMQP on.
	Listen []string
	// EPMDPort and DistPort are of Erlang's own network, on the loopback; zero means
	// the usual ports.
	EPMDPort, DistPort int
}

// Directories in the root file system.
const (
	dataDir    = "/var/lib/rabbitmq"
	configFile = "/etc/rabbitmq/rabbitmq.conf"
	envFile    = "/etc/rabbitmq/rabbitmq-env.conf"
)

// The server's program, and what it must find in its environment.
var (
	Command = []string{"/usr/lib/rabbitmq/bin/rabbitmq-server"}
	Env     = []string{"HOME=" + dataDir}
)

// Prepare writes the configuration and gives the data directory to RabbitMQ's user,
// whose credential it returns.
func (s Server) Prepare() (*syscall.Credential, error) {
	for path, data := range map[string][]byte{configFile: s.config(), envFile: s.environment()} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return nil, fmt.Errorf("write RabbitMQ's configuration: %w", err)
		}
	}
	credential, err := lookup("rabbitmq")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dataDir, 0o750); err != nil {
		return nil, fmt.Errorf("make RabbitMQ's data directory: %w", err)
	}
	if err := os.Chown(dataDir, int(credential.Uid), int(credential.Gid)); err != nil {
		return nil, fmt.Errorf("give RabbitMQ its data directory: %w", err)
	}
	return credential, nil
}

// config replaces the user guest by the lab's.
func (s Server) config() []byte {
	b := fmt.Appendf(nil, "default_user = %s\ndefault_pass = %s\nloopback_users = none\n", plan.AMQPUser, plan.AMQPPassword)
	for i, address := range s.Listen {
		b = fmt.Appendf(b, "listeners.tcp.%d = %s\n", i+1, address)
	}
	return b
}

// environment is sourced by the scripts of the server and of rabbitmqctl alike, so
// that they agree, however they are called.
func (s Server) environment() []byte {
	b := fmt.Appendf(nil, `NODENAME=rabbit@localhost
MNESIA_BASE=%[1]s/mnesia
LOG_BASE=%[1]s
LOGS=-
# Erlang's own network stays on the loopback.
export ERL_EPMD_ADDRESS=127.0.0.1
SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
`, dataDir)
	if s.EPMDPort != 0 {
		b = fmt.Appendf(b, "export ERL_EPMD_PORT=%d\n", s.EPMDPort)
	}
	if s.DistPort != 0 {
		b = fmt.Appendf(b, "DIST_PORT=%d\n", s.DistPort)
	}
	return b
}

// lookup reads the user from the current root's /etc/passwd.
func lookup(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("find the user in the root file system: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
