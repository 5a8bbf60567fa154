package harness

import (
	"context"
	"errors"
	"fmt"
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

	lab    *Lab
	dir    string
	queues []string
	begin  memory
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
	s := &Service{Name: name, lab: l, dir: filepath.Join(directory, name), queues: kind.queues}
	text, err := os.ReadFile(filepath.Join(s.dir, "migration.yaml"))
	if err != nil {
		return nil, err
	}
	registry := fmt.Sprintf("%s/samples", l.Registry)
	s.Migration = &v1alpha1.StatefulMigration{}
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(string(text), sampleRegistry, registry)), s.Migration); err != nil {
		return nil, fmt.Errorf("%s/migration.yaml: %w", s.dir, err)
	}
	s.Migration.Namespace = s.Namespace()
	if err := l.ensureNamespace(ctx, s.Namespace()); err != nil {
		return nil, err
	}
	if err := load.DeclareQueues(l.BrokerURL, load.Classic, s.queues...); err != nil {
		return nil, err
	}
	placeholder := "ms2m.dev/" + name + ":dev"
	if err := s.apply(ctx, map[string]string{placeholder: kind.image(l.Images)}); err != nil {
		return nil, err
	}
	pod, err := s.pod(ctx)
	if err != nil {
		return nil, err
	}
	if err := load.Read(ctx, base(pod)+"/state", &s.begin); err != nil {
		return nil, err
	}
	s.From = pod.Spec.NodeName
	s.Drive = kind.drive(ctx, l.BrokerURL)
	return s, s.reach(ctx, sampleWarm)
}

// Namespace is where the sample is.
func (s *Service) Namespace() string { return "sample-" + s.Name }

// apply applies the sample's manifests with other images than those they name.
func (s *Service) apply(ctx context.Context, images map[string]string) error {
	manifests, err := output(ctx, nil, "kubectl", "kustomize", s.dir)
	if err != nil {
		return err
	}
	for placeholder, image := range images {
		if !strings.Contains(manifests, placeholder) {
			return fmt.Errorf("%s: no container has the image %s", s.dir, placeholder)
		}
		manifests = strings.ReplaceAll(manifests, placeholder, image)
	}
	_, err = output(ctx, []byte(manifests), "kubectl", "-n", s.Namespace(), "apply", "-f", "-")
	return err
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
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Namespace()}}
	return errors.Join(
		s.lab.DeleteMigration(ctx, migration), // while its Secret is there
		client.IgnoreNotFound(s.lab.Client.Delete(ctx, namespace)),
		Gone(ctx, s.lab, namespace, &corev1.NamespaceList{}),
		load.DeleteQueues(s.lab.BrokerURL, s.queues...))
}
