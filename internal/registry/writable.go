package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// cancelTimeout bounds the end of an upload that was begun only to ask.
const cancelTimeout = 10 * time.Second

// Writable tells whether these credentials may push to a repository: it returns
// nil if they may, else why not. It begins an upload, as a token alone proves
// nothing to some registries, and cancels it. Where a registry lets pushers not
// cancel, it drops the empty upload by itself, with those that were broken off.
//
// The library's CheckPushPermission does the same, but knows no context and does
// not see the cancellation through.
func (c *Client) Writable(ctx context.Context, repository string) error {
	repo, err := c.repository(repository)
	if err != nil {
		return err
	}
	return classify("ask for permission to push to "+repository, c.probe(ctx, repo))
}

func (c *Client) probe(ctx context.Context, repo name.Repository) error {
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, repo)
	if err != nil {
		return err
	}
	rt, err := transport.NewWithContext(ctx, repo.Registry, auth, transport.NewUserAgent(c.transport, userAgent),
		[]string{repo.Scope(transport.PushScope)})
	if err != nil {
		return err
	}
	uploads := url.URL{Scheme: repo.Scheme(), Host: repo.RegistryStr(), Path: fmt.Sprintf("/v2/%s/blobs/uploads/", repo.RepositoryStr())}
	resp, err := send(ctx, rt, http.MethodPost, uploads.String())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusAccepted, http.StatusCreated); err != nil {
		return err
	}
	upload, err := resp.Location()
	if err != nil {
		return nil // nowhere to cancel it
	}
	// Also if the caller has given up meanwhile. What comes of it is no answer to
	// what was asked.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	if resp, err := send(ctx, rt, http.MethodDelete, upload.String()); err == nil {
		resp.Body.Close()
	}
	return nil
}

func send(ctx context.Context, rt http.RoundTripper, method, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	return (&http.Client{Transport: rt}).Do(req)
}
