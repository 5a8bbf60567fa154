/* What binds those who command and those who wait. */

/* The managers' memory, which is Kubernetes'. */
byte freezes;           /* FREEZEs so far */
byte imageAttempt;      /* the attempt of the last image, 0: none */
byte imageNumber;       /* its position */
mtype:state imageState; /* in which it was taken: good if Paused */
byte restored;          /* the attempt of the last copy */

/* The source's process is proven gone: its pod has none, or another one speaks. */
#define newcomerSpeaks (p[A].fresh && p[A].state == Held && up(A))
#ifdef UNPROVEN
#define sourceDead true /* a pod that was deleted by force on a node that nobody reaches */
#else
#define sourceDead (p[A].state == Crashed || p[A].state == Absent || p[A].fresh)
#endif

#ifdef COPY_DOES_NOT_LOOK
#define wakes imageState
#else
#define wakes (imageState == Paused -> Restored : Void)
#endif

/* Holds and decision are removed last: when the loser is gone or has obeyed,
 * and the winner has said that it is Live. */
bool removed;
mtype:decision outcome = Undecided; /* … and what stood there */
#ifdef MARKS_TOO_EARLY
#define marksOver (decision == Aborted && p[A].state == Live && p[B].state == Absent || decision == Commit && p[A].state == Absent)
#else
#define marksOver (decision == Aborted && p[A].state == Live && p[B].state == Absent || \
	decision == Commit && p[A].state == Absent && (p[B].state == Live || p[B].state == Absent))
#endif

/* The target goes when ABORT is won, or when it has said that it is Void. */
#ifdef KILL_BEFORE_ABORT
#define removable (p[B].state != Absent)
#else
#define removable (p[B].state != Absent && (decision == Aborted || p[B].state == Void && decision == Undecided))
#endif

#ifdef HELD_TARGET_WAITS
#define heldGivesUp(x) ((x) == A)
#else
#define heldGivesUp(x) true
#endif

#ifdef PATIENT
/* Nobody's patience ends without a cause that no waiting can mend, so that the
 * hand-over has to succeed otherwise. */
#define expires false
#define resumes(x) (imageAttempt == p[x].attempt)
#define inTime (p[A].state == Paused)
#define leaseEnds(x) false
#define gone(x) (p[x].state == Crashed || p[x].state == Absent || p[x].fresh)
#define trouble (gone(A) && imageAttempt == 0 || restored == ATTEMPTS && p[B].state != Live && !asTarget(B))
#define managerGivesUp trouble
#define crashes (imageAttempt > 0)
#else
/* Every deadline may pass at any moment, every manager may end at any moment. */
#define expires true
#define resumes(x) true
#define inTime asSource(A)
#ifdef NO_LEASE
#define leaseEnds(x) (p[x].state == Held)
#else
#define leaseEnds(x) (p[x].state == Relaying || p[x].state == Finishing || p[x].state == Frozen || asTarget(x) || \
	p[x].state == Held && heldGivesUp(x))
#endif
#define managerGivesUp true
#define crashes true
#endif

/* Who may open a consumer, and who has one. Draining, Paused and Finishing keep
 * the consumer that they have, and open none. */
#define mayBegin(x) (p[x].state == Live || p[x].state == Relaying)
#ifdef NO_WITNESS
#define witnessed true
#else
#define witnessed (COUNT(BACK) == 0)
#endif
#define mayTake(x) (mayBegin(x) && witnessed || p[x].consuming)
