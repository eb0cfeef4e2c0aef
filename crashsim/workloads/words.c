/* SPDX-License-Identifier: BSD-3-Clause */
/* words -- see words.h. */
#include "words.h"

#include <string.h>

#include "hooks.h"
#include "replay.h"

struct wal words_wal;

static pm_word *home(const struct region *rg, unsigned word)
{
	return &((struct space_record *)region_at(rg, region_sb(rg)->directory))[word].user[6];
}

/* ---- setup ------------------------------------------------------------------------------------- */

static uint64_t step; /* of lsn_limit */

static void replay_words(void *pm)
{
	struct pmpt_recovery report;

	bridge_images();
	MUST(replay(bridge_region(pm), &bridge_mem, step, &report));
}

static void setup(void *pm, const struct shape *shape, uint64_t lsn_step)
{
	bridge_format(pm, shape);
	step = lsn_step;
	words_reopen(pm);
}

void words_reopen(void *pm)
{
	replay_words(pm);
	MUST(wal_open(&words_wal, bridge_region(pm), &bridge_mem));
	words_wal.lsn_step = step;
	words_wal.lsn_slack = step / 2;
}

void words_setup(void *pm) { setup(pm, &(struct shape){ .spaces = WORDS }, LSN_STEP); }
void words_setup_limit(void *pm) { setup(pm, &(struct shape){ .spaces = WORDS }, 4); }
void words_setup_lanes(void *pm)
{
	setup(pm, &(struct shape){ .half_lines = 4, .bulk_lines = 8, .spaces = WORDS }, LSN_STEP);
}

void words_setup_small(void *pm)
{
	setup(pm, &(struct shape){ .lanes = 1, .half_lines = 4, .bulk_lines = 8, .spaces = WORDS },
	      LSN_STEP);
}

/* ---- run --------------------------------------------------------------------------------------- */

void words_start(void) { bridge_rules(); }

void words_stop(void) { wal_close(&words_wal); }

static void announce(unsigned actor, unsigned n, const struct set *set)
{
	for (unsigned i = 0; i < n; i++)
		crashsim_note(16 + 8 * actor + 1 + i, (uint64_t)set[i].word << 32 | set[i].value);
	crashsim_note(16 + 8 * actor, n);
}

static void returned(unsigned actor, unsigned n, const struct set *set)
{
	for (unsigned i = 0; i < n; i++)
		crashsim_note(set[i].word, set[i].value);
	crashsim_note(16 + 8 * actor, 0);
	hook_returned(actor);
}

static void as_words(unsigned n, const struct set *set, struct wal_word *w)
{
	for (unsigned i = 0; i < n; i++) {
		pm_word *at = home(words_wal.rg, set[i].word);

		w[i] = (struct wal_word){ region_off(words_wal.rg, at) | WHERE_DIR, word_load(at),
					  set[i].value };
	}
}

static void commit(struct wal *wal, unsigned hint, unsigned n, const struct set *set)
{
	struct wal_word w[8];
	struct wal_lane *lane;
	uint64_t lsn;

	as_words(n, set, w);
	MUST(wal_lane_take(wal, hint, wal_lines(w, n), &lane));
	MUST(wal_commit(wal, lane, w, n, wal_lines(w, n), &lsn));
	wal_lane_give(lane);
}

void redo(unsigned actor, unsigned hint, unsigned n, const struct set *set)
{
	announce(actor, n, set);
	commit(&words_wal, hint, n, set);
	returned(actor, n, set);
}

void redo1(unsigned actor, unsigned hint, unsigned word, uint32_t value)
{
	redo(actor, hint, 1, &(struct set){ word, value });
}

void checkpoint(void) { MUST(wal_checkpoint(&words_wal)); }

static struct set bulk_all[7];
static unsigned bulk_n;

void bulk_start(void)
{
	MUST(bulk_begin(&words_wal));
	bulk_n = 0;
}

