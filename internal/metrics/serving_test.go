package metrics

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
)

// TestGuard: only who is known to the API server and may get /metrics reads them.
func TestGuard(t *testing.T) {
	asked := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/apis/authentication.k8s.io/v1/tokenreviews":
			var review authenticationv1.TokenReview
			if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
				t.Error(err)
			}
			switch review.Spec.Token {
			case "broken":
				w.WriteHeader(http.StatusInternalServerError)
				return
			case "prometheus", "guest":
				review.Status.Authenticated, review.Status.User.Username = true, review.Spec.Token
			}
			_ = json.NewEncoder(w).Encode(review)
		case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
			var review authorizationv1.SubjectAccessReview
			if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
				t.Error(err)
			}
			a := review.Spec.NonResourceAttributes
			review.Status.Allowed = review.Spec.User == "prometheus" && a.Path == "/metrics" && a.Verb == "get"
			_ = json.NewEncoder(w).Encode(review)
		default:
			t.Errorf("%s", r.URL)
		}
	}))
	defer api.Close()
	o := Serving(":0", true)
	if !o.SecureServing || Serving(":0", false).FilterProvider != nil {
		t.Errorf("%+v", o)
	}
	filter, err := o.FilterProvider(&rest.Config{Host: api.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, api.Client())
	if err != nil {
		t.Fatal(err)
	}
	guarded, err := filter(logr.Discard(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err != nil {
		t.Fatal(err)
	}
	get := func(path, authorization string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		return w.Code
	}
	for _, test := range []struct {
		path, authorization string
		want                int
	}{
		{"/metrics", "", http.StatusUnauthorized},
		{"/metrics", "Bearer ", http.StatusUnauthorized},
		{"/metrics", "Basic cHJvbWV0aGV1czo=", http.StatusUnauthorized},
		{"/metrics", "Bearer nobody", http.StatusUnauthorized},
		{"/metrics", "Bearer guest", http.StatusForbidden},
		{"/metrics", "Bearer prometheus", http.StatusOK},
		{"/other", "Bearer prometheus", http.StatusForbidden},
		{"/metrics", "Bearer broken", http.StatusInternalServerError},
	} {
		if got := get(test.path, test.authorization); got != test.want {
			t.Errorf("%s with %q: %d, want %d", test.path, test.authorization, got, test.want)
		}
	}
	before := asked
	if get("/metrics", "Bearer prometheus") != http.StatusOK || get("/metrics", "Bearer guest") != http.StatusForbidden || asked != before {
		t.Errorf("the API server was asked %d times again", asked-before)
	}
}
