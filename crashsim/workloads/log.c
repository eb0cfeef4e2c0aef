/* SPDX-License-Identifier: BSD-3-Clause */
/* log -- workloads on the log alone: redo lanes, halves, checkpoint, LSNs; the bulk lane. */
#include "actors.h"
#include "words.h"

#define LOG(ident, what, ...)                                                            \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = WORD_BYTES, .run = ident##_run, \
			  .check = words_check, __VA_ARGS__)

/* ---- redo lanes ---------------------------------------------------------------------------------- */

static void log_redo_run(void *pm)
{
	(void)pm;
	words_start();
	redo1(0, 0, 0, 1);
	redo(0, 0, SETS({ 1, 2 }, { 2, 3 }, { 3, 4 }));
	redo(0, 1, SETS({ 0, 5 }, { 1, 6 }));
	checkpoint();
	redo(0, 0, SETS({ 4, 2 }, { 5, 3 }, { 6, 4 }, { 7, 7 }, { 0, 9 }));
	words_stop();
}
LOG(log_redo, "redo transactions of one to three lines, a checkpoint", .setup = words_setup,
    .recover = words_recover)

static void log_halves_run(void *pm)
{
	(void)pm;
	words_start();
	for (unsigned i = 0; i < 10; i++)
		redo1(0, 0, i % 5, 1 + i);
	/* a dead line in slot 0; a new transaction of two lines, of which only the second may land */
	redo(0, 0, SETS({ 0, 21 }, { 3, 22 }, { 4, 22 }));
	checkpoint();
	redo(0, 0, SETS({ 5, 31 }, { 6, 32 }, { 7, 33 }));
	redo(0, 0, SETS({ 5, 41 }, { 6, 42 }, { 7, 43 }));
	words_stop();
}
LOG(log_halves, "halves full, restarted, over dead lines", .setup = words_setup_small,
    .recover = words_recover, .twice = 1)

/* The newer of two lines on one word lies in a half that is restarted. */
static void log_lanes_run(void *pm)
{
	(void)pm;
	words_start();
	redo1(0, 0, 0, 1);
	redo1(0, 1, 0, 2);
	for (unsigned i = 0; i < 9; i++)
		redo1(0, 1, 1 + i % 5, 2 + i);
	words_stop();
}
LOG(log_lanes, "a half restarted beside an older live line in another lane",
    .setup = words_setup_lanes, .recover = words_recover)

/* ---- LSNs: a second phase behind the first recovery ---------------------------------------------- */

static void log_phases_run(void *pm)
{
	(void)pm;
	words_start();
	redo1(0, 0, 0, 1);
	redo(0, 0, SETS({ 1, 2 }, { 2, 2 }, { 3, 2 }));
	words_stop();
}
LOG(log_phases, "work, crash, work, crash", .setup = words_setup_small,
    .recover = words_recover_more)

/* Two lines of a lost transaction lie where the second phase puts its first two. */
static void log_jump_run(void *pm)
{
	(void)pm;
	words_start();
	redo(0, 0, SETS({ 1, 2 }, { 2, 2 }, { 3, 2 }));
	words_stop();
}
LOG(log_jump, "lines of a lost transaction meet new ones in their slots", .setup = words_setup,
    .recover = words_recover_more)

static void log_limit_run(void *pm)
{
	(void)pm;
	words_start();
	for (unsigned i = 0; i < 6; i++)
		redo1(0, i % 2, 0, 1 + i);
	words_stop();
}
LOG(log_limit, "lsn_limit crossed, crash, work, crash", .setup = words_setup_limit,
    .recover = words_recover_more)

/* ---- the bulk lane ------------------------------------------------------------------------------- */

static void log_bulk_run(void *pm)
{
	(void)pm;
	words_start();
	redo1(0, 0, 0, 7);
	bulk_start();
	bulk_set(SETS({ 0, 5 }));
	bulk_set(SETS({ 1, 5 }, { 2, 5 }));
	bulk_finish(SETS({ 3, 5 }));
	redo1(0, 0, 0, 6);
	words_stop();
}
LOG(log_bulk, "a bulk commit in three batches, over an older redo line", .setup = words_setup,
    .recover = words_recover)

static void log_abort_run(void *pm)
{
	(void)pm;
	words_start();
	redo1(0, 1, 1, 1);
	bulk_start();
	bulk_set(SETS({ 0, 5 }, { 1, 5 }));
	bulk_undo();
	redo1(0, 0, 0, 9);
	bulk_start();
	bulk_set(SETS({ 2, 8 }));
	bulk_undo();
	redo1(0, 0, 2, 3);
	words_stop();
}
LOG(log_abort, "bulk aborts, later commits of the same words, stale lines", .setup = words_setup,
    .recover = words_recover, .twice = 1)

