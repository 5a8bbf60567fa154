/* What every process does, whatever its part: connect, obey the decision, and
 * handle messages if it owns the state. The code is sdk/handover/instance.go,
 * primary.go and decide.go. */

#ifdef BIND_BEFORE_CHECKPOINT
#define relays(x) false
#else
#define relays(x) (p[x].state == Relaying || p[x].state == Finishing || p[x].state == Paused || p[x].state == Frozen || \
	p[x].state == Draining && p[x].relayed)
#endif

/* What is lost with a connection on the instance's side: deliveries that were
 * not begun are forgotten, entries that were not confirmed are to be written
 * again. The fence of a takeover goes with the connection, and what was read
 * under it counts no more. */
inline forget(x) {
	p[x].conn = Off;
#ifdef LOOK_BEFORE_FENCE
	p[x].knows = Undecided;
#endif
	p[x].consuming = false; p[x].buffer = 0; p[x].endOut = false; p[x].returned = false;
#ifndef ACK_BEFORE_RELAY
	p[x].published = p[x].done;
#endif
	if
	:: p[x].takeover > 0 -> token = false;
#ifndef KEEP_COMMITTING
		p[x].commits = false
#endif
	:: else
	fi
}

/* Its own end of the connection is closed in order: the broker knows at once. */
inline drop(x) {
	move(ON(x), BACK);
	forget(x);
	if :: (x) == B && fence == 1 -> fence = 0 :: else fi
}

/* The migration is over for x; what it was is of no more interest. */
inline become(x, s) {
	p[x].state = s; p[x].ended = true; p[x].endSent = false; p[x].relayed = false; p[x].attempt = 0
}

inline obey(x, d) {
	if
	:: d == Undecided || p[x].ended || heedless(x)
	:: d == Aborted && asSource(x) -> become(x, Live);
#ifdef HAND_OVER_BEHIND_END
		p[x].buffer = p[x].buffer | kept; kept = 0;
#endif
		skip
	:: d == Commit && asSource(x) -> drop(x); rest(x, Retired)
	:: d == Commit && p[x].state == Replaying && !heedless(x) -> goLive()
	:: d == Aborted && asTarget(x) || d == Commit && p[x].state == Restored && !heedless(x) -> drop(x); rest(x, Void)
	:: p[x].state == Held && !heedless(x) -> hold(x, d)
	:: else
	fi
}

/* COMMIT stands and this copy has written it: its pod is the state's home. The
 * fence of a takeover is let go: from now on a source that comes back finds
 * COMMIT when it looks. */
inline goLive() {
	must(p[B].takeover > 0 && endAt == NONE || p[B].applied == endAt, missed);
	must(COUNT(ACKED) <= p[B].applied || behindEnd, lost);
#ifdef SEQUENTIAL
	everLive = true;
#endif
	become(B, Live);
	p[B].commits = false; p[B].takeover = 0;
	token = false;
	if :: fence == 1 -> fence = 0 :: else fi
}

/* A state without anything in hand: what it was is of no more interest. */
inline rest(x, s) {
	become(x, s);
	p[x].running = false; p[x].applied = 0; p[x].outputs = 0; p[x].published = 0; p[x].done = 0;
	p[x].commits = false; p[x].takeover = 0; p[x].fresh = false
}

/* A process that started in a place that is held. */
inline hold(x, d) {
	if
	:: d == Undecided
	:: (x) == A && d == Aborted || (x) == B && d == Commit -> beginFresh(x)
	:: (x) == A && d == Commit -> drop(x); rest(x, Retired)
	:: (x) == B && d == Aborted -> drop(x); rest(x, Void)
	fi
}

/* Its state is that of its ordinary image: what the process before it had
 * acknowledged is lost with that process, which no hand-over can help. */
inline beginFresh(x) {
#ifdef SEQUENTIAL
	must((x) == A || decision != Commit || everLive || !managed, lost); /* it is still to be restored */
#endif
	become(x, Live);
	p[x].applied = COUNT(ACKED); p[x].outputs = p[x].applied; p[x].published = p[x].applied; p[x].done = p[x].applied
}

