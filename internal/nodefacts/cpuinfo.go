package nodefacts

import (
	"maps"
	"slices"
	"strings"
)

// CPUInfo reads the text of /proc/cpuinfo: the model of the first processor, and the flags that
// all of them have, sorted: a process may run on any.
func CPUInfo(text string) (model string, flags []string) {
	fields := map[string]string{} // of the first processor
	var common map[string]bool
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key != "flags" && key != "Features" { // x86 and the others
			if _, ok := fields[key]; !ok {
				fields[key] = value
			}
			continue
		}
		own := map[string]bool{}
		for f := range strings.FieldsSeq(value) {
			if common == nil || common[f] {
				own[f] = true
			}
		}
		common = own
	}
	model = fields["model name"]
	if part := fields["CPU part"]; model == "" && part != "" {
		model = "implementer " + fields["CPU implementer"] + " part " + part // arm64 has no names
	}
	return model, slices.Sorted(maps.Keys(common))
}
