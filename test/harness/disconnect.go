package harness

import (
	"context"
	"strings"
)

// Disconnect resets the connections that the broker has with these addresses, or
// with everybody if none is given, as a network does that loses its state: no
// word of AMQP is said. It returns how many there were.
func (l *Lab) Disconnect(ctx context.Context, addresses ...string) (int, error) {
	filter := []string{"ss", "-K", "-H", "-t", "-n", "state", "established", "sport", "=", ":5672"}
	for i, a := range addresses {
		filter = append(filter, map[bool]string{true: "and (", false: "or"}[i == 0], "dst", a)
	}
	if len(addresses) > 0 {
		filter = append(filter, ")")
	}
	killed, err := l.Exec(ctx, "ctl", filter...)
	return strings.Count(killed, "\n"), err
}
