package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// checkedCopies is how many copies CheckReplay makes: what depends on chance, as the
// order of a map does, may come out right in one.
const checkedCopies = 3

// CheckReplay is for the tests of a service: does a replay bring a copy to the state of its
// source? It hands the messages to a service as a broker would, and to copies of it as a
// replay does (side effects read back from the record, outputs left out), and compares
// outcomes and digests after each message. The error names the first message after which a copy
// differs: that is where the handler depends on something else than state and message.
//
// Fresh makes the configuration of a service with an empty state of its own; its Handler and its
// Digest are used. The messages' identities are set as Config.IdentityHeader says.
func CheckReplay(ctx context.Context, fresh func() Config, messages []Message) error {
	source := fresh()
	if source.Handler == nil || source.Digest == nil {
		return errors.New("config: CheckReplay needs Handler and Digest")
	}
	var copies [checkedCopies]Config
	for i := range copies {
		copies[i] = fresh()
	}
	for i, m := range messages {
		m.identity = identityOf(source.IdentityHeader, m.Properties.MessageID, m.Properties.Headers)
		live := m
		outcome := live.outcome(source.Handler(ctx, &live))
		digest := source.Digest()
		for _, c := range copies {
			again := m
			again.replayed, again.records = true, live.records
			switch got := again.outcome(c.Handler(ctx, &again)); {
			case again.broken != nil:
				return fmt.Errorf("message %d (%s): %w", i+1, m.identity, again.broken)
			case got != outcome:
				return fmt.Errorf("message %d (%s): the source's outcome is %s, a copy's %s", i+1, m.identity, outcome, got)
			case again.used != len(again.records):
				return fmt.Errorf("message %d (%s): the source ran %d side effects, a copy asked for %d", i+1, m.identity, len(again.records), again.used)
			case !bytes.Equal(c.Digest(), digest):
				return fmt.Errorf("message %d (%s): a copy comes to another state", i+1, m.identity)
			}
		}
	}
	return nil
}

func identityOf(header, messageID string, headers map[string]any) string {
	if header == "" {
		return messageID
	}
	if v, ok := headers[header]; ok {
		return fmt.Sprint(v)
	}
	return ""
}
