package servingcert_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"ms2m.dev/ms2m/internal/servingcert"
)

const host = "ms2m-webhook.ms2m-system.svc"

type world struct {
	t     *testing.T
	api   client.Client
	clock *clocktesting.FakePassiveClock
	hook  admissionregistrationv1.ValidatingWebhookConfiguration
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(time.Now())}
	w.hook = admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "hook"}, Webhooks: []admissionregistrationv1.ValidatingWebhook{{Name: "evict.migration.ms2m.dev"}},
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ms2m-system", Name: "cert"}}
	w.api = fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(secret, &w.hook).Build()
	return w
}

func (w *world) keeper() *servingcert.Keeper {
	return &servingcert.Keeper{
		Reader: w.api, Writer: w.api, Clock: w.clock, Secret: types.NamespacedName{Namespace: "ms2m-system", Name: "cert"}, Webhook: "hook", Host: host,
	}
}

func (w *world) keep(k *servingcert.Keeper) {
	w.t.Helper()
	if err := k.Keep(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// calls calls what a keeper serves as the API server does, with what it trusts now.
func (w *world) calls(k *servingcert.Keeper) error {
	w.t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{GetCertificate: k.GetCertificate}
	server.StartTLS()
	defer server.Close()
	if err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(&w.hook), &w.hook); err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.hook.Webhooks[0].ClientConfig.CABundle)
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: host, Time: w.clock.Now})
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// TestKeep: two processes serve the same certificate, over its replacement: at no time
// is there one that serves what is not trusted.
func TestKeep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.keeper(), w.keeper()
	if one.Ready(nil) == nil {
		t.Error("ready without a certificate")
	}
	all := func(when string) {
		t.Helper()
		for i, k := range []*servingcert.Keeper{one, two} {
			if err := w.calls(k); err != nil {
				t.Errorf("%s: process %d: %v", when, i+1, err)
			}
		}
	}
	w.keep(one)
	w.keep(two)
	all("in the beginning")
	first, _ := one.GetCertificate(nil)
	if second, _ := two.GetCertificate(nil); !bytes.Equal(first.Certificate[0], second.Certificate[0]) {
		t.Error("each has its own")
	}
	w.keep(one)
	if again, _ := one.GetCertificate(nil); !bytes.Equal(first.Certificate[0], again.Certificate[0]) {
		t.Error("replaced without need")
	}

	w.clock.SetTime(first.Leaf.NotAfter.Add(-30 * 24 * time.Hour))
	w.keep(one)
	if still, _ := one.GetCertificate(nil); !bytes.Equal(first.Certificate[0], still.Certificate[0]) {
		t.Error("it serves the new one before the API server can know it")
	}
	all("one has replaced it")
	w.keep(one)
	all("one serves the new one, the other the old")
	if now, _ := one.GetCertificate(nil); bytes.Equal(first.Certificate[0], now.Certificate[0]) {
		t.Error("it still serves the old one")
	}
	w.keep(two)
	all("both serve the new one")

	// Somebody applies the manifests again.
	w.hook.Webhooks[0].ClientConfig.CABundle = nil
	if err := w.api.Update(t.Context(), &w.hook); err != nil {
		t.Fatal(err)
	}
	w.keep(two)
	all("it was untrusted, and is trusted again")
}

// TestBroken: what somebody has put into the Secret is replaced.
func TestBroken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := &corev1.Secret{}
	if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: "ms2m-system", Name: "cert"}, secret); err != nil {
		t.Fatal(err)
	}
	secret.Data = map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("y")}
	if err := w.api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	k := w.keeper()
	w.keep(k)
	if err := w.calls(k); err != nil {
		t.Error(err)
	}
}
