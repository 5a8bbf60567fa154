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
	err := Read(ctx, base+"/state", &s)
	return s, err
}

// Read reads JSON from a service that is moved.
func Read(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// A kept connection would end in a checkpoint, and with it.
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}
