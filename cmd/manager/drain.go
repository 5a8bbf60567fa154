package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"ms2m.dev/ms2m/internal/drain"
	"ms2m.dev/ms2m/internal/servingcert"
)

// The names of what the chart makes for the webhook.
const (
	webhookService       = "ms2m-webhook"
	webhookSecret        = "ms2m-webhook"
	webhookConfiguration = "ms2m-eviction"
)

// drainOptions say which evictions become migrations.
type drainOptions struct {
	webhook   bool
	port      int
	certDir   string
	namespace string
	requests  bool
}

func (o *drainOptions) flags() {
	flag.BoolVar(&o.webhook, "eviction-webhook", false, "serve the webhook that turns evictions into migrations")
	flag.IntVar(&o.port, "eviction-webhook-port", 9443, "where it is served")
	flag.StringVar(&o.certDir, "eviction-webhook-cert-dir", "", "directory with tls.crt and tls.key of the webhook; by default the manager makes them, and keeps them in the Secret "+webhookSecret)
	flag.StringVar(&o.namespace, "eviction-webhook-namespace", "ms2m-system", "namespace of the webhook's Service and Secret")
	flag.BoolVar(&o.requests, "eviction-requests", false, "answer Evictions of the EvictionRequest API, where the cluster has it")
}

// setUpDrain adds what answers evictions. The webhook is served by every process, the
// EvictionRequest API by the active one.
func setUpDrain(mgr ctrl.Manager, o drainOptions) error {
	d := &drain.Drainer{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: clock.RealClock{}}
	if o.requests {
		switch served, err := drain.Served(mgr.GetRESTMapper()); {
		case err != nil:
			return fmt.Errorf("--eviction-requests: %w", err)
		case !served:
			ctrl.Log.Info("--eviction-requests: the API server does not serve lifecycle.k8s.io/v1alpha1 (feature gate EvictionRequestAPI): nothing is to be answered")
		default:
			if err := (&drain.Responder{Drainer: d}).SetupWithManager(mgr); err != nil {
				return err
			}
		}
	}
	if !o.webhook {
		return nil
	}
	options := webhook.Options{Port: o.port, CertDir: o.certDir}
	var errs []error
	if o.certDir == "" {
		keeper := &servingcert.Keeper{
			Reader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: clock.RealClock{},
			Secret:  types.NamespacedName{Namespace: o.namespace, Name: webhookSecret},
			Webhook: webhookConfiguration, Host: webhookService + "." + o.namespace + ".svc",
		}
		options.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.GetCertificate = keeper.GetCertificate }}
		errs = append(errs, mgr.Add(keeper), mgr.AddReadyzCheck("webhook-certificate", keeper.Ready))
	}
	server := webhook.NewServer(options)
	server.Register(drain.Path, &webhook.Admission{Handler: drain.Webhook{Drainer: d}})
	return errors.Join(append(errs, mgr.Add(server), mgr.AddReadyzCheck("webhook", server.StartedChecker()))...)
}
