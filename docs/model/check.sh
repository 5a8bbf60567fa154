#!/usr/bin/env bash
# Explores the model of the hand-over (README.md). Every configuration is run
# to its end: one that is cut short (depth, memory) or ends otherwise than
# expected fails, and its work files stay, with the trail.
#
#   check.sh             all configurations, on all cores
#   check.sh pattern     those whose name matches
#   JOBS=n               how many at once
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
all="-DLOSS -DHALF_OPEN -DCRASH_SOURCE -DCRASH_TARGET -DRETURNED"

# Name; what to expect: clean, or the kind of fault that has to be found; how:
# safety, cycles (that there is none), or the name of an LTL formula; switches.
configurations() {
	grep -v -e '^ *#' -e '^ *$' <<-END
		# All that may happen, within bounds. The longest first.
		all-3                   clean     safety   -DFAULTS=3 $all
		attempts-crash-2        clean     safety   -DFAULTS=2 -DCRASH_SOURCE -DCRASH_TARGET -DRETURNED -DATTEMPTS=2
		attempts-all-1          clean     safety   -DFAULTS=1 $all -DATTEMPTS=2 -DFREEZES=2
		attempts-loss-2         clean     safety   -DFAULTS=2 -DLOSS -DATTEMPTS=2 -DFREEZES=2
		unproven-2              clean     safety   -DFAULTS=2 $all -DUNPROVEN
		marks-2                 clean     safety   -DFAULTS=2 $all -DMARKS
		messages-4-all-2        clean     safety   -DFAULTS=2 $all -DN=4
		loss-4                  clean     safety   -DFAULTS=4 -DLOSS -DRETURNED
		outputs-2               clean     safety   -DFAULTS=2 -DLOSS -DCRASH_SOURCE -DRETURNED -DOUTPUTS
		calm                    clean     safety   -DATTEMPTS=2 -DFREEZES=2 -DOUTPUTS -DMARKS

		# There is no cycle: every run comes to an end, where it is judged.
		ends-all-1              clean     cycles   -DFAULTS=1 $all -DUNPROVEN -DMARKS
		ends-attempts           clean     cycles   -DFAULTS=1 -DLOSS -DATTEMPTS=2 -DFREEZES=2
		# The same and the safety as formulas, where that is small enough.
		ltl-overlaps            clean     overlaps -DFAULTS=1 -DLOSS -DCRASH_SOURCE -DLTL
		ltl-decides             clean     decides  -DFAULTS=1 -DLOSS -DCRASH_SOURCE -DLTL
		ltl-touches             clean     touches  -DFAULTS=1 -DLOSS -DCRASH_SOURCE -DLTL
		ltl-retires             clean     retires  -DFAULTS=1 -DLOSS -DCRASH_SOURCE -DLTL
		ltl-settles             clean     settles  -DFAULTS=1 -DLOSS -DCRASH_SOURCE -DLTL
		ltl-consumes            clean     consumes -DFAULTS=1 -DLOSS -DCRASH_SOURCE -DLTL

		# Sequential: the source goes first, copies are made of one image until one is live.
		sequential-2            clean     safety   -DFAULTS=2 $all -DSEQUENTIAL
		sequential-marks-1      clean     safety   -DFAULTS=1 $all -DSEQUENTIAL -DMARKS
		sequential-ends         clean     cycles   -DFAULTS=1 -DLOSS -DCRASH_SOURCE -DCRASH_TARGET -DSEQUENTIAL -DMARKS
		sequential-patient-2    clean     safety   -DFAULTS=2 $all -DSEQUENTIAL -DPATIENT -DCOPIES=3

		# If nobody gives up without a cause, the hand-over succeeds.
		patient-2               clean     safety   -DFAULTS=2 -DLOSS -DHALF_OPEN -DRETURNED -DPATIENT
		patient-takeover-2      clean     safety   -DFAULTS=2 -DLOSS -DHALF_OPEN -DRETURNED -DCRASH_SOURCE -DPATIENT
		patient-target-2        clean     safety   -DFAULTS=2 $all -DPATIENT

		# The known faults, put back. Each has to be found.
		bind-before-checkpoint  disorder  safety   -DBIND_BEFORE_CHECKPOINT
		both-consume            overlap   safety   -DBOTH_CONSUME
		commit-by-ack           overlap   safety   -DCOMMIT_BY_ACK
		hand-over-behind-end    disorder  safety   -DHAND_OVER_BEHIND_END
		ack-before-relay        lost      safety   -DFAULTS=1 -DCRASH_SOURCE -DACK_BEFORE_RELAY
		no-identities           twice     safety   -DFAULTS=1 -DLOSS -DNO_IDENTITIES
		copy-does-not-look      overlap   safety   -DCOPY_DOES_NOT_LOOK
		no-hold                 overlap   safety   -DFAULTS=1 -DCRASH_SOURCE -DNO_HOLD
		no-hold-target          overlap   safety   -DFAULTS=1 -DCRASH_TARGET -DNO_HOLD
		# Others, found on the way.
		no-fence                overlap   safety   -DFAULTS=1 $all -DNO_FENCE
		look-before-fence       overlap   safety   -DFAULTS=1 -DLOSS -DUNPROVEN -DLOOK_BEFORE_FENCE
		keep-committing         overlap   safety   -DFAULTS=2 -DLOSS -DUNPROVEN -DKEEP_COMMITTING
		fence-blocked           stuck     safety   -DFAULTS=1 -DCRASH_SOURCE -DPATIENT -DFENCE_BLOCKED
		no-control-queue        overlap   safety   -DFAULTS=1 -DHALF_OPEN -DNO_CONTROL_QUEUE
		cancel-not-close        disorder  safety   -DCANCEL_INSTEAD_OF_CLOSE
		no-witness              disorder  safety   -DNO_WITNESS
		deadline-after-end      behind    safety   -DDEADLINE_AFTER_END
		two-decisions           overlap   safety   -DTWO_DECISIONS
		two-decisions-ltl       decides   decides  -DTWO_DECISIONS -DLTL
		kill-before-abort       lost      safety   -DKILL_BEFORE_ABORT
		no-lease                stuck     safety   -DNO_LEASE
		no-lease-ltl            settles   settles  -DNO_LEASE -DLTL
		not-mandatory           gap       safety   -DFAULTS=1 -DRETURNED -DNOT_MANDATORY
		marks-too-early         unsettled safety   -DMARKS -DMARKS_TOO_EARLY
		held-target-waits       stuck     safety   -DFAULTS=1 -DCRASH_TARGET -DHELD_TARGET_WAITS

		# The same of the sequential kind.
		live-on-commit          missed    safety   -DSEQUENTIAL -DLIVE_ON_COMMIT
		void-on-commit          unsettled safety   -DSEQUENTIAL -DPATIENT -DVOID_ON_COMMIT
		start-on-commit         lost      safety   -DFAULTS=1 -DCRASH_TARGET -DSEQUENTIAL -DSTART_ON_COMMIT
		nobody-commits          stuck     safety   -DSEQUENTIAL -DPATIENT -DNOBODY_COMMITS
		one-takeover            stuck     safety   -DFAULTS=2 -DCRASH_SOURCE -DCRASH_TARGET -DSEQUENTIAL -DPATIENT -DCOPIES=3 -DONE_TAKEOVER
		queue-stays             unsettled safety   -DSEQUENTIAL -DMARKS -DQUEUE_STAYS

		# What the model is about does happen in it.
		reaches-commit          happens   safety   -DREACHES=committing
		reaches-abort           happens   safety   -DREACHES=goingBack
		reaches-takeover        happens   safety   -DFAULTS=1 -DCRASH_SOURCE -DREACHES=takingOver
		reaches-second-attempt  happens   safety   -DATTEMPTS=2 -DREACHES=secondAttempt
		reaches-second-freeze   happens   safety   -DFREEZES=2 -DREACHES=secondFreeze
		reaches-newcomer        happens   safety   -DFAULTS=1 -DCRASH_SOURCE -DREACHES=newcomer
		reaches-restart         happens   safety   -DFAULTS=1 -DCRASH_TARGET -DREACHES=restart
		reaches-returned        happens   safety   -DFAULTS=1 -DRETURNED -DREACHES=returnedEntry
		reaches-clean           happens   safety   -DMARKS -DREACHES=removedMarks
		reaches-second-copy     happens   safety   -DFAULTS=1 -DCRASH_TARGET -DSEQUENTIAL -DREACHES=secondCopy
		reaches-copy-takeover   happens   safety   -DFAULTS=2 -DCRASH_SOURCE -DCRASH_TARGET -DSEQUENTIAL -DREACHES=takingOver
		reaches-late-entry      happens   safety   -DFAULTS=1 -DHALF_OPEN -DREACHES=lateEntry
		reaches-late-commit     happens   safety   -DFAULTS=1 -DHALF_OPEN -DREACHES=lateCommit
	END
}

