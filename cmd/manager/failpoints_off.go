//go:build !failpoints

package main

import "ms2m.dev/ms2m/internal/controller"

// instrument does nothing: this manager has no failpoints.
func instrument(*controller.Reconciler) error { return nil }
