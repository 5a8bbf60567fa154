package nodefacts

import (
	"slices"
	"strings"
)

// usable tells which of a processor's flags count. On x86 the kernel lists beside
// them its own workarounds, and what only a kernel or a hypervisor can use: a
// processor that needs no workaround lacks that flag and can do everything. So
// there those count which stand for instructions and registers of programs. On other
// architectures the flags are the features that programs are told of.
func usable(flags []string) func(flag string) bool {
	if !slices.Contains(flags, "cx8") { // every x86 that Go runs on has it
		return func(flag string) bool { return flag != "evtstrm" && flag != "cpuid" }
	}
	return func(flag string) bool {
		if instructions[flag] {
			return true
		}
		// Families that still grow.
		return slices.ContainsFunc([]string{"avx", "amx", "sse", "sha", "xsave"}, func(p string) bool { return strings.HasPrefix(flag, p) })
	}
}

// instructions are flags of x86 that stand for something programs use, but for the
// families named above. Hints that other processors pass over (hle, erms, cldemote)
// are not among them, nor is what Linux has given up (mpx).
var instructions = set(`
	fpu cx8 cmov mmx mmxext fxsr syscall lm pni ssse3 misalignsse 3dnow 3dnowext 3dnowprefetch
	pclmulqdq vpclmulqdq aes vaes gfni fma fma4 xop tbm f16c cx16 movbe movdiri movdir64b popcnt abm lahf_lm
	bmi1 bmi2 adx rdrand rdseed rdtscp rdpid tsc fsgsbase rtm pku ospke sm3 sm4
	clflush clflushopt clwb clzero serialize waitpkg mwaitx enqcmd ptwrite xgetbv1 cmpccxadd raoint user_shstk apx
`)

func set(words string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		out[w] = true
	}
	return out
}
