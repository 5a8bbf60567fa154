// Package nodefacts reads what the agents say about their nodes, and judges
// whether a checkpoint that was made on one can be restored on another.
package nodefacts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ms2m.dev/ms2m/api/v1alpha1"
)

// Decode reads the value of AnnotationNodeFacts.
func Decode(annotation string) (v1alpha1.NodeFacts, error) {
	var f v1alpha1.NodeFacts
	if annotation == "" {
		return f, fmt.Errorf("the annotation %s is missing: the node's agent has not written it yet", v1alpha1.AnnotationNodeFacts)
	}
	if err := json.Unmarshal([]byte(annotation), &f); err != nil {
		return f, fmt.Errorf("read the annotation %s: %w", v1alpha1.AnnotationNodeFacts, err)
	}
	return f, nil
}

// namedFeatures is how many missing features are named.
const namedFeatures = 5

// Incompatible says why a checkpoint that was made on source can't be restored on
// target; empty if nothing is known that speaks against it. A fact that one of them
// lacks speaks against nothing.
func Incompatible(source, target v1alpha1.NodeFacts) string {
	if why := kernel(source.Kernel, target.Kernel); why != "" {
		return why
	}
	if why := criu(source.CRIU, target.CRIU); why != "" {
		return why
	}
	return features(source.Features, target.Features)
}

// kernel refuses an older one: the process may use, and the images describe, what
// that does not have. A newer one keeps what programs rely on. What follows
// major.minor mends faults and is no interface.
func kernel(source, target string) string {
	s, t := version(source), version(target)
	if len(s) < 2 || len(t) < 2 || slices.Compare(t[:2], s[:2]) >= 0 {
		return ""
	}
	return fmt.Sprintf("the target's kernel %s is older than the source's, %s", target, source)
}

// criu refuses another major.minor, whose images may differ, and an older
// release of the same.
func criu(source, target string) string {
	s, t := version(source), version(target)
	switch {
	case len(s) < 2 || len(t) < 2:
		return ""
	case slices.Compare(t, s) < 0:
		return fmt.Sprintf("the target's CRIU %s is older than the source's, %s", target, source)
	case !slices.Equal(t[:2], s[:2]):
		return fmt.Sprintf("the target's CRIU is %s, the source's %s: only releases of one major.minor are taken to read each other's images", target, source)
	}
	return ""
}

// features refuses a processor without something that a program may have found
// on the source's and go on to use.
func features(source, target []string) string {
	if len(source) == 0 || len(target) == 0 {
		return ""
	}
	has := make(map[string]bool, len(target))
	for _, f := range target {
		has[f] = true
	}
	counts := usable(source)
	var missing []string
	for _, f := range source {
		if counts(f) && !has[f] {
			missing = append(missing, f)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	slices.Sort(missing)
	more := ""
	if n := len(missing) - namedFeatures; n > 0 {
		missing, more = missing[:namedFeatures], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("the target's processor lacks %s%s, which the source's has", strings.Join(missing, ", "), more)
}

// version are the numbers at the beginning of a version: 6.12.85+deb13-amd64 is
// 6, 12, 85. It is empty if there are none.
func version(s string) []int {
	var out []int
	for n, digits := 0, 0; ; s = s[1:] {
		if s != "" && '0' <= s[0] && s[0] <= '9' && digits < 9 {
			n, digits = 10*n+int(s[0]-'0'), digits+1
			continue
		}
		if digits == 0 {
			return out
		}
		out = append(out, n)
		if s == "" || s[0] != '.' {
			return out
		}
		n, digits = 0, 0
	}
}
