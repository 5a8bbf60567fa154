/* The hand-over of MS2M as a model for spin. README.md says what it covers and
 * how to run it; ../protocol.md and sdk/handover are what it describes.
 *
 * Two places, each with at most one process: p[A] is the source's pod, p[B] the
 * target's. Both run the same program, as in reality. Everything else (the
 * manager, faults, the broker's own doings) is free to do what it may at any
 * moment, in any order: a model of the worst, not of the usual.
 *
 * A state is a number. Message m is to be the m-th one applied, in every
 * instance; that is asserted at each application, so "applied = k" says that
 * the state is that of the messages 1 to k, each once and in order. */

#ifndef N
#define N 3             /* messages in the primary queue */
#endif
#ifndef PREFETCH
#define PREFETCH 2      /* messages in flight */
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 1      /* checkpoints of the migration */
#endif
#ifndef FREEZES
#define FREEZES 1       /* FREEZEs of the migration */
#endif
#ifndef COPIES
#define COPIES 2        /* copies of one image, in a sequential migration */
#endif
#ifndef FAULTS
#define FAULTS 0        /* faults, of the kinds that are switched on (faults.pml) */
#endif

#define A 0
#define B 1

mtype:state = {
	Absent, Crashed, /* no pod; a pod without a process */
	Held, Live, Draining, Paused, Relaying, Finishing, Frozen, Retired,
	Restored, Replaying, Void
};
mtype:decision = { Undecided, Commit, Aborted };
mtype:conn = { Off, Dialled, Up };

typedef Instance {
	mtype:state state;
	bool fresh;             /* began from its ordinary image, after a crash */
	/* its connection */
	mtype:conn conn;
#ifdef LOOK_BEFORE_FENCE
	mtype:decision knows;   /* what it read while dialling */
#endif
	bool consuming;         /* of the primary */
	byte buffer;            /* received and not begun: a set of messages */
	/* its items: done <= published <= outputs <= applied */
	bool running;           /* a handler runs: on message applied+1 */
	byte applied;           /* the state, and its number */
	byte outputs;           /* outputs confirmed up to this number */
	byte published;         /* entries written on this connection, or confirmed */
	byte done;              /* settled and out of hand */
	/* as a source */
	bool relayed;           /* Draining: came from Relaying */
	byte attempt;
	bool ended;             /* the migration is over for this instance */
	bool returned;          /* an entry was, on this connection */
	bool endSent, endOut;   /* END_REPLAY may be written; is on its way now */
	/* as a target */
	bool commits;           /* has read END_REPLAY: COMMIT is to be written */
	byte takeover           /* TAKEOVER was heard, see target.pml */
}
Instance p[2];

bool managed = true;            /* a manager lives */
byte budget = FAULTS;

/* What went wrong, by kind: spin names the one whose assertion fails. */
bool overlap, twice, disorder, lost, gap, behind, trespass, stuck, unsettled, missed, unsent, doubled, happens;
inline must(condition, kind) {
	if
	:: condition
	:: else -> kind = true; assert(!kind)
	fi
}
hidden byte m; /* scratch: of no meaning between two steps */

#define alive(x)   (p[x].state != Absent && p[x].state != Crashed)
#define owner(x)   (p[x].state == Live || p[x].state == Draining || p[x].state == Paused || p[x].state == Relaying || p[x].state == Finishing)
#define asSource(x) (owner(x) && p[x].state != Live || p[x].state == Frozen)
#define asTarget(x) (p[x].state == Restored || p[x].state == Replaying)
#define up(x)      (p[x].conn == Up)

#include "rules.pml"
#include "broker.pml"
#include "instance.pml"
#include "source.pml"
#include "target.pml"
#include "manager.pml"
#include "faults.pml"
#include "invariants.pml"

init {
	atomic {
		p[A].state = Live;
		p[B].state = Absent;
		p[A].conn = Off;
		p[B].conn = Off;
#ifdef LOOK_BEFORE_FENCE
		p[A].knows = Undecided;
		p[B].knows = Undecided;
#endif
		run instance(A);
		run instance(B);
		run source(A);
#ifdef COPY_DOES_NOT_LOOK
		run source(B);
#endif
		run target();
		run manager();
		run broker();
#if FAULTS > 0
		run faults();
#endif
#ifdef REACHES
		run witness();
#endif
#ifndef LTL
		run judge();
#endif
		skip
	}
}
