/* SPDX-License-Identifier: BSD-3-Clause */
/* table_copy -- tables of a space's own: a copy of one that is shared, and one in place of a huge page. */
#include "table.h"

#define UNEVEN 8 /* so many steps between the counts of a huge page's frames: as many log lines */

/* Steps from neighbour to neighbour between the counts of a huge page's frames, of which relatives have
 * copied parts; at most UNEVEN + 1. */
static unsigned leaf_steps(const struct pmpt_tx *tx, uint64_t entry, unsigned level)
{
	uint64_t pfn = entry_pfn(entry);
	unsigned steps = 0;

	for (uint64_t i = 0; i < level_bytes(level) >> FRAME_SHIFT && steps <= UNEVEN;
	     i += GROUP_FRAMES) {
		const struct group *g = frames_group(&tx->pool->frames, pfn + i);

		for (unsigned k = 1; g && k < g->n_frames; k++)
			steps += word_load(&g->desc[k]) != word_load(&g->desc[k - 1]);
	}
	return steps <= UNEVEN ? steps : UNEVEN + 1;
}

/* More steps than this are too many, in a table whose huge pages have steps[].  Where together they would
 * fill half of a log's half: so few that there is room for the other tables on the way, too. */
static unsigned steps_most(const struct pmpt_tx *tx, const uint8_t steps[FRAME_WORDS])
{
	uint32_t half = tx->pool->wal.half_lines, each = half / FRAME_WORDS, lines = 0;

	for (unsigned i = 0; i < FRAME_WORDS; i++)
		lines += steps[i] && steps[i] <= UNEVEN ? steps[i] + 1u : 0;
	if (lines <= half / 2)
		return UNEVEN;
	return each <= 4 ? 0 : each < 4 + UNEVEN ? each - 4 : UNEVEN;
}

/* A table of a huge leaf's parts, which has a reference of each frame in place of the leaf [F4]. */
static int leaf_split(struct pmpt_tx *tx, uint64_t entry, unsigned level, uint64_t *link)
{
	uint64_t part[FRAME_WORDS],
		pfn = 0, stride = entry_is_reservation(entry) ? 0 : level_bytes(level - 1);
	int rc = tx_fresh_table(tx, true, &pfn);

	part[0] = level == 2 ? entry & ~ENTRY_PS : entry;
	for (unsigned i = 1; i < FRAME_WORDS; i++)
		part[i] = part[i - 1] + stride;
	if (!rc)
		rc = tx_set_entries(tx, pfn, 0, FRAME_WORDS, part);
	*link = pfn << FRAME_SHIFT | ENTRY_LINK;
	return rc;
}

/* Huge pages with uneven counts are not counted up frame by frame, which could be more than the log
 * takes: they become tables, and those are shared. */
static int uneven_split(struct pmpt_tx *tx, uint64_t *entry, unsigned level)
{
	uint8_t steps[FRAME_WORDS] = { 0 };
	unsigned most;
	int rc = 0;

	if (level != 2 && level != 3)
		return 0;
	for (unsigned i = 0; i < FRAME_WORDS; i++) {
		if (entry_is_page(entry[i], level) && !(entry[i] & ENTRY_EXT) && entry[i] & ENTRY_P)
			steps[i] = (uint8_t)leaf_steps(tx, entry[i], level);
	}
	most = steps_most(tx, steps);
	for (unsigned i = 0; i < FRAME_WORDS && !rc; i++) {
		if (steps[i] > most)
			rc = leaf_split(tx, entry[i], level, &entry[i]);
	}
	return rc;
}

int table_copy(struct pmpt_tx *tx, uint64_t pfn, unsigned level, uint64_t *copy)
{
	uint64_t entry[FRAME_WORDS], shared[FRAME_WORDS];
	unsigned used = 0;
	int rc;

	tx_entries(tx, pfn, 0, FRAME_WORDS, entry);
	rc = uneven_split(tx, entry, level);
	if (rc)
		return rc;
	for (unsigned i = 0; i < FRAME_WORDS; i++) {
		shared[i] = rule_on(RULE_F6_SHARE) ? entry_share(entry[i]) : entry[i];
		used += entry[i] != 0;
	}
	rc = tx_fresh_table(tx, used > FRAME_WORDS / 2, copy);
	if (!rc)
		rc = tx_set_entries(tx, *copy, 0, FRAME_WORDS, shared);
	if (!rc)
		rc = tx_copied(tx, pfn);
	if (!rc)
		rc = tx_set_entries(tx, pfn, 0, FRAME_WORDS, shared);
	return rc ? rc : entries_count(tx, entry, FRAME_WORDS, level, 1);
}

int table_split(struct pmpt_tx *tx, const struct path *p)
{
	uint64_t link = 0;
	int rc = leaf_split(tx, table_entry(tx, p), p->level, &link);

	return rc ? rc : table_set(tx, p, link);
}
