/* What goes wrong. A fault of a kind that is switched on (-D) may happen at any
 * moment, as often as the budget (-DFAULTS=n) allows. */

#define attached(x) (up(x) && connects(x))

/* The connection of x is lost while the process lives. What the broker has
 * done already and the process does not know of shows as choices: an
 * acknowledgement that was sent and lost, outputs without their confirm. */
inline lose(x) {
	if
	:: true
	:: settles(x) && owner(x) -> p[x].done++; if :: !relays(x) && p[x].published < p[x].done -> p[x].published = p[x].done :: else fi
#ifdef OUTPUTS
	:: owner(x) && p[x].outputs < p[x].applied -> sent[p[x].outputs + 1]++
#endif
	fi
}

/* … and the broker does not notice: what was on its way may still come. */
inline halfOpen(x) {
	half[x] = true; halfConsumes[x] = p[x].consuming;
	if
	:: true
	:: owner(x) && settles(x) && relays(x) -> late[x] = Ack; p[x].done++; lateNumber[x] = p[x].done
	:: writes(x) && !p[x].returned -> late[x] = Entry; lateNumber[x] = p[x].published + 1
	:: p[x].state == Finishing && flushed(x) && released(x) && !p[x].endOut && !p[x].returned -> late[x] = End; lateNumber[x] = p[x].applied; p[x].endSent = true
	:: p[x].state == Replaying && p[x].commits -> late[x] = CommitFrame
#ifdef SEQUENTIAL
	:: p[x].state == Frozen -> late[x] = CommitFrame
#endif
	fi;
	move(ON(x), OLD(x));
	if :: (x) == B && fence == 1 -> fence = 2 :: else fi
}

/* The process is gone, and the pod's container may be started again, or never. */
inline crash(x) {
	forget(x);
	rest(x, Crashed);
	p[x].ended = false
}

#ifdef NOT_MANDATORY
#define RETURNS skip
#else
#define RETURNS p[A].returned = true
#endif

#if FAULTS > 0
proctype faults() {
end:	do
#ifdef LOSS
	:: atomic { budget > 0 && attached(A) -> budget--; lose(A); drop(A) }
	:: atomic { budget > 0 && attached(B) -> budget--; lose(B); drop(B) }
#endif
#ifdef HALF_OPEN
	:: atomic { budget > 0 && attached(A) && !half[A] -> budget--; halfOpen(A); forget(A) }
	:: atomic { budget > 0 && attached(B) && !half[B] -> budget--; halfOpen(B); forget(B) }
#endif
#ifdef RETURNED
	/* The broker returns a publishing to the replay queue. (It also confirms it:
	 * who does not ask for the return never knows.) */
	:: d_step { budget > 0 && up(A) && writes(A) && !p[A].returned -> budget--; p[A].published++; RETURNS }
	:: d_step { budget > 0 && up(A) && p[A].state == Finishing && flushed(A) && released(A) && !p[A].endOut && !p[A].returned ->
		budget--; p[A].endSent = true; p[A].endOut = true; RETURNS }
#endif
#ifdef CRASH_SOURCE
	:: atomic { budget > 0 && alive(A) && crashes -> budget--;
		if
		:: drop(A)
#ifdef HALF_OPEN
		:: up(A) && !half[A] -> halfOpen(A)
#endif
		fi;
		crash(A) }
	:: d_step { p[A].state == Crashed -> p[A].state = Held; p[A].fresh = true }
	:: d_step { p[A].state == Crashed -> p[A].state = Absent }
#endif
#ifdef CRASH_TARGET
	:: atomic { budget > 0 && alive(B) -> budget--;
		if
		:: drop(B)
#ifdef HALF_OPEN
		:: up(B) && !half[B] -> halfOpen(B)
#endif
		fi;
		crash(B) }
	:: d_step { p[B].state == Crashed -> p[B].state = Held; p[B].fresh = true }
	:: d_step { p[B].state == Crashed -> p[B].state = Absent; restored = ATTEMPTS }
#endif
	od
}
#endif
