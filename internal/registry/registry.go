// Package registry moves checkpoint images to and from an OCI registry, always
// by digest. TLS is verified; credentials come from Docker's configuration
// (DOCKER_CONFIG), certificate authorities from the system or SSL_CERT_FILE.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/fault"
)

const userAgent = "ms2m"

// base is the library's transport, made fit for few large bodies instead of many small
// ones: by HTTP/1.1, as HTTP/2 in Go cuts them into frames of 16 KiB, each with its own
// ways through locks and windows, and with larger buffers.
var base = func() *http.Transport {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig, t.TLSNextProto = nil, nil // the clone offers HTTP/2 already
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.WriteBufferSize, t.ReadBufferSize = bufferSize, bufferSize
	return t
}()

const bufferSize = 64 << 10

// Client talks to registries. It is safe for concurrent use.
type Client struct {
	transport http.RoundTripper
	names     []name.Option
}

// Option changes a Client.
type Option func(*Client)

// WithPlainHTTP lets the client talk to registries without TLS: for tests.
func WithPlainHTTP() Option {
	return func(c *Client) {
		c.transport = base
		c.names = append(c.names, name.Insecure)
	}
}

// New is a client of registries that speak TLS.
func New(options ...Option) *Client {
	c := &Client{transport: tlsOnly{base}}
	for _, o := range options {
		o(c)
	}
	return c
}

// tlsOnly refuses plain HTTP, to which the library falls back by itself for
// addresses of private networks when TLS fails there. What it then returns is
// both errors; that of TLS tells what is wrong.
type tlsOnly struct{ next http.RoundTripper }

var errPlainHTTP = errors.New("plain HTTP is refused")

func (t tlsOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, errPlainHTTP
	}
	return t.next.RoundTrip(r)
}

func (c *Client) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithTransport(throttled{c.transport}),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithUserAgent(userAgent),
	}
}

// Push writes img to repository and returns its reference by digest. The tag
// only keeps registries from collecting a manifest that nothing names; doing it
// again writes what is missing.
func (c *Client) Push(ctx context.Context, repository, tag string, img v1.Image) (string, error) {
	repo, err := c.repository(repository)
	if err != nil {
		return "", err
	}
	if err := remote.Write(repo.Tag(tag), img, c.options(ctx)...); err != nil {
		return "", classify("push to "+repository, err)
	}
	// Not before: an image that is packed on the way learns its digest there.
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("digest of the checkpoint image: %w", err)
	}
	return repo.Digest(digest.String()).String(), nil
}

// Pull returns the image of a reference by digest. Its contents are fetched, and
// held against their digests, as they are read; Error classifies what fails then.
func (c *Client) Pull(ctx context.Context, ref string) (v1.Image, error) {
	digest, err := c.parse(ref)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(digest, c.options(ctx)...)
	if err != nil {
		return nil, classify("pull "+ref, err)
	}
	return img, nil
}

// Exists tells whether the image of a reference by digest is in its repository.
func (c *Client) Exists(ctx context.Context, ref string) (bool, error) {
	digest, err := c.parse(ref)
	if err != nil {
		return false, err
	}
	_, err = remote.Head(digest, c.options(ctx)...)
	if err = classify("look for "+ref, err); err == nil {
		return true, nil
	}
	if fault.Of(err).Reason == v1alpha1.TransferReasonNotFound {
		return false, nil
	}
	return false, err
}

// Delete removes the image of a reference by digest. It is no error if it is not
// there. The registry frees the layers when it next collects its garbage.
func (c *Client) Delete(ctx context.Context, ref string) error {
	digest, err := c.parse(ref)
	if err != nil {
		return err
	}
	err = classify("delete "+ref, remote.Delete(digest, c.options(ctx)...))
	if err != nil && fault.Of(err).Reason == v1alpha1.TransferReasonNotFound {
		return nil
	}
	return err
}

func (c *Client) repository(s string) (name.Repository, error) {
	repo, err := name.NewRepository(s, c.names...)
	if err == nil {
		err = inside(repo)
	}
	if err != nil {
		return name.Repository{}, fault.Final(v1alpha1.TransferReasonFailed, "repository: %w", err)
	}
	return repo, nil
}

func (c *Client) parse(ref string) (name.Digest, error) {
	digest, err := name.NewDigest(ref, c.names...)
	if err == nil {
		err = inside(digest.Repository)
	}
	if err == nil && !strings.HasPrefix(digest.DigestStr(), "sha256:") {
		err = errors.New("the digest must be of sha256")
	}
	if err != nil {
		return name.Digest{}, fault.Final(v1alpha1.TransferReasonFailed, "image: %w", err)
	}
	return digest, nil
}

// inside refuses names that a server, or a proxy before it, would take for a way out
// of the registry's part of it: they are a user's, the credentials are ours.
func inside(repo name.Repository) error {
	for part := range strings.SplitSeq(repo.RepositoryStr(), "/") {
		if part == "." || part == ".." {
			return fmt.Errorf("%q has the path element %q", repo.RepositoryStr(), part)
		}
	}
	return nil
}