run() { # name expectation mode switches: one line, and 1 if it is not as expected
	local name=$1 expected=$2 mode=$3 compile=-DSAFETY explore=() found states seconds
	shift 3
	mkdir -p "$work/$name"
	cd "$work/$name"
	cp "$here"/*.pml .
	case $mode in
	safety) ;;
	cycles) compile=-DNP explore=(-l) ;;
	*) compile='' explore=(-a -N "$mode") ;;
	esac
	# Not -O2: there gcc 12.2's vectorizer breaks pan (seen with four messages: an
	# error that is none at -O0, -O1, and -O2 -fno-tree-slp-vectorize).
	local TIMEFORMAT=%U
	if ! { spin -a "$@" handover.pml && gcc -O1 -DCOLLAPSE -DMEMLIM=6000 $compile -o pan pan.c &&
		{ time ./pan -m1000000 "${explore[@]}" 2>&1; } 2>seconds; } >log 2>&1; then
		echo "failed" >>log
	fi
	states=$(awk '/states, stored/ { print $1; exit }' log)
	seconds=$(cat seconds 2>/dev/null || true)
	found=$(sed -n 's/^pan:1: assertion violated  *!(\(.*\)) (at.*/\1/p; s/^pan:1: non-progress cycle.*/cycle/p' log)
	if [ "$mode" != safety ] && grep -q -e '^pan:1: acceptance cycle' -e '^pan:1: assertion violated  *!( *!' log; then
		found=$mode # the formula itself
	fi
	if [ -z "$found" ] && grep -q 'errors: 0$' log; then found=clean; fi
	if [ "$found" = clean ] && grep -q -e 'max search depth' -e 'out of memory' -e '^failed' -e 'Search not completed' log; then
		found="cut short"
	fi
	if [ "$found" = "$expected" ]; then
		printf '%-24s %-10s %11s states %7s s\n' "$name" "$found" "$states" "$seconds"
		rm -rf "${work:?}/$name"
		return 0
	fi
	printf '%-24s %s, expected %s: see %s\n' "$name" "${found:-nothing sound}" "$expected" "$PWD"
	if [ -e handover.pml.trail ]; then
		spin -t -p -g "$@" handover.pml >trail.txt 2>&1 || true
		grep -e '^ *[0-9]*:.*proc' -e '^spin:' trail.txt | tail -n 30 || true
	else
		tail -n 20 log
	fi
	return 1
}

if [ "${1:-}" = --run ]; then # by xargs, below
	shift
	work=$MS2M_MODEL_WORK
	run "$@"
	exit
fi
if ! command -v spin >/dev/null || ! command -v gcc >/dev/null; then
	echo "spin and gcc are needed: make model installs them" >&2
	exit 2
fi
work=$(mktemp -d)
export MS2M_MODEL_WORK=$work
status=0
configurations | grep -e "^${1:-}" | xargs -r -P "${JOBS:-$(nproc)}" -L 1 "$0" --run || status=1
[ $status = 0 ] && rm -rf "$work"
exit $status
