package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/examples/load"
)

const (
	// sampleRegistry is what the samples' manifests have for a registry of one's own.
	sampleRegistry = "registry.example.com/ms2m"
	// sampleWarm is how much has to come out before the migration, and after it.
	sampleWarm = 100
	samplePort = 8080
)

// Service is a service of samples/, as its manifests say, under a load of its own kind.
type Service struct {
	Name      string
	Migration *v1alpha1.StatefulMigration // as its manifest says, later as it ended
	From, To  string                      // the nodes, the latter when it has moved
	Drive     Drive

	lab   *Lab
	dir   string
	begin memory
}

// memory is what tells one memory from another in the samples' /state.
type memory struct {
	Mark string `json:"mark"`
}

// Judgement is what is said of a sample in the end.
type Judgement struct {
	Verdict  string // in a line
	OK       bool
	Problems []string
}

// StartSample does what somebody does who tries a sample of the directory out: makes a
// namespace with the broker's Secret, declares the queues, applies the manifests, waits
// for the pod, and sends it something to do.
func (l *Lab) StartSample(ctx context.Context, directory, name string) (*Service, error) {
	kind, ok := sampleKinds[name]
	if !ok {
		return nil, fmt.Errorf("there is no sample %q: see %s", name, directory)
	}
	s := &Service{Name: name, lab: l, dir: filepath.Join(directory, name)}
	text, err := os.ReadFile(filepath.Join(s.dir, "migration.yaml"))
	if err != nil {
		return nil, err
	}
	s.Migration = &v1alpha1.StatefulMigration{}
	if err := yaml.UnmarshalStrict([]byte(l.fill(string(text))), s.Migration); err != nil {
		return nil, fmt.Errorf("%s/migration.yaml: %w", s.dir, err)
	}
	s.Migration.Namespace = s.Namespace()
	if err := l.ensureNamespace(ctx, s.Namespace()); err != nil {
		return s, err
	}
	if err := load.DeclareQueues(l.BrokerURL, load.Classic, kind.queues...); err != nil {
		return s, err
	}
	if err := s.apply(ctx); err != nil {
		return s, err
	}
	pod, err := s.pod(ctx)
	if err != nil {
		return s, err
	}
	if err := load.Read(ctx, base(pod)+"/state", &s.begin); err != nil {
		return s, err
	}
	s.From = pod.Spec.NodeName
	s.Drive = kind.drive(ctx, l.BrokerURL)
	return s, s.reach(ctx, sampleWarm)
}

// DriveSample declares a sample's queues and starts the load on it, wherever it is.
func (l *Lab) DriveSample(ctx context.Context, name string) (Drive, error) {
	kind, ok := sampleKinds[name]
	if !ok {
		return nil, fmt.Errorf("there is no sample %q", name)
	}
	if err := load.DeclareQueues(l.BrokerURL, load.Classic, kind.queues...); err != nil {
		return nil, err
	}
	return kind.drive(ctx, l.BrokerURL), nil
}

// RemoveSample removes a sample's namespace, with all that is in it, and its queues.
func (l *Lab) RemoveSample(ctx context.Context, name, namespace string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	return errors.Join(
		client.IgnoreNotFound(l.Client.Delete(ctx, ns)),
		Gone(ctx, l, ns, &corev1.NamespaceList{}),
		load.DeleteQueues(l.BrokerURL, sampleKinds[name].queues...))
}

// Namespace is where the sample is.
func (s *Service) Namespace() string { return "sample-" + s.Name }

// apply applies the sample's manifests.
func (s *Service) apply(ctx context.Context) error {
	manifests, err := output(ctx, nil, "kubectl", "kustomize", s.dir)
	if err != nil {
		return err
	}
	_, err = output(ctx, []byte(s.lab.fill(manifests)), "kubectl", "-n", s.Namespace(), "apply", "-f", "-")
	return err
}

// fill puts the lab's images and registry in the place of what the samples' manifests
// have for those of their user.
func (l *Lab) fill(manifests string) string {
	replace := []string{sampleRegistry, l.Registry + "/samples"}
	for name, kind := range sampleKinds {
		replace = append(replace, "ms2m.dev/"+name+":dev", kind.image(l.Images))
	}
	return strings.NewReplacer(replace...).Replace(manifests)
}

// FillSamples copies the samples' manifests into a directory, filled in for the lab.
func (l *Lab) FillSamples(from, to string) error {
	return filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), []byte(l.fill(string(text))), 0o644)
	})
}

// pod waits for the pod that is to move: its StatefulSet may not have made it yet.
func (s *Service) pod(ctx context.Context) (*corev1.Pod, error) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace(), Name: s.Migration.Spec.SourcePod.Name}}
	err := Until(ctx, s.lab, pod, &corev1.PodList{}, func(p *corev1.Pod) (bool, error) { return p != nil, nil })
	if err != nil {
		return nil, err
	}
	return s.lab.PodReady(ctx, client.ObjectKeyFromObject(pod))
}

// reach waits until n results have come out.
func (s *Service) reach(ctx context.Context, n uint64) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for s.Drive.Count() < n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d results have come: %w", s.Drive.Count(), n, context.Cause(ctx))
		case <-look.C:
		}
	}
	return nil
}

// Move migrates the sample, tells every version of the migration's status, and judges.
func (s *Service) Move(ctx context.Context, tell func(*v1alpha1.StatefulMigration)) (Judgement, error) {
	m := s.Migration.DeepCopy()
	if err := s.lab.Client.Create(ctx, m); err != nil {
		return Judgement{}, err
	}
	m, err := s.lab.Follow(ctx, m, func(m *v1alpha1.StatefulMigration) bool {
		tell(m)
		return Ended(m)
	})
	if err != nil {
		return Judgement{}, err
	}
	s.Migration = m
	if m.Status.Phase != v1alpha1.PhaseCompleted {
		return Judgement{}, fmt.Errorf("the migration failed: %s", Summary(m))
	}
	target, err := s.lab.TargetPod(ctx, m)
	if err != nil {
		return Judgement{}, err
	}
	s.To = target.Spec.NodeName
	if err := s.reach(ctx, s.Drive.Count()+sampleWarm); err != nil {
		return Judgement{}, err
	}
	j, err := s.Drive.Judge(ctx, base(target))
	if err != nil {
		return j, err
	}
	var end memory
	if err := load.Read(ctx, base(target)+"/state", &end); err != nil {
		return j, err
	}
	if end != s.begin || s.From == s.To {
		j.OK = false
		j.Problems = append(j.Problems, fmt.Sprintf("memory %s on %s, was %s on %s", end.Mark, s.To, s.begin.Mark, s.From))
	}
	return j, nil
}

func base(pod *corev1.Pod) string { return fmt.Sprintf("http://%s:%d", pod.Status.PodIP, samplePort) }

// Close removes the sample with its namespace and its queues.
func (s *Service) Close(ctx context.Context) error {
	if s.Drive != nil {
		s.Drive.Close()
	}
	migration := s.Migration.DeepCopy()
	migration.UID = "" // whichever there is
	return errors.Join(
		s.lab.DeleteMigration(ctx, migration), // while its Secret is there
		s.lab.RemoveSample(ctx, s.Name, s.Namespace()))
}