/* The bulk transaction is open at the crash; its word 0 belongs to the second phase. */
static void log_undo_phases_run(void *pm)
{
	(void)pm;
	words_start();
	redo1(0, 0, 1, 1);
	bulk_start();
	bulk_set(SETS({ 0, 5 }, { 1, 5 }));
	bulk_set(SETS({ 2, 5 }));
	bulk_undo();
	words_stop();
}
LOG(log_undo_phases, "a bulk transaction undone by recovery, work, crash", .setup = words_setup,
    .recover = words_recover_more)

/* The log of an older pool lies where the new one has its own. */
static void log_salt_setup(void *pm)
{
	words_setup(pm);
	redo1(0, 0, 0, 1);
	redo1(0, 1, 1, 2);
	words_stop();
	bridge_format_again(pm, WORDS);
	words_reopen(pm);
}
static void log_salt_run(void *pm)
{
	(void)pm;
	words_start();
	redo1(0, 0, 2, 3);
	words_stop();
}
LOG(log_salt, "a pool over the log of an older one", .setup = log_salt_setup,
    .recover = words_recover)

/* ---- two actors ---------------------------------------------------------------------------------- */

#define LOG_PAIR(ident, what, from, back, ...)                                        \
	static void ident##_run(void *pm)                                             \
	{                                                                             \
		actors_explore(pm, &(struct cast){ .begin = begin,                    \
						   .end = words_stop,                 \
						   .actor = { ident##_a, ident##_b }, \
						   __VA_ARGS__ });                    \
	}                                                                             \
	LOG(ident, what, .setup = from, .recover = back)

static void begin(void *pm)
{
	(void)pm;
	words_start();
}

static void two_redos_a(void) { redo(0, 0, SETS({ 1, 2 }, { 2, 2 }, { 3, 2 })); }
static void two_redos_b(void)
{
	redo(1, 1, SETS({ 4, 4 }, { 5, 4 }));
	redo1(1, 0, 4, 5);
}
LOG_PAIR(two_redos, "two lanes at once, then a second phase", words_setup, words_recover_more,
	 .parts = true)

/* A checkpoint that is stopped at each of its steps while a transaction goes on in parts. */
#define redo_in_checkpoint_a checkpoint
static void redo_in_checkpoint_b(void) { redo(1, 0, SETS({ 1, 2 }, { 2, 2 }, { 3, 3 })); }
LOG_PAIR(redo_in_checkpoint, "a transaction inside a checkpoint, in parts", words_setup,
	 words_recover, .parts = true)

static void checkpoint_in_redo_a(void)
{
	redo1(0, 1, 1, 1);
	redo(0, 0, SETS({ 1, 2 }, { 2, 2 }, { 3, 3 }));
}
#define checkpoint_in_redo_b checkpoint
LOG_PAIR(checkpoint_in_redo, "a checkpoint inside transactions, in parts", words_setup,
	 words_recover, .parts = true)

/* One that has read its x stops; another, and halves restarted; then the first stores its x. */
#define checkpoints_a checkpoint
static void checkpoints_b(void)
{
	redo1(1, 1, 1, 1);
	redo1(1, 0, 1, 2);
	checkpoint();
	for (unsigned i = 0; i < 8; i++)
		redo1(1, 0, 2 + i % 2, 10 + i);
}
LOG_PAIR(checkpoints, "two checkpointers, halves restarted between", words_setup_lanes,
	 words_recover, .most = 1)

static void bulk_in_redo_a(void)
{
	bulk_start();
	bulk_set(SETS({ 1, 5 }));
	bulk_finish(SETS({ 2, 5 }));
}
static void bulk_in_redo_b(void)
{
	redo1(1, 0, 4, 4);
	checkpoint();
	redo1(1, 1, 4, 5);
}
LOG_PAIR(bulk_in_redo, "a bulk commit beside redo transactions and a checkpoint", words_setup,
	 words_recover)

static void abort_in_redo_a(void)
{
	bulk_start();
	bulk_set(SETS({ 1, 5 }, { 2, 5 }));
	bulk_undo();
}
#define abort_in_redo_b bulk_in_redo_b
LOG_PAIR(abort_in_redo, "a bulk abort beside redo transactions and a checkpoint", words_setup,
	 words_recover)

/* lsn_limit is raised by one, and the other draws what it allows. */
static void limit_beside_a(void)
{
	for (unsigned i = 0; i < 3; i++)
		redo1(0, 0, 1, 1 + i);
}
static void limit_beside_b(void)
{
	for (unsigned i = 0; i < 4; i++)
		redo1(1, 1, 0, 1 + i);
}
LOG_PAIR(limit_beside, "lsn_limit crossed by two actors, then a second phase", words_setup_limit,
	 words_recover_more, .parts = true)
