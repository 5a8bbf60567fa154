package broker

import (
	"slices"
	"strings"
	"testing"
)

func TestConfigReplacesTheGuest(t *testing.T) {
	got := string(Server{Listen: []string{"127.0.0.1:5672", "10.99.0.1:5672"}}.config())
	for _, want := range []string{"default_user = ms2m\n", "default_pass = ms2m-lab\n", "listeners.tcp.1 = 127.0.0.1:5672\n", "listeners.tcp.2 = 10.99.0.1:5672\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

func TestEnvironmentNamesPortsOnlyIfGiven(t *testing.T) {
	if got := string(Server{}.environment()); strings.Contains(got, "PORT") {
		t.Errorf("got %q", got)
	}
	got := string(Server{EPMDPort: 1, DistPort: 2}.environment())
	if !strings.Contains(got, "export ERL_EPMD_PORT=1\n") || !strings.Contains(got, "\nDIST_PORT=2\n") {
		t.Errorf("got %q", got)
	}
}

func TestReserveNeverGivesAPortTwice(t *testing.T) {
	first, release, err := reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	second, releaseSecond, err := reserve(0)
	if err != nil {
		t.Fatal(err)
	}
	defer releaseSecond()
	for _, p := range second {
		if slices.Contains(first, p) {
			t.Errorf("port %d was given twice", p)
		}
	}
	release()
	third, releaseThird, err := reserve(first[0])
	if err != nil {
		t.Fatal(err)
	}
	defer releaseThird()
	if slices.Contains(third, first[0]) {
		t.Errorf("released %v, excepted %d, got %v", first, first[0], third)
	}
}
