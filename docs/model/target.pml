/* The target: replay, COMMIT, takeover. sdk/handover/target.go. */

inline apply(n) {
	p[B].applied = n; p[B].outputs = p[B].applied; p[B].published = p[B].applied; p[B].done = p[B].applied
}

#ifdef NO_FENCE
#define fenced (p[B].takeover > 0)
#else
#define fenced (p[B].takeover == 1 && (fence == 1 || logIsWhole) || p[B].takeover == 2)
#endif
#define reads (p[B].state == Replaying && up(B) && !p[B].commits)

#ifdef COMMIT_BY_ACK
bool acks; /* the acknowledgement of END_REPLAY is on its way */
#endif

#ifdef FENCE_BLOCKED /* TAKEOVER is taken once: the newcomer's HELLO comes too late */
#define RETOLD 1
#else
#define RETOLD 2
#endif

proctype target() {
end:	do
	/* START_REPLAY. */
	:: d_step { managed && up(B) && p[B].state == Restored -> p[B].state = Replaying }
	/* The next entry. Those with a number that it has are skipped, wherever it
	 * begins to read; a message that it applies is part of its memory, too. */
	:: d_step { reads && p[B].applied < top && (endAt == NONE || p[B].applied < endAt) -> apply(p[B].applied + 1) }
	/* END_REPLAY: COMMIT, if the number is right. */
#ifdef COMMIT_BY_ACK
	:: d_step { reads && endAt != NONE && p[B].applied == endAt -> goLive(); acks = true }
	:: d_step { acks -> acks = false; write(Commit) }
#else
	:: d_step { reads && endAt != NONE && p[B].applied == endAt -> p[B].commits = true }
#endif
	:: d_step { reads && endAt != NONE && p[B].applied > endAt && open(Aborted) -> write(Aborted) } /* a gap */
	:: d_step { p[B].state == Replaying && up(B) && p[B].commits && open(Commit) -> write(Commit) }

	/* TAKEOVER, with the source's process proven dead: 1 by its pod being gone
	 * or without a process, 2 by another process in that pod saying HELLO. */
	:: d_step { managed && up(B) && p[B].state == Replaying && p[B].takeover == 0 && mayTakeOver && sourceDead ->
		p[B].takeover = 1 }
	:: d_step { managed && up(B) && p[B].state == Replaying && p[B].takeover < RETOLD && mayTakeOver && newcomerSpeaks ->
		p[B].takeover = 2 }
	/* The fence: the source's control queue. It is the broker's proof that none
	 * of the source's connections is left, and none comes. A newcomer that holds
	 * that queue has proven it by having it. */
#ifndef NO_FENCE
	:: d_step { up(B) && p[B].takeover == 1 && fence == 0 && !half[A] && !up(A) -> fence = 1 }
#endif
	/* END_REPLAY without a number, to be read back. */
	:: d_step { reads && fenced && !token -> token = true }
	:: d_step { reads && token && p[B].applied == top && endAt == NONE -> p[B].commits = true }

#ifdef BIND_BEFORE_CHECKPOINT
	:: d_step { reads && bound > 0 && cursor <= N ->
		must(cursor > p[B].applied, twice);
		must(cursor == p[B].applied + 1, disorder);
		apply(cursor);
		cursor++ }
#endif
#ifdef HAND_OVER_BEHIND_END
	:: d_step { p[B].state == Live && !p[B].fresh && !p[B].running && handed != 0 ->
		m = 1;
		do
		:: !(handed & (1 << m)) -> m++
		:: else -> break
		od;
		handed = handed & ~(1 << m);
		must(m > p[B].applied, twice);
		must(m == p[B].applied + 1, disorder);
		p[B].applied = m; p[B].outputs = m; p[B].published = m; p[B].done = m;
		m = 0 }
#endif
	od
}
