package migration_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
)

func with(changes ...func(*corev1.Pod)) *corev1.Pod {
	p := pod("counter-0", sourceUID, "node-a")
	p.Labels["app"] = "counter"
	p.Annotations = map[string]string{}
	for _, c := range changes {
		c(p)
	}
	return p
}

func container(names ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		for _, n := range names {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: n})
		}
	}
}

func initContainer(name string, policy *corev1.ContainerRestartPolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: name, RestartPolicy: policy})
	}
}

func annotated(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

// says checks a refusal: none, or one that has the words.
func says(t *testing.T, got, want string) {
	t.Helper()
	if (got == "") != (want == "") || !strings.Contains(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestShape(t *testing.T) {
	always, class, other, empty := corev1.ContainerRestartPolicyAlways, v1alpha1.RuntimeClassName, "kata", ""
	yes, no := true, false
	stateless := func(names string) func(*corev1.Pod) {
		return annotated(v1alpha1.AnnotationStatelessContainers, names)
	}
	spec := func(c func(*corev1.PodSpec)) *corev1.Pod { return with(func(p *corev1.Pod) { c(&p.Spec) }) }
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"one container":                   {with(), ""},
		"init containers have ended":      {with(initContainer("init", nil)), ""},
		"ephemeral containers":            {spec(func(s *corev1.PodSpec) { s.EphemeralContainers = []corev1.EphemeralContainer{{}} }), ""},
		"others, undeclared":              {with(container("proxy", "log"), initContainer("mesh", &always), stateless("log")), "(proxy, mesh)"},
		"others, declared":                {with(container("proxy", "log"), initContainer("mesh", &always), stateless(" log,proxy, mesh ,")), ""},
		"declared, not there":             {with(container("log"), stateless("log,proxy")), `"proxy", which is neither`},
		"an init container declared":      {with(initContainer("init", nil), stateless("init")), `"init", which is neither`},
		"the one that moves declared":     {with(container("log"), stateless("log,main")), "which is the container that moves"},
		"host network":                    {spec(func(s *corev1.PodSpec) { s.HostNetwork = true }), "hostNetwork"},
		"host processes":                  {spec(func(s *corev1.PodSpec) { s.HostPID = true }), "hostPID"},
		"host IPC":                        {spec(func(s *corev1.PodSpec) { s.HostIPC = true }), "hostIPC"},
		"host ports":                      {spec(func(s *corev1.PodSpec) { s.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80}} }), ""},
		"a host name":                     {spec(func(s *corev1.PodSpec) { s.Hostname, s.Subdomain = "a", "b" }), ""},
		"one process namespace":           {spec(func(s *corev1.PodSpec) { s.ShareProcessNamespace = &yes }), "shareProcessNamespace"},
		"a process namespace each":        {spec(func(s *corev1.PodSpec) { s.ShareProcessNamespace = &no }), ""},
		"a user namespace":                {spec(func(s *corev1.PodSpec) { s.HostUsers = &no }), "hostUsers"},
		"the host's users":                {spec(func(s *corev1.PodSpec) { s.HostUsers = &yes }), ""},
		"another runtime":                 {spec(func(s *corev1.PodSpec) { s.RuntimeClassName = &other }), "kata"},
		"our runtime":                     {spec(func(s *corev1.PodSpec) { s.RuntimeClassName = &class }), ""},
		"no runtime":                      {spec(func(s *corev1.PodSpec) { s.RuntimeClassName = &empty }), ""},
		"devices":                         {spec(func(s *corev1.PodSpec) { s.ResourceClaims = []corev1.PodResourceClaim{{}} }), "resourceClaims"},
		"Windows":                         {spec(func(s *corev1.PodSpec) { s.OS = &corev1.PodOS{Name: corev1.Windows} }), "windows"},
		"Linux":                           {spec(func(s *corev1.PodSpec) { s.OS = &corev1.PodOS{Name: corev1.Linux} }), ""},
		"one of a group of the scheduler": {spec(func(s *corev1.PodSpec) { s.SchedulingGroup = &corev1.PodSchedulingGroup{} }), "schedulingGroup"},
	} {
		t.Run(name, func(t *testing.T) { says(t, migration.Shape(test.pod, "main"), test.want) })
	}
}

func TestMigratedContainer(t *testing.T) {
	for name, test := range map[string]struct {
		pod               *corev1.Pod
		named, want, says string
	}{
		"the only one":      {with(), "", "main", ""},
		"named":             {with(container("log")), "log", "log", ""},
		"one of two":        {with(container("log")), "", "", "2 containers (main, log)"},
		"not there":         {with(), "x", "", "it has main"},
		"an init container": {with(initContainer("init", nil)), "init", "", "it has main"},
		"one and a sidecar": {with(initContainer("side", nil)), "", "main", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := migration.MigratedContainer(test.pod, test.named)
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			says(t, why, test.says)
		})
	}
}

func TestProbeBudget(t *testing.T) {
	probe := func(period, timeout, threshold int32) *corev1.Pod {
		return with(func(p *corev1.Pod) {
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{PeriodSeconds: period, TimeoutSeconds: timeout, FailureThreshold: threshold}
		})
	}
	for name, test := range map[string]struct {
		pod    *corev1.Pod
		budget time.Duration
		want   string
	}{
		"none":                   {with(), time.Hour, ""},
		"just enough":            {probe(10, 1, 3), 19 * time.Second, ""},
		"a moment short":         {probe(10, 1, 3), 19*time.Second + 1, "failureThreshold of at least 4, or periodSeconds of at least 11"},
		"defaults":               {probe(0, 0, 0), 19 * time.Second, ""},
		"a single failure kills": {probe(10, 1, 1), time.Second, "more than 0s, and a checkpoint may take 1s: it needs a failureThreshold of at least 2"},
		"probes that take longer than their period": {probe(1, 5, 4), 10 * time.Second, ""},
		"long time-outs": {probe(1, 5, 4), 11 * time.Second, "at least 5"},
		"another container's": {with(container("log"), func(p *corev1.Pod) {
			p.Spec.Containers[1].LivenessProbe = &corev1.Probe{FailureThreshold: 1}
		}), time.Hour, ""},
		"readiness and startup": {with(func(p *corev1.Pod) {
			p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{FailureThreshold: 1}
			p.Spec.Containers[0].StartupProbe = &corev1.Probe{FailureThreshold: 1}
		}), time.Hour, ""},
	} {
		t.Run(name, func(t *testing.T) { says(t, migration.ProbeBudget(test.pod, "main", test.budget), test.want) })
	}
}
