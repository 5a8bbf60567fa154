// Package kubelet asks kubelets to checkpoint containers.
package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// granularity of the names that kubelets give to archives: a second checkpoint
// of a container within it would be written into the file of the first.
const granularity = time.Second

// maxAnswer bounds what is read of an answer; CRIU's reasons are long.
const maxAnswer = 64 << 10

// Client calls the checkpoint API of kubelets.
type Client struct {
	http     *http.Client
	endpoint func(ctx context.Context, node string) (*url.URL, error)
	clock    clock.WithTicker

	mu   sync.Mutex
	last map[string]time.Time // when the last checkpoint of a container returned
	born time.Time
}

func newClient(h *http.Client, endpoint func(context.Context, string) (*url.URL, error), c clock.WithTicker) *Client {
	return &Client{http: h, endpoint: endpoint, clock: c, last: map[string]time.Time{}, born: c.Now()}
}

// Checkpoint checkpoints a container and returns the file name of the archive
// in the kubelet's checkpoint directory. It bounds the kubelet's own work by
// the context's deadline.
func (c *Client) Checkpoint(ctx context.Context, node, namespace, pod, container string) (archive string, err error) {
	key := namespace + "/" + pod + "/" + container
	if err := c.spaceOut(ctx, key); err != nil {
		return "", &Error{Temporary: true, Message: err.Error()}
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last[key] = c.clock.Now()
	}()
	base, err := c.endpoint(ctx, node)
	if err != nil {
		return "", &Error{Temporary: true, Message: err.Error()}
	}
	u := base.JoinPath("checkpoint", namespace, pod, container)
	if deadline, ok := ctx.Deadline(); ok {
		// In whole seconds, and below our own, so that the kubelet's answer wins.
		if s := int(deadline.Sub(c.clock.Now()).Seconds()) - 1; s > 0 {
			u.RawQuery = url.Values{"timeout": {fmt.Sprint(s)}}.Encode()
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return "", err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", &Error{Temporary: true, Message: err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", &Error{Temporary: true, Message: err.Error()}
	}
	if resp.StatusCode != http.StatusOK {
		return "", newError(resp.StatusCode, body)
	}
	return parse(body)
}

// spaceOut waits until another checkpoint of the container gets a name of its
// own. What a manager before this one did is not known: it counts as done at
// the start of this process.
func (c *Client) spaceOut(ctx context.Context, key string) error {
	c.mu.Lock()
	last, ok := c.last[key]
	for k, at := range c.last {
		if k != key && c.clock.Since(at) > granularity {
			delete(c.last, k)
		}
	}
	c.mu.Unlock()
	if !ok {
		last = c.born
	}
	left := granularity - c.clock.Since(last)
	if left <= 0 {
		return nil
	}
	timer := c.clock.NewTimer(left)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C():
		return nil
	}
}

func parse(body []byte) (string, error) {
	var answer struct {
		Items []string `json:"items"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Items) != 1 || answer.Items[0] == "" {
		return "", &Error{Temporary: true, Message: fmt.Sprintf("unexpected answer %q", clip(string(body)))}
	}
	return path.Base(answer.Items[0]), nil
}

func clip(s string) string {
	const most = 1500
	s = strings.TrimSpace(s)
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
