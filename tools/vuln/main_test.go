package main

import (
	"testing"
)

// TestFindsWhatIsCalled holds that a module that calls a vulnerable function is found
// out, by the database as it is pinned.
func TestFindsWhatIsCalled(t *testing.T) {
	t.Setenv("GOTOOLCHAIN", "") // check sets it
	db, err := findDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := check(t.Context(), db, "testdata/vulnerable")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.called() {
		if f.ID == "GO-2021-0113" && f.Trace[0].Module == "golang.org/x/text" && f.Fixed == "v0.3.7" {
			return
		}
	}
	t.Errorf("the call of language.Parse of golang.org/x/text v0.3.5 was not found: %+v", r.findings)
}
