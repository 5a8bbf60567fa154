// Package handover is the protocol by which a running consumer is moved from
// one pod to another: its names and messages (wire.go, entry.go) and the state
// machine of an instance (instance.go and the files beside it).
//
// The package is pure: it knows no broker, no Kubernetes and no clock. An
// Instance is told what happened (an Event and the time) and answers with what
// is to be done (Effects). The same code runs in source and target, in
// production and in simulation.
package handover