static void bulk_add(unsigned n, const struct set *set, struct wal_word *w)
{
	for (unsigned i = 0; i < n; i++)
		bulk_all[bulk_n++] = set[i];
	as_words(n, set, w);
}

void bulk_set(unsigned n, const struct set *set)
{
	struct wal_word w[8];

	bulk_add(n, set, w);
	MUST(bulk_batch(&words_wal, w, n));
}

void bulk_finish(unsigned n, const struct set *set)
{
	struct wal_word w[8];
	uint64_t lsn;

	bulk_add(n, set, w);
	announce(0, bulk_n, bulk_all);
	MUST(bulk_commit(&words_wal, w, n, &lsn));
	bulk_end(&words_wal);
	returned(0, bulk_n, bulk_all);
}

void bulk_undo(void)
{
	MUST(bulk_abort(&words_wal));
	bulk_end(&words_wal);
	hook_returned(0);
}

/* ---- recover and check --------------------------------------------------------------------------- */

void words_recover(void *pm) { replay_words(pm); }

void words_recover_more(void *pm)
{
	struct region *rg = bridge_region(pm);
	struct wal wal;

	hook_thread = 0;
	replay_words(pm);
	if (word_load(home(rg, 9)) &&
	    (word_load(home(rg, 10)) != 3 || word_load(home(rg, 0)) != 100))
		crashsim_fail("word 0 is %lu, the second phase has made it 100",
			      word_load(home(rg, 0)));
	if (word_load(home(rg, SEEN)))
		return;
	MUST(wal_open(&wal, rg, &bridge_mem));
	wal.lsn_step = words_wal.lsn_step;
	wal.lsn_slack = words_wal.lsn_slack;
	words_wal.rg = rg;
	hook_settle();
	hook_thread = 1; /* whoever is the first, it need not be who has recovered */
	commit(&wal, 0, SETS({ 9, 3 }, { 10, 3 }, { 0, 100 }));
	commit(&wal, 1, SETS({ SEEN, 1 + (uint32_t)word_load(home(rg, 1)) }));
	wal_close(&wal);
}

/* With the transactions in `in`, a bit for each actor, that are committing. */
static bool explained(const uint64_t *value, unsigned in)
{
	uint64_t want[WORDS];

	for (unsigned w = 0; w < WORDS; w++)
		want[w] = crashsim_noted(w);
	for (unsigned a = 0; a < 2; a++) {
		uint64_t n = in >> a & 1 ? crashsim_noted(16 + 8 * a) : 0;

		for (unsigned i = 0; i < n; i++) {
			uint64_t set = crashsim_noted(16 + 8 * a + 1 + i);

			want[set >> 32] = (uint32_t)set;
		}
	}
	if (value[9]) /* the second phase's first transaction */
		want[0] = 100;
	for (unsigned w = 0; w < SEEN; w++) {
		if (value[w] != want[w])
			return false;
	}
	return true;
}

void words_check(void *pm)
{
	struct region *rg = bridge_region(pm);
	uint64_t value[WORDS];
	unsigned in = 0;

	for (unsigned w = 0; w < WORDS; w++) {
		value[w] = word_load(home(rg, w));
		crashsim_outcome(value[w]);
	}
	if (value[9] != value[10] || (value[SEEN] && value[9] != 3))
		crashsim_fail(
			"the second phase's first transaction has returned and is lost, or is "
			"there in part");
	if (value[SEEN] && value[SEEN] != 1 + value[1])
		crashsim_fail("word 1 is %lu, the first recovery made it %lu", value[1],
			      value[SEEN] - 1);
	while (in < 4 && !explained(value, in))
		in++;
	if (in == 4)
		crashsim_fail("words are %lu %lu %lu %lu %lu %lu %lu %lu: no transactions that "
			      "returned, and none or all of each under way, leave that",
			      value[0], value[1], value[2], value[3], value[4], value[5], value[6],
			      value[7]);
}
