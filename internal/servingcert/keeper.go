// Package servingcert keeps the certificate by which a webhook is served: it makes one,
// shares it between the processes of the manager in a Secret, has the API server trust
// it, and replaces it in time. It is its own authority: nothing else is signed by it, so
// there is no authority's key to guard.
package servingcert

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// lifetime of a certificate, and how long before its end it is replaced.
	lifetime = 365 * 24 * time.Hour
	renewal  = 60 * 24 * time.Hour
	// round is how often all of it is looked at.
	round = time.Minute
	// previousKey is where the Secret has the certificate before the present one: a
	// process that has not seen the new one yet still serves that.
	previousKey = "previous.crt"
)

// Keeper keeps one certificate.
type Keeper struct {
	// Reader reads past any cache: nothing of Secrets is to be watched.
	Reader client.Reader
	Writer client.Writer
	Clock  clock.PassiveClock
	// Secret is where the certificate is kept: it is there, and may be empty.
	Secret types.NamespacedName
	// Webhook names the ValidatingWebhookConfiguration that is to trust it.
	Webhook string
	// Host is the name by which the API server calls.
	Host string

	mu      sync.Mutex
	serving *tls.Certificate
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every process serves.
func (*Keeper) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (k *Keeper) Start(ctx context.Context) error {
	for {
		next := time.NewTimer(round)
		if err := k.Keep(ctx); err != nil {
			log.FromContext(ctx).Info("the webhook's certificate could not be looked after, and will be soon", "error", err.Error())
			next.Reset(round / 20)
		}
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-next.C:
		}
	}
}

// Keep looks after all of it once.
func (k *Keeper) Keep(ctx context.Context) error {
	var secret corev1.Secret
	if err := k.Reader.Get(ctx, k.Secret, &secret); err != nil {
		return err
	}
	if !k.good(secret.Data) {
		if err := k.replace(ctx, &secret); err != nil {
			return err // another process was quicker, or the next round is
		}
	}
	trusted, err := k.trust(ctx, secret.Data)
	if err != nil {
		return err
	}
	// One that the API server has only just been told of is served from the next round
	// on: by then it knows. Until then the previous one is good.
	if !trusted && k.certificate() != nil {
		return nil
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.serving = &pair
	return nil
}

// good reports whether what the Secret holds will do for now.
func (k *Keeper) good(data map[string][]byte) bool {
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return false
	}
	now := k.Clock.Now()
	return pair.Leaf.VerifyHostname(k.Host) == nil && !now.Before(pair.Leaf.NotBefore) && now.Add(renewal).Before(pair.Leaf.NotAfter)
}

// replace puts a new certificate into the Secret. Of two processes that do so at once
// one is refused: the Secret is not what it has read any more.
func (k *Keeper) replace(ctx context.Context, secret *corev1.Secret) error {
	cert, key, err := selfSigned(k.Host, k.Clock.Now())
	if err != nil {
		return err
	}
	old := secret.Data[corev1.TLSCertKey]
	secret.Data = map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key}
	if len(old) > 0 {
		secret.Data[previousKey] = old
	}
	return k.Writer.Update(ctx, secret)
}

// trust has the API server trust the certificate, and the one before it. It reports
// whether it did before.
func (k *Keeper) trust(ctx context.Context, data map[string][]byte) (before bool, err error) {
	bundle := append(bytes.Clone(data[corev1.TLSCertKey]), data[previousKey]...)
	var hook admissionregistrationv1.ValidatingWebhookConfiguration
	if err := k.Reader.Get(ctx, client.ObjectKey{Name: k.Webhook}, &hook); err != nil {
		return false, err
	}
	if len(hook.Webhooks) == 0 {
		return false, fmt.Errorf("the ValidatingWebhookConfiguration %q has no webhook", k.Webhook)
	}
	before, same := true, true
	for i := range hook.Webhooks {
		c := &hook.Webhooks[i].ClientConfig
		before = before && bytes.Contains(c.CABundle, data[corev1.TLSCertKey])
		same = same && bytes.Equal(c.CABundle, bundle)
		c.CABundle = bundle
	}
	if same {
		return true, nil
	}
	return before, k.Writer.Update(ctx, &hook)
}

func (k *Keeper) certificate() *tls.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.serving
}

var errNone = errors.New("there is no certificate yet")

// GetCertificate is for a tls.Config.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.certificate(); c != nil {
		return c, nil
	}
	return nil, errNone
}

// Ready is a readiness check: nothing is to be sent to a process that cannot serve yet.
func (k *Keeper) Ready(*http.Request) error {
	_, err := k.GetCertificate(nil)
	return err
}
