package migration_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ms2m.dev/ms2m/api/v1alpha1"
	"ms2m.dev/ms2m/internal/migration"
	"ms2m.dev/ms2m/internal/owner"
)

func claim(modes ...corev1.PersistentVolumeAccessMode) migration.Claim {
	return migration.Claim{Name: "data", Bound: true, AccessModes: modes}
}

func mounted(container int, readOnly bool) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := &p.Spec.Containers[container]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "v", MountPath: "/v", ReadOnly: readOnly})
	}
}

func volume(v corev1.VolumeSource) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "v", VolumeSource: v})
	}
}

func claimed(readOnly bool) func(*corev1.Pod) {
	return volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data", ReadOnly: readOnly}})
}

func TestVolumes(t *testing.T) {
	yes := true
	emptyDir := volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	ephemeral := volume(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}})
	disposable := func(names string) func(*corev1.Pod) { return annotated(v1alpha1.AnnotationDisposableVolumes, names) }
	local, unbound, going := claim(corev1.ReadWriteMany), claim(corev1.ReadWriteMany), claim(corev1.ReadWriteOnce)
	local.NodeLocal, unbound.Bound, going.Going = "it is a local volume of its node", false, "it is being deleted"
	for name, test := range map[string]struct {
		pod                         *corev1.Pod
		claims                      []migration.Claim
		refused, onePodOnly, shared string
	}{
		"none":                   {pod: with()},
		"configMap":              {pod: with(volume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}), mounted(0, false))},
		"nfs":                    {pod: with(volume(corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}), mounted(0, false))},
		"image":                  {pod: with(volume(corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}))},
		"csi, read-only":         {pod: with(volume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{ReadOnly: &yes}}), mounted(0, true))},
		"csi":                    {pod: with(volume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}})), refused: "kind of which is not known"},
		"iscsi":                  {pod: with(volume(corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{}})), refused: "kind of which is not known"},
		"hostPath":               {pod: with(volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}})), refused: "hostPath"},
		"emptyDir":               {pod: with(emptyDir, mounted(0, false)), refused: "do not move"},
		"emptyDir, disposable":   {pod: with(emptyDir, mounted(0, false), disposable("v"))},
		"emptyDir of another":    {pod: with(container("log"), emptyDir, mounted(1, false))},
		"disposable, not there":  {pod: with(disposable("x")), refused: `"x", which is not an emptyDir`},
		"disposable, a claim":    {pod: with(claimed(false), disposable("v")), claims: []migration.Claim{claim(corev1.ReadWriteMany)}, refused: `"v", which is not an emptyDir`},
		"ephemeral":              {pod: with(ephemeral, mounted(0, false)), refused: "removed with the pod"},
		"ephemeral of another":   {pod: with(container("log"), ephemeral, mounted(1, false))},
		"unknown claim":          {pod: with(claimed(false)), refused: "not bound"},
		"unbound claim":          {pod: with(claimed(false)), claims: []migration.Claim{unbound}, refused: "not bound"},
		"local claim":            {pod: with(claimed(false)), claims: []migration.Claim{local}, refused: "local volume"},
		"claim being deleted":    {pod: with(claimed(false)), claims: []migration.Claim{going}, refused: "being deleted"},
		"RWO":                    {pod: with(claimed(false), mounted(0, false)), claims: []migration.Claim{claim(corev1.ReadWriteOnce)}, onePodOnly: "one node at a time"},
		"RWO, mounted read-only": {pod: with(claimed(false), mounted(0, true)), claims: []migration.Claim{claim(corev1.ReadWriteOnce)}, onePodOnly: "one node at a time"},
		"RWOP":                   {pod: with(claimed(false), mounted(0, false)), claims: []migration.Claim{claim(corev1.ReadWriteOncePod)}, onePodOnly: "only one pod"},
		"RWX":                    {pod: with(claimed(false), mounted(0, false)), claims: []migration.Claim{claim(corev1.ReadWriteMany, corev1.ReadWriteOnce)}, shared: "data"},
		"RWX, mounted read-only": {pod: with(claimed(false), mounted(0, true)), claims: []migration.Claim{claim(corev1.ReadWriteMany)}},
		"RWX, read-only":         {pod: with(claimed(true), mounted(0, false)), claims: []migration.Claim{claim(corev1.ReadWriteMany)}},
		"RWX of another":         {pod: with(container("log"), claimed(false), mounted(1, false)), claims: []migration.Claim{claim(corev1.ReadWriteMany)}},
		"ROX":                    {pod: with(claimed(false), mounted(0, false)), claims: []migration.Claim{claim(corev1.ReadOnlyMany)}},
		"RWO and ROX, read-only": {pod: with(claimed(true), mounted(0, false)), claims: []migration.Claim{claim(corev1.ReadWriteOnce, corev1.ReadOnlyMany)}},
		"RWO and ROX":            {pod: with(claimed(false), mounted(0, false)), claims: []migration.Claim{claim(corev1.ReadWriteOnce, corev1.ReadOnlyMany)}, onePodOnly: "one node"},
		"a raw device": {pod: with(claimed(false), func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeDevices = []corev1.VolumeDevice{{Name: "v", DevicePath: "/dev/v"}}
		}), claims: []migration.Claim{claim(corev1.ReadWriteMany)}, shared: "data"},
	} {
		t.Run(name, func(t *testing.T) {
			v := migration.Volumes(test.pod, "main", test.claims)
			says(t, v.Refused, test.refused)
			says(t, v.OnePodOnly, test.onePodOnly)
			says(t, v.Shared, test.shared)
		})
	}
}

