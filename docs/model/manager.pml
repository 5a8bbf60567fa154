/* The managers. What commands they may send stands with their effects, in
 * source.pml and target.pml: any command may come at any moment, however late,
 * from any manager, whatever it knows. What is here is what they do themselves,
 * bound to nothing but the rules that the protocol lays on them. */

proctype manager() {
end:	do
	/* The kubelet takes a checkpoint. It may come at any moment after PREPARE:
	 * what it finds then is in the image. */
	:: d_step { managed && alive(A) && !p[A].fresh && p[A].attempt > imageAttempt && inTime ->
		imageAttempt = p[A].attempt; imageNumber = p[A].applied; imageState = p[A].state }
	/* A target pod with the copy, one for each attempt (sequential: any number of
	 * one image). The copy looks which pod it is in before it does anything else. */
	:: d_step { managed && p[B].state == Absent && copyable && !removed ->
		restored = imageAttempt;
		p[B].attempt = imageAttempt;
		p[B].state = wakes;
		if :: p[B].state == Void -> p[B].ended = true :: else p[B].ended = false; apply(imageNumber) fi;
#ifdef SEQUENTIAL
		copies++ }
#else
		imageNumber = 0; imageState = 0 }
#endif
	/* Giving up, for whatever reason. */
	:: d_step { managed && open(Aborted) && managerGivesUp -> write(Aborted) }
	/* The target goes when ABORT is won, or when it has said that it is Void. */
	:: d_step { managed && removable ->
#ifndef SEQUENTIAL
		must(decision != Commit, lost);
#endif
		drop(B); rest(B, Absent) }
	/* The source goes when COMMIT is read. */
	:: d_step { managed && p[A].state != Absent && sourceGoes -> drop(A); rest(A, Absent) }
#ifdef MARKS
	:: d_step { managed && !removed && marksOver -> removed = true; outcome = decision; decision = Undecided }
#endif
#ifdef BIND_BEFORE_CHECKPOINT
	/* What the source has received came before; of the rest, any part may have. */
	:: atomic { managed && bound == 0 && FIRST(READY) > 0 ->
		bound = FIRST(READY);
		do
		:: bound <= N -> bound++
		:: break
		od;
		cursor = bound }
#endif
#ifndef PATIENT
	:: d_step { managed -> managed = false }
#endif
	od
}
