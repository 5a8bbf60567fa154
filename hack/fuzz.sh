#!/bin/sh
# Fuzzes every target in the modules . and sdk, one after the other, FUZZTIME each
# (4s). What fails is written to the package's testdata/fuzz: commit it with its
# remedy, and every `go test` tries it from then on. FUZZ=pattern chooses targets.
#
# The first run takes minutes more: Go builds every package that a target depends on
# anew, with counters of what is reached.
set -eu
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# overtime tells a mistake of Go's from a finding: when the time is over its coordinator may
# take its own end for a failure (a race, go.dev/issue/75804, mended in Go 1.27), and says
# nothing but this. What the fuzzer finds it names, and writes down.
overtime() {
	[ "$(sed '1,/^--- FAIL: /d; /^FAIL/d; /^exit status 1$/d' "$log")" = "    context deadline exceeded" ]
}

found=0
for file in $(git ls-files -co --exclude-standard '*_test.go' | xargs grep -l '^func Fuzz'); do
	case $file in
	sdk/*) module=sdk ;;
	*) module=. ;;
	esac
	package=./$(dirname "${file#"$module"/}")
	# shellcheck disable=SC2013 # names of functions are words
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file" | grep -E "${FUZZ:-.}"); do
		found=$((found + 1))
		if ! (cd $module && go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-4s}" -parallel 2 "$package") >"$log" 2>&1 && ! overtime; then
			cat "$log"
			exit 1
		fi
		echo "$target $(grep execs "$log" | tail -n 1)"
	done
done
[ $found -gt 0 ] || { echo "no fuzz target matches FUZZ=${FUZZ:-}"; exit 1; }