func affinity(key string, values ...string) *corev1.NodeSelector {
	return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}},
	}}}
}

func TestClaimOf(t *testing.T) {
	now := metav1.Now()
	pvc := func(change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data", UID: "claim"}}
		c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
		c.Status.Phase = corev1.ClaimBound
		for _, f := range change {
			f(c)
		}
		return c
	}
	pv := func(source corev1.PersistentVolumeSource, required *corev1.NodeSelector) *corev1.PersistentVolume {
		v := &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: source, ClaimRef: &corev1.ObjectReference{UID: "claim"}}}
		if required != nil {
			v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: required}
		}
		return v
	}
	csi := corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{}}
	foreign := pv(csi, nil)
	foreign.Spec.ClaimRef.UID = "another"
	for name, test := range map[string]struct {
		pvc          *corev1.PersistentVolumeClaim
		pv           *corev1.PersistentVolume
		bound        bool
		local, going string
	}{
		"network":           {pvc(), pv(csi, nil), true, "", ""},
		"of a zone":         {pvc(), pv(csi, affinity(corev1.LabelTopologyZone, "a")), true, "", ""},
		"of a host":         {pvc(), pv(csi, affinity(corev1.LabelHostname, "node-a")), true, "single host", ""},
		"of two hosts":      {pvc(), pv(csi, affinity(corev1.LabelHostname, "node-a", "node-b")), true, "", ""},
		"local":             {pvc(), pv(corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{}}, affinity(corev1.LabelHostname, "node-a")), true, "local volume", ""},
		"hostPath":          {pvc(), pv(corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{}}, nil), true, "hostPath", ""},
		"no volume":         {pvc(), nil, false, "", ""},
		"somebody's volume": {pvc(), foreign, false, "", ""},
		"pending":           {pvc(func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimPending }), pv(csi, nil), false, "", ""},
		"being deleted":     {pvc(func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &now }), pv(csi, nil), true, "", "being deleted"},
		"owned by a pod": {pvc(func(c *corev1.PersistentVolumeClaim) {
			c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "counter-0"}}
		}), pv(csi, nil), true, "", "owned by a pod"},
	} {
		t.Run(name, func(t *testing.T) {
			c := migration.ClaimOf(test.pvc, test.pv)
			if c.Name != "data" || c.Bound != test.bound || !cmp.Equal(c.AccessModes, test.pvc.Spec.AccessModes) {
				t.Errorf("%+v", c)
			}
			says(t, c.NodeLocal, test.local)
			says(t, c.Going, test.going)
		})
	}
	if c := migration.ClaimOf(nil, nil); c.Bound {
		t.Errorf("%+v", c)
	}
}

func TestNodeFits(t *testing.T) {
	n := node("node-b")
	n.Labels = map[string]string{corev1.LabelTopologyZone: "b"}
	for name, test := range map[string]struct {
		required *corev1.NodeSelector
		want     string
	}{
		"everywhere":   {nil, ""},
		"its zone":     {affinity(corev1.LabelTopologyZone, "a", "b"), ""},
		"another zone": {affinity(corev1.LabelTopologyZone, "a"), `"data" cannot be had on the node "node-b"`},
		"unreadable":   {affinity(corev1.LabelTopologyZone), "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			c := claim(corev1.ReadWriteOnce)
			c.NodeAffinity = test.required
			says(t, migration.NodeFits([]migration.Claim{c}, &n), test.want)
		})
	}
}

