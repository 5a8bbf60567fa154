// Package controller carries StatefulMigrations through: it observes, asks the
// planner (internal/migration) what is next, does that, and writes the status.
// It decides nothing itself.
//
// What a process knows of a migration beyond the object (which commands it
// sent, what the kubelet answered) is its session. A session is lost with the
// process, and nothing depends on it: the planner treats what it does not find
// there as not known, and asks again.
package controller
