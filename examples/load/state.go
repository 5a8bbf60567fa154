package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"ms2m.dev/ms2m/examples/counter/ledger"
)

// ReadState asks a counter for its state; base is for example http://10.0.0.1:8080.
func ReadState(ctx context.Context, base string) (ledger.State, error) {
	var s ledger.State
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/state", nil)
	if err != nil {
		return s, err
	}
	// A kept connection would end in a checkpoint, and with it.
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("state of the counter: %s", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("state of the counter: %w", err)
	}
	return s, nil
}