func TestChoose(t *testing.T) {
	const auto, shadow, sequential = v1alpha1.StrategyAuto, v1alpha1.StrategyShadow, v1alpha1.StrategySequential
	self := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "counter"}}
	other := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}
	anti := func(term corev1.PodAffinityTerm) *corev1.Pod {
		term.TopologyKey = corev1.LabelHostname
		return with(func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term}}}
		})
	}
	spread := func(when corev1.UnsatisfiableConstraintAction, s *metav1.LabelSelector) *corev1.Pod {
		return with(func(p *corev1.Pod) {
			p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{WhenUnsatisfiable: when, LabelSelector: s}}
		})
	}
	one, shared := migration.VolumeVerdict{OnePodOnly: "only one pod may use it"}, migration.VolumeVerdict{Shared: "data"}
	for name, test := range map[string]struct {
		spec    v1alpha1.Strategy
		kind    owner.Kind
		pod     *corev1.Pod
		volumes migration.VolumeVerdict
		want    v1alpha1.Strategy
		says    string
	}{
		"standalone":                 {spec: auto, kind: owner.Standalone, want: shadow},
		"standalone, Sequential":     {spec: sequential, kind: owner.Standalone, says: "nobody would make"},
		"standalone, one pod only":   {spec: auto, kind: owner.Standalone, volumes: one, says: "beside the pod"},
		"standalone, shared":         {spec: auto, kind: owner.Standalone, volumes: shared, want: shadow},
		"ReplicaSet":                 {spec: auto, kind: owner.ReplicaSet, want: shadow},
		"ReplicaSet, Sequential":     {spec: sequential, kind: owner.ReplicaSet, says: "a name of its own"},
		"ReplicaSet, apart":          {spec: auto, kind: owner.ReplicaSet, pod: anti(corev1.PodAffinityTerm{LabelSelector: self}), want: shadow},
		"StatefulSet":                {spec: auto, kind: owner.StatefulSet, want: shadow},
		"no strategy":                {kind: owner.StatefulSet, want: shadow},
		"StatefulSet, Sequential":    {spec: sequential, kind: owner.StatefulSet, want: sequential},
		"one pod only":               {spec: auto, kind: owner.StatefulSet, volumes: one, want: sequential},
		"one pod only, Shadow":       {spec: shadow, kind: owner.StatefulSet, volumes: one, says: "only one pod may use it"},
		"shared":                     {spec: auto, kind: owner.StatefulSet, volumes: shared, want: sequential},
		"shared, Shadow":             {spec: shadow, kind: owner.StatefulSet, volumes: shared, want: shadow},
		"refused volumes":            {spec: auto, kind: owner.StatefulSet, volumes: migration.VolumeVerdict{Refused: "hostPath"}, says: "hostPath"},
		"apart":                      {spec: auto, kind: owner.StatefulSet, pod: anti(corev1.PodAffinityTerm{LabelSelector: self}), want: sequential},
		"apart, Shadow":              {spec: shadow, kind: owner.StatefulSet, pod: anti(corev1.PodAffinityTerm{LabelSelector: self}), says: "podAntiAffinity"},
		"apart from others":          {spec: auto, kind: owner.StatefulSet, pod: anti(corev1.PodAffinityTerm{LabelSelector: other}), want: shadow},
		"apart from none":            {spec: auto, kind: owner.StatefulSet, pod: anti(corev1.PodAffinityTerm{}), want: shadow},
		"apart in another namespace": {spec: auto, kind: owner.StatefulSet, pod: anti(corev1.PodAffinityTerm{LabelSelector: self, Namespaces: []string{"x"}}), want: shadow},
		"apart in its own namespace": {spec: auto, kind: owner.StatefulSet, pod: anti(corev1.PodAffinityTerm{LabelSelector: self, Namespaces: []string{"x", "ns"}}), want: sequential},
		"apart in some namespaces":   {spec: auto, kind: owner.StatefulSet, pod: anti(corev1.PodAffinityTerm{LabelSelector: self, NamespaceSelector: &metav1.LabelSelector{}}), want: sequential},
		"spread":                     {spec: auto, kind: owner.StatefulSet, pod: spread(corev1.DoNotSchedule, self), want: sequential},
		"spread, Shadow":             {spec: shadow, kind: owner.StatefulSet, pod: spread(corev1.DoNotSchedule, self), says: "topologySpreadConstraint"},
		"spread if possible":         {spec: auto, kind: owner.StatefulSet, pod: spread(corev1.ScheduleAnyway, self), want: shadow},
		"spread with others":         {spec: auto, kind: owner.StatefulSet, pod: spread(corev1.DoNotSchedule, other), want: shadow},
	} {
		t.Run(name, func(t *testing.T) {
			p := test.pod
			if p == nil {
				p = with()
			}
			got, why := migration.Choose(test.spec, test.kind, p, test.volumes)
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			says(t, why, test.says)
		})
	}
}
