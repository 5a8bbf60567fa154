// Package migration decides what a StatefulMigration needs next. It is pure:
// from what has been observed (Facts) it makes a Plan, which is one action, or
// a time until which there is nothing to do, and the status as it is to be
// written with that action. It holds no client, reads no clock and logs
// nothing, so that every step of a migration is a row in a table of a test.
//
// There is a file per phase; aborting.go is the way back before COMMIT, and
// cleanup.go what is removed at the end of either way.
//
// The rule that makes a restart at any point harmless: the status in a Plan is
// written before its action is done, but for those that are as good without it
// (Ahead). Of all other effects, what the record does not say has not been begun.
package migration
