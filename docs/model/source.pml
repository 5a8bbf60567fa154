/* The source: safe point, relay, freeze. sdk/handover/source.go. */

#ifdef BIND_BEFORE_CHECKPOINT
#define isBound (bound > 0)
#else
#define isBound true
#endif

#if defined(CANCEL_INSTEAD_OF_CLOSE)
/* What is on its way when the consumer is cancelled stays with the channel. */
#define RELEASE(x) m = FIRST(ON(x)); if :: m > 0 && COUNT(ON(x)) > 1 -> at[m] = READY :: else fi; m = 0
#else
#define RELEASE(x) move(ON(x), BACK)
#endif

#if defined(BOTH_CONSUME) || defined(HAND_OVER_BEHIND_END)
#define releases false
#define released(x) true
#else
#define releases true
#define released(x) (!p[x].consuming && witnessed)
#endif

#ifdef HAND_OVER_BEHIND_END
/* What was received and not begun is written behind END_REPLAY and acknowledged. */
inline HAND_OVER(x) {
	p[x].consuming = false; p[x].buffer = 0;
	m = 1;
	do
	:: m <= N -> if :: at[m] == ON(x) -> at[m] = ACKED; handed = handed | (1 << m); kept = handed :: else fi; m++
	:: else -> break
	od;
	m = 0
}
#else
#define HAND_OVER(x) skip
#endif

proctype source(byte me) {
end:	do
	/* PREPARE: no handler is begun any more, what runs finishes. A repeated one
	 * (the same attempt) changes nothing and is no step of this model. */
	:: d_step { managed && up(me) && p[me].attempt < ATTEMPTS && isBound && (p[me].state == Live && !p[me].ended || p[me].state == Relaying) ->
		p[me].relayed = (p[me].state == Relaying);
		p[me].attempt++;
		p[me].state = Draining }
	:: d_step { p[me].state == Draining && expires -> /* its deadline */
		p[me].state = (p[me].relayed -> Relaying : Live);
		p[me].relayed = false }
	/* The safe point. From the first one on, numbers are written. */
	:: d_step { p[me].state == Draining && up(me) && flushed(me) ->
		if :: !p[me].relayed -> top = p[me].applied :: else fi;
		p[me].relayed = false;
		p[me].state = Paused }
	/* RESUME, or the deadline of PREPARE. */
	:: d_step { p[me].state == Paused && resumes(me) -> p[me].state = Relaying }

	/* FREEZE: what is begun is finished. */
	:: d_step { managed && up(me) && p[me].state == Relaying && freezes < FREEZES && freezable -> freezes++; p[me].state = Finishing }
#ifdef DEADLINE_AFTER_END
	:: d_step { p[me].state == Finishing && expires -> p[me].state = Relaying; p[me].endOut = false }
#else
	:: d_step { p[me].state == Finishing && expires && !p[me].endSent -> p[me].state = Relaying }
#endif
	/* What is not begun is given back, before END_REPLAY. */
	:: d_step { p[me].state == Finishing && up(me) && flushed(me) && p[me].consuming && releases ->
		p[me].consuming = false; p[me].buffer = 0;
		RELEASE(me) }
	:: d_step { p[me].state == Finishing && up(me) && flushed(me) && released(me) && !p[me].endOut && !p[me].returned ->
		p[me].endSent = true; p[me].endOut = true;
		appendEnd(p[me].applied);
		HAND_OVER(me) }
	:: d_step { p[me].state == Finishing && up(me) && p[me].endOut && !p[me].returned && queueStands -> p[me].endOut = false; p[me].state = Frozen }
#if defined(SEQUENTIAL) && !defined(NOBODY_COMMITS)
	/* The point of no return, for there is no target yet. */
	:: d_step { p[me].state == Frozen && up(me) && open(Commit) -> write(Commit) }
#endif
	od
}
