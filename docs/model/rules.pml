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

#ifdef SEQUENTIAL
/* The source goes before a copy is there: when COMMIT stands, or its process is
 * proven gone. Copies are made of one image, one after the other, until one has
 * said that it is live; the image, which cannot be tried before, is known to be
 * good. TAKEOVER may come again behind COMMIT: it may be a takeover's. */
byte copies;
bool everLive;
#define freezable (imageAttempt == p[A].attempt)
#define sourceGoes (decision == Commit || decision == Undecided && sourceDead && imageAttempt > 0)
#define copyable (imageAttempt > 0 && p[A].state == Absent && copies < COPIES && decision != Aborted && !everLive)
#ifdef ONE_TAKEOVER
#define mayTakeOver (decision == Undecided)
#else
#define mayTakeOver (decision != Aborted)
#endif
#define logIsWhole (decision == Commit)
/* The replay queue goes before the marks, and is never made again: a source that
 * is led to END_REPLAY by commands that late has it returned, and gives up. If
 * it were confirmed, COMMIT would stand with nobody to restore. */
#ifdef QUEUE_STAYS
#define queueStands true
#else
#define queueStands (!removed)
#endif
#else
#define queueStands true
#define freezable true
#define sourceGoes (decision == Commit)
#define copyable (imageAttempt > restored)
#define mayTakeOver (decision == Undecided)
#define logIsWhole false
#endif

/* What COMMIT does not tell: it is the source's word, not this copy's, nor that
 * of the copy which was in this pod before. */
#if !defined(SEQUENTIAL)
#define copyGoesOn false
#define heldOn false
#elif defined(LIVE_ON_COMMIT)
#define copyGoesOn (p[B].state == Restored)
#define heldOn (managed && !everLive)
#elif defined(VOID_ON_COMMIT)
#define copyGoesOn (p[B].state == Replaying && !p[B].commits)
#define heldOn (managed && !everLive)
#elif defined(START_ON_COMMIT)
#define copyGoesOn (asTarget(B) && !p[B].commits)
#define heldOn false
#else
#define copyGoesOn (asTarget(B) && !p[B].commits)
#define heldOn (managed && !everLive)
#endif
#define heedless(x) ((x) == B && decision == Commit && (copyGoesOn || p[B].state == Held && heldOn))

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
#elif defined(SEQUENTIAL)
#define marksOver (decision == Aborted && p[A].state == Live && p[B].state == Absent || decision == Commit && p[B].state == Live)
#else
#define marksOver (decision == Aborted && p[A].state == Live && p[B].state == Absent || \
	decision == Commit && p[A].state == Absent && (p[B].state == Live || p[B].state == Absent))
#endif

/* The target goes when ABORT is won, or when it has said that it is Void. */
#if defined(SEQUENTIAL)
/* … or the copy's process is gone, or Void: another is made of the image. */
#define removable (p[B].state != Absent && (decision == Aborted || p[B].state == Void || p[B].state == Held && !everLive))
#elif defined(KILL_BEFORE_ABORT)
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
#ifdef SEQUENTIAL
#define trouble (gone(A) && imageAttempt == 0)
#else
#define trouble (gone(A) && imageAttempt == 0 || restored == ATTEMPTS && p[B].state != Live && !asTarget(B))
#endif
#define managerGivesUp trouble
#define crashes (imageAttempt > 0)
#else
/* Every deadline may pass at any moment, every manager may end at any moment. */
#define expires true
#define resumes(x) true
#ifdef SEQUENTIAL
#define inTime (p[A].state == Paused)
#else
#define inTime asSource(A)
#endif
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
