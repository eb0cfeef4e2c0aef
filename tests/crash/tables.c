/* SPDX-License-Identifier: BSD-3-Clause */
/* tables -- see tables.h. */
#include "tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "check.h"

uint64_t probe[2][PROBES];
uint64_t state[2][STATES][PROBES];
uint64_t pattern;
struct pmpt_pool *pool;
struct pmpt_space *space;
static char wrong[300];

/* The leaf frame of va in an image, by a walk of our own. */
uint64_t image_frame(const struct region *rg, uint64_t va)
{
	const struct space_record *r = region_at(rg, region_sb(rg)->directory);
	uint64_t table = word_load(&r->root);

	if ((word_load(&r->state) & 0xff) != SPACE_LIVE)
		return 0;
	for (unsigned level = 4; level >= 1; level--) {
		uint64_t e = word_load((pm_word *)region_at(rg, table) + level_index(va, level));

		if (entry_is_leaf(e, level))
			return entry_pfn(e) + ((va & (level_bytes(level) - 1)) >> FRAME_SHIFT);
		if (!entry_is_table(e, level) || entry_pfn(e) << FRAME_SHIFT >= rg->bytes)
			return 0;
		table = e & ENTRY_PFN;
	}
	return 0;
}

static bool is_state(const struct region *rg, unsigned actor, unsigned n)
{
	for (unsigned i = 0; i < PROBES; i++) {
		uint64_t want = state[actor][n][i],
			 have = probe[actor][i] ? image_frame(rg, probe[actor][i]) : 0;

		if (probe[actor][i] && (want == ANY_FRAME ? !have : have != want))
			return false;
	}
	return true;
}

static bool pattern_ok(const struct region *rg)
{
	uint64_t pfn = pattern ? image_frame(rg, PATTERN_VA) : 0;
	const pm_word *w = region_at(rg, pfn << FRAME_SHIFT);

	for (unsigned i = 0; i < 8 && pfn; i++) {
		if (word_load(&w[i]) != pattern)
			return false;
	}
	return true;
}

static void finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	snprintf(wrong, sizeof(wrong), "verifier: %s at %#lx: %s", f->rule, f->offset, f->message);
}

const char *check_tables(struct region *rg, const struct history *h)
{
	struct pmpt_check summary = { 0 };
	struct check_options o = { .finding = finding };

	wrong[0] = 0;
	if (check_region(rg, &test_mem, &o, &summary))
		return pmpt_errormsg();
	if (summary.findings)
		return wrong;
	if (!pattern_ok(rg))
		return "the data page does not hold what was stored in it before it was mapped";
	for (unsigned a = 0; a < 2; a++) {
		if (!is_state(rg, a, h->step[a]) &&
		    !(h->open[a] && is_state(rg, a, h->step[a] + 1))) {
			int at = snprintf(wrong, sizeof(wrong), "actor %u after %u calls%s:", a,
					  h->step[a], h->open[a] ? ", one under way" : "");

			for (unsigned i = 0; i < PROBES && probe[a][i]; i++)
				at += snprintf(wrong + at, sizeof(wrong) - (size_t)at,
					       " %#lx->%#lx", probe[a][i],
					       image_frame(rg, probe[a][i]));
			return wrong;
		}
	}
	return NULL;
}

void core_start(struct region *rg)
{
	memset(probe, 0, sizeof(probe));
	memset(state, 0, sizeof(state));
	pattern = 0;
	assert_int_equal(core_open(rg, PMPT_OPEN_NO_GROW, &pool), 0);
	assert_int_equal(pmpt_space_create(pool, "s", &space), 0);
}

/* Frames zeroed ahead take part: two checkpoints' worth. */
void core_start_zeroed(struct region *rg)
{
	core_start(rg);
	assert_int_equal(pmpt_checkpoint(pool), 0);
}

void core_end(void)
{
	pmpt_space_close(space);
	pm_observer = NULL; /* the end is not part of the program */
	assert_int_equal(core_close(pool, false), 0);
}
