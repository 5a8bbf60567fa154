/* What has to hold in the end, and what has to happen at all. That nothing is
 * applied twice, in another order or by two at once is asserted where it would
 * happen (broker.pml, instance.pml).
 *
 * The model has no cycle (check.sh shows it), so that every run comes to an end
 * without any assumption of fairness, and this judges every end: nobody waits
 * for ever, somebody owns the state if its process lives, and every message is
 * applied and acknowledged. */

#define waits(x) (p[x].state != Absent && p[x].state != Live && p[x].state != Retired && p[x].state != Void)
#define stands(d) (removed && outcome == d || !removed && decision == d)
#define owned    (p[A].state == Live || p[B].state == Live)

#ifdef SEQUENTIAL
/* A copy gave up when there was no manager any more to make another. */
#define unattended (p[B].state == Void && !managed)
#else
#define unattended false
#endif

proctype judge() {
	timeout -> d_step {
		must(!waits(A) && !waits(B), stuck);
		must(!(p[A].state == Live && (p[B].state == Live || stands(Commit))), overlap);
		must(!(p[B].state == Live && !stands(Commit)), overlap);
		/* Without an owner only if its pod is gone for good. */
		must(owned || p[(stands(Commit) -> B : A)].state == Absent || unattended, unsettled);
		must(!owned || COUNT(ACKED) == N, unsettled);
		must(p[A].state != Live || p[A].applied == N, lost);
		must(p[B].state != Live || p[B].applied == N, lost);
#ifdef PATIENT
		must(stands(Commit) || trouble, unsettled);
#ifdef SEQUENTIAL
		must(!stands(Commit) || owned || everLive, unsettled); /* copies enough for all faults */
#endif
#endif
#ifdef OUTPUTS
		m = 1;
		do
		:: m <= N -> must(at[m] != ACKED || sent[m] > 0, unsent); must(sent[m] <= 1 || budget < FAULTS, doubled); m++
		:: else -> break
		od;
		m = 0;
#endif
		skip
	}
}

#ifdef REACHES
/* What the model is about does happen in it: -DREACHES=one of these has to fail. */
#define committing    (p[B].state == Live && p[B].done == N)
#define goingBack     (endAt != NONE && decision == Aborted && p[A].state == Live && p[A].done == N)
#define takingOver    (p[B].state == Live && endAt == NONE && p[B].done == N)
#define secondAttempt (p[B].state == Live && restored == 2)
#define secondFreeze  (p[B].state == Live && freezes == 2)
#define newcomer      (p[A].state == Live && p[A].fresh && p[A].done == N)
#define restart       (p[B].state == Live && p[B].fresh && p[B].done == N)
#define returnedEntry (p[B].state == Live && p[B].done == N && budget < FAULTS)
#define removedMarks  (removed && p[B].state == Live && p[B].done == N)
#define secondCopy    (p[B].state == Live && copies == 2 && p[B].done == N)
#define lateEntry     (half[A] && late[A] == Entry && p[B].state == Replaying)
#define lateCommit    (half[B] && late[B] == CommitFrame && decision == Aborted)
proctype witness() {
end:	REACHES -> must(false, happens)
}
#endif

#ifdef LTL
#define takes(x)    (p[x].consuming)
#define committed   (decision == Commit)
#define aborted     (decision == Aborted)
#define idle(x)     (!p[x].consuming && COUNT(ON(x)) == 0)
#define powerless(x) (p[x].state == Void || p[x].state == Retired || p[x].state == Restored || p[x].state == Replaying || p[x].state == Held)

ltl overlaps  { [] !(takes(A) && takes(B)) }
ltl decides   { [] (committed -> [] committed) && [] (aborted -> [] aborted) }
ltl touches   { [] ((powerless(A) -> idle(A)) && (powerless(B) -> idle(B))) }
ltl retires   { [] (p[A].state == Retired -> [] (p[A].state == Retired || p[A].state == Crashed || p[A].state == Held || p[A].state == Absent)) }
ltl settles   { <> [] (!waits(A) && !waits(B)) }
ltl consumes  { <> [] (COUNT(ACKED) == N || !owned) }
#endif
