package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/nodefacts"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestNodeFacts(t *testing.T) {
	proc := t.TempDir()
	if err := os.WriteFile(filepath.Join(proc, "cpuinfo"), []byte("model name: m\nflags: b a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := Node{Archives: proc, Stage: proc, Proc: proc, CRIU: func(context.Context) (string, error) { return "4.1.1", nil }}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	got, err := n.Facts(t.Context())
	if err != nil || got.Kernel != unix.ByteSliceToString(uts.Release[:]) || got.CRIU != "4.1.1" || got.CPU != "m" ||
		strings.Join(got.Features, " ") != "a b" || got.ArchiveFreeBytes <= 0 || got.StageFreeBytes <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
	n.CRIU = func(context.Context) (string, error) { return "", errors.New("there is none") }
	if got, err := n.Facts(t.Context()); err != nil || got.CRIU != "" {
		t.Errorf("without CRIU %+v, %v", got, err)
	}
	n.Stage = filepath.Join(proc, "nowhere")
	if _, err := n.Facts(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a stage: %v", err)
	}
}

func TestChangedFacts(t *testing.T) {
	was := v1alpha1.NodeFacts{Kernel: "6", CRIU: "4", CPU: "m", Features: []string{"a"}, ArchiveFreeBytes: 1000, StageFreeBytes: 1000}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.NodeFacts)
		want   bool
	}{
		"nothing":       {func(*v1alpha1.NodeFacts) {}, false},
		"a little less": {func(f *v1alpha1.NodeFacts) { f.StageFreeBytes = 950 }, false},
		"less":          {func(f *v1alpha1.NodeFacts) { f.StageFreeBytes = 949 }, true},
		"more":          {func(f *v1alpha1.NodeFacts) { f.ArchiveFreeBytes = 1051 }, true},
		"CRIU":          {func(f *v1alpha1.NodeFacts) { f.CRIU = "5" }, true},
		"features":      {func(f *v1alpha1.NodeFacts) { f.Features = nil }, true},
	} {
		now := was
		tc.change(&now)
		if got := changed(was, now); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// pod tells what is written on it.
type pod struct {
	said chan string
	errs chan error
}

func (p *pod) Annotate(_ context.Context, key, value string) error {
	if key != v1alpha1.AnnotationNodeFacts {
		return errors.New("annotation " + key)
	}
	if err := <-p.errs; err != nil {
		return err
	}
	p.said <- value
	return nil
}

func TestFactsAreKept(t *testing.T) {
	p := &pod{said: make(chan string, 1), errs: make(chan error, 1)}
	clock := clocktesting.NewFakeClock(time.Unix(0, 0))
	gathered := make(chan v1alpha1.NodeFacts)
	f := &Facts{Pod: p, Clock: clock, Gather: func(ctx context.Context) (v1alpha1.NodeFacts, error) {
		select {
		case facts := <-gathered:
			return facts, nil
		case <-ctx.Done():
			return v1alpha1.NodeFacts{}, ctx.Err()
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	step := func(d time.Duration) { // when it waits
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !clock.HasWaiters(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("it does not wait")
			}
		}
		clock.Step(d)
	}
	facts := v1alpha1.NodeFacts{Kernel: "6.12", StageFreeBytes: 1000}
	p.errs <- errors.New("unavailable")
	gathered <- facts
	step(factsRetry) // it tries again soon
	p.errs <- nil
	gathered <- facts
	if got, err := nodefacts.Decode(<-p.said); err != nil || !reflect.DeepEqual(got, facts) {
		t.Errorf("said %+v, %v", got, err)
	}
	step(factsInterval)
	gathered <- facts // nothing to say
	step(factsInterval)
	facts.StageFreeBytes = 500
	p.errs <- nil
	gathered <- facts
	if got, err := nodefacts.Decode(<-p.said); err != nil || got.StageFreeBytes != 500 {
		t.Errorf("said %+v, %v", got, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestOwnPod(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	own := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ms2m-system", Name: "agent-1", Annotations: map[string]string{"other": "stays"}}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(own).Build()
	p := OwnPod{Client: c, Namespace: "ms2m-system", Name: "agent-1"}
	if err := p.Annotate(t.Context(), "key", `{"a":"b"}`); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil || own.Annotations["key"] != `{"a":"b"}` || own.Annotations["other"] != "stays" {
		t.Errorf("%v, %v", own.Annotations, err)
	}
}
