/* The broker, RabbitMQ as it behaves. */

/* The primary queue: where each message is. What a connection held goes back
 * to its old place when the connection ends, so the lowest message that is
 * ready is always the next. */
#define READY  0
#define ON(x)  (1 + (x))        /* unacknowledged on the connection of x */
#define OLD(x) (3 + (x))        /* … on a lost one that the broker still keeps */
#define ACKED  5
#define BACK   6                /* its channel has ended, the queue has not noticed yet */
byte at[N + 1];                 /* at[0] is not used */

#if N == 3
#define FIRST(w) (at[1] == (w) -> 1 : (at[2] == (w) -> 2 : (at[3] == (w) -> 3 : 0)))
#define COUNT(w) ((at[1] == (w)) + (at[2] == (w)) + (at[3] == (w)))
#elif N == 4
#define FIRST(w) (at[1] == (w) -> 1 : (at[2] == (w) -> 2 : (at[3] == (w) -> 3 : (at[4] == (w) -> 4 : 0))))
#define COUNT(w) ((at[1] == (w)) + (at[2] == (w)) + (at[3] == (w)) + (at[4] == (w)))
#endif

inline move(from, to) {
	m = 1;
	do
	:: m <= N -> if :: at[m] == from -> at[m] = to :: else fi; m++
	:: else -> break
	od;
	m = 0
}

/* Lost connections that the broker has not noticed (half-open): it keeps what
 * they hold, goes on delivering to them, and may still find a frame that was
 * on its way. At most one for each place: the next connection cannot pass the
 * exclusive control queue while the broker keeps it. */
mtype:frame = { Nothing, Ack, Entry, End, CommitFrame };
bool half[2];                   /* there is such a connection */
bool halfConsumes[2];
mtype:frame late[2];            /* … and a frame on its way */
byte lateNumber[2];

/* The replay queue is a stream. Entries come in the order of their numbers,
 * and what is written again (after a lost confirm) has a number that was there
 * before: a reader skips it wherever it starts. So the stream is told by the
 * number of its last entry, and every writing asserts that this is so. */
#define NONE 255
byte top;                       /* the last entry */
byte endAt = NONE;                /* the number of END_REPLAY */
bool token;                     /* END_REPLAY of the takeover's present session */

inline append(n) {
	must(n <= top + 1, gap);
	must(endAt == NONE || n <= endAt, behind);      /* nothing new behind END_REPLAY */
	if :: n > top -> top = n :: else fi
}
inline appendEnd(n) {
#ifndef BIND_BEFORE_CHECKPOINT
	must(n == top && (endAt == NONE || endAt == n), gap);
#endif
	endAt = n
}

#ifdef BIND_BEFORE_CHECKPOINT
/* As published: a second queue, bound to the producers' exchange before the
 * checkpoint. It gets every message from this one on, and no numbers. */
byte bound;
byte cursor;
#endif

#define behindEnd false
#ifdef HAND_OVER_BEHIND_END
#undef behindEnd
#define behindEnd (handed != 0)
byte handed, kept; /* sets of messages: on their way to the target; remembered by the source, should it go on */
#endif

/* The decision: a register that is written once. */
mtype:decision decision = Undecided;
#ifdef TWO_DECISIONS
#define open(d) (decision != d)
#else
#define open(d) (decision == Undecided)
#endif
inline write(d) { if :: open(d) -> decision = d :: else fi }

/* The exclusive control queue of the source's pod can be held by the target as
 * a fence: 1 by its connection, 2 by a lost one that the broker still keeps. */
byte fence;

#ifdef NO_CONTROL_QUEUE
#define refused(x) false
#else
#define refused(x) (half[x] || (x) == A && fence > 0)
#endif

/* Nobody else may have a consumer or hold a message when x takes one. */
#define otherTakes(x) (p[1 - (x)].consuming || half[A] && halfConsumes[A] || half[B] && halfConsumes[B] || \
	COUNT(ON(1 - (x))) > 0 || COUNT(OLD(A)) > 0 || COUNT(OLD(B)) > 0)

#define deliverable(x) (up(x) && mayTake(x) && COUNT(ON(x)) < PREFETCH && FIRST(READY) > 0)
#define toLost(x) (half[x] && halfConsumes[x] && COUNT(OLD(x)) < PREFETCH && FIRST(READY) > 0)

inline deliver(x) {
	must(!otherTakes(x), overlap);
	must(owner(x) || p[x].state == Frozen, trespass);
	p[x].consuming = true;
	m = FIRST(READY);
	if
#ifndef NO_IDENTITIES
	:: m <= p[x].done -> at[m] = ACKED
	:: m > p[x].done && (m <= p[x].applied || p[x].running && m == p[x].applied + 1) -> at[m] = ON(x)
#endif
	:: else -> at[m] = ON(x); p[x].buffer = p[x].buffer | (1 << m)
	fi;
	m = 0
}

inline arrive(x) {
	if
	:: late[x] == Ack -> if :: at[lateNumber[x]] == OLD(x) -> at[lateNumber[x]] = ACKED :: else fi
	:: late[x] == Entry -> append(lateNumber[x])
	:: late[x] == End -> appendEnd(lateNumber[x])
	:: late[x] == CommitFrame -> write(Commit)
	:: else
	fi;
	late[x] = Nothing; lateNumber[x] = 0
}

inline notice(x) {
	half[x] = false; halfConsumes[x] = false; late[x] = Nothing; lateNumber[x] = 0;
	move(OLD(x), BACK);
	if :: (x) == B && fence == 2 -> fence = 0; token = false :: else fi
}

proctype broker() {
end:	do
	/* It delivers to a consumer. A redelivery that is in hand becomes the item's,
	 * one that is finished is settled again as its outcome says. */
	:: d_step { deliverable(A) -> deliver(A) }
	:: d_step { deliverable(B) -> deliver(B) }
	/* The queue takes the consumer off and the messages back, in one step. So the
	 * number of consumers is a witness, and who waits for it gets them in order. */
	:: d_step { COUNT(BACK) > 0 -> move(BACK, READY) }
#ifdef HALF_OPEN
	:: d_step { toLost(A) -> m = FIRST(READY); at[m] = OLD(A); m = 0 }
	:: d_step { toLost(B) -> m = FIRST(READY); at[m] = OLD(B); m = 0 }
	:: d_step { half[A] && late[A] != Nothing -> arrive(A) }
	:: d_step { half[B] && late[B] != Nothing -> arrive(B) }
	/* It notices at last (heartbeats missed). */
	:: d_step { half[A] -> notice(A) }
	:: d_step { half[B] -> notice(B) }
#endif
	od
}
