package metrics

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Serving is how metrics are served: to everybody who reaches the port, or over TLS to those
// who may get /metrics. They name no workload, no node and no person, so the first is the default.
func Serving(address string, secure bool) server.Options {
	if !secure {
		return server.Options{BindAddress: address}
	}
	return server.Options{BindAddress: address, SecureServing: true, FilterProvider: guard}
}

// guard lets those in of whom the API server says that they may get the path. (That of
// controller-runtime does the same and brings the libraries of an API server along.)
func guard(config *rest.Config, client *http.Client) (server.Filter, error) {
	api, err := kubernetes.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("guard of the metrics: %w", err)
	}
	return func(log logr.Logger, next http.Handler) (http.Handler, error) {
		g := &gate{api: api, log: log, known: map[[sha256.Size]byte]pass{}}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status := g.admit(r); status != http.StatusOK {
				http.Error(w, http.StatusText(status), status)
				return
			}
			next.ServeHTTP(w, r)
		}), nil
	}, nil
}

// passFor is how long an answer of the API server is believed, and mostPasses how many are kept:
// scrapers are few, and whoever tries tokens is not to fill the memory.
const (
	passFor    = time.Minute
	mostPasses = 64
)

type gate struct {
	api kubernetes.Interface
	log logr.Logger

	mu    sync.Mutex
	known map[[sha256.Size]byte]pass
}

type pass struct {
	status int
	until  time.Time
}

func (g *gate) admit(r *http.Request) int {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return http.StatusUnauthorized
	}
	key := sha256.Sum256([]byte(token + "\x00" + r.Method + "\x00" + r.URL.Path))
	g.mu.Lock()
	p, ok := g.known[key]
	g.mu.Unlock()
	if ok && time.Now().Before(p.until) {
		return p.status
	}
	status, err := g.ask(r, token)
	if err != nil {
		g.log.Error(err, "whether somebody may read metrics cannot be found out")
		return http.StatusInternalServerError
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= mostPasses {
		clear(g.known)
	}
	g.known[key] = pass{status, time.Now().Add(passFor)}
	return status
}

// ask asks the API server who has the token, and whether they may.
func (g *gate) ask(r *http.Request, token string) (status int, err error) {
	review, err := g.api.AuthenticationV1().TokenReviews().Create(r.Context(),
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return 0, err
	case !review.Status.Authenticated:
		return http.StatusUnauthorized, nil
	}
	user := review.Status.User
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	access, err := g.api.AuthorizationV1().SubjectAccessReviews().Create(r.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: r.URL.Path, Verb: strings.ToLower(r.Method)},
		}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return 0, err
	case !access.Status.Allowed:
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}
