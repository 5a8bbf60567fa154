// Package logging has programs log in JSON, one object a line.
package logging

import (
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Setup makes the logger of a program, and that of the libraries in it: client-go would write
// lines of its own form, which nothing that reads JSON understands.
func Setup(to io.Writer, verbosity int) logr.Logger {
	// logr's level n is slog's level -n.
	log := logr.FromSlogHandler(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: slog.Level(-verbosity)}))
	ctrl.SetLogger(log)
	klog.SetLoggerWithOptions(log.WithName("klog"), klog.ContextualLogger(true))
	return log
}