inline begin(x) {
	m = 1;
	do
	:: m < N && !(p[x].buffer & (1 << m)) -> m++
	:: else -> break
	od;
	p[x].buffer = p[x].buffer & ~(1 << m);
	must(m > p[x].applied, twice);
	must(m == p[x].applied + 1, disorder);
	p[x].running = true;
	m = 0
}

inline settle(x) {
	p[x].done++;
	if :: !relays(x) && p[x].published < p[x].done -> p[x].published = p[x].done :: else fi;
	if :: at[p[x].done] == ON(x) -> at[p[x].done] = ACKED :: else fi
}

#ifdef OUTPUTS
#define handledOutputs(x) skip
byte sent[N + 1]; /* outputs at the broker, of each message */
#else
#define handledOutputs(x) p[x].outputs = p[x].applied
#endif

#ifdef ACK_BEFORE_RELAY
#define settles(x) (p[x].done < p[x].outputs)
#define writes(x)  (relays(x) && p[x].published < p[x].outputs)
#define flushed(x) (!p[x].running && p[x].done == p[x].applied && p[x].published == p[x].applied)
#else
#define settles(x) (relays(x) -> p[x].done < p[x].published && (!p[x].returned || p[x].done < top) : p[x].done < p[x].outputs)
#define writes(x)  (relays(x) && p[x].published < p[x].outputs)
#define flushed(x) (!p[x].running && p[x].done == p[x].applied)
#endif

#define connects(x) (alive(x) && p[x].state != Void && p[x].state != Retired)

#ifdef NO_HOLD
#define greet(x) if :: p[x].state == Held -> beginFresh(x) :: else fi
#else
#define greet(x) if :: p[x].state == Held && removed -> beginFresh(x) :: else fi
#endif

proctype instance(byte me) {
end:	do
	/* Connecting: the control queue is declared before the decision is read, and
	 * the decision is obeyed before anything else is done. A refused connection
	 * ends, and the next one comes no further. */
#ifdef LOOK_BEFORE_FENCE
	:: d_step { p[me].conn == Off && connects(me) -> p[me].conn = Dialled; p[me].knows = decision }
	:: d_step { p[me].conn == Dialled && connects(me) && refused(me) && p[me].knows != decision -> p[me].knows = decision }
	:: d_step { p[me].conn == Dialled && connects(me) && !refused(me) -> p[me].conn = Up; obey(me, p[me].knows); p[me].knows = Undecided }
#else
	:: d_step { p[me].conn == Off && connects(me) && !refused(me) -> p[me].conn = Up; greet(me); obey(me, decision) }
#endif

	/* The decision is read: after a hint of the manager, or by itself at the end
	 * of a lease, or by polling (Frozen, Held). */
	:: d_step { up(me) && decision != Undecided && !p[me].ended && !heedless(me) && (asSource(me) || asTarget(me) || p[me].state == Held && !removed) -> obey(me, decision) }
	/* The marks are removed: there is no hold any more. */
	:: d_step { up(me) && p[me].state == Held && removed -> beginFresh(me) }
	/* Giving up: a lease or a deadline has ended. */
	:: d_step { up(me) && open(Aborted) && leaseEnds(me) -> write(Aborted) }
#ifdef SEQUENTIAL
	/* … of a copy that finds COMMIT. */
	:: d_step { up(me) && asTarget(me) && heedless(me) && leaseEnds(me) -> drop(me); rest(me, Void) }
#endif

	/* The messages in hand. */
	:: d_step { mayBegin(me) && !p[me].running && p[me].buffer != 0 -> begin(me) }
	:: d_step { p[me].running -> p[me].running = false; p[me].applied++; handledOutputs(me) }
#ifdef OUTPUTS
	:: d_step { up(me) && owner(me) && p[me].outputs < p[me].applied -> p[me].outputs++; sent[p[me].outputs]++ }
#endif
	:: d_step { up(me) && writes(me) -> must(me == A, trespass); p[me].published++; if :: p[me].returned -> skip :: else -> append(p[me].published) fi }
	:: d_step { up(me) && (owner(me) || p[me].state == Frozen) && settles(me) -> settle(me) }
	/* An entry was returned: those behind it are of no use to any reader, and
	 * everything unconfirmed is published again, on another connection. */
	:: d_step { up(me) && p[me].returned -> drop(me) }
	od
}
