/* SPDX-License-Identifier: BSD-3-Clause */
/* lookup -- reading random pages: independent, in a chain, in batches. */
#include <stdlib.h>

#include "machine.h"

#define BATCH 128

struct lookups {
	struct bench_pool bp;
	struct keys keys;
};

static double slice_lookup(void *ctx, unsigned round)
{
	struct lookups *u = ctx;
	uint64_t sum = round, entry;
	double start = now_ns();

	for (size_t i = 0; i < u->keys.n; i++) {
		if (pmpt_lookup(u->bp.space, key_va(&u->keys, i), &entry))
			die("lookup: not mapped");
		sum += entry;
	}
	limits_sink = sum;
	return (now_ns() - start) / (double)u->keys.n;
}

static double slice_lookup_chain(void *ctx, unsigned round)
{
	struct lookups *u = ctx;
	uint64_t entry = round;
	double start = now_ns();

	for (size_t i = 0; i < u->keys.n; i++) {
		if (pmpt_lookup(u->bp.space, key_va(&u->keys, i) ^ zero_after(entry), &entry))
			die("lookup: not mapped");
	}
	limits_sink = entry;
	return (now_ns() - start) / (double)u->keys.n;
}

static double slice_lookup_batch(void *ctx, unsigned round)
{
	struct lookups *u = ctx;
	uint64_t sum = round, va[BATCH], entry[BATCH];
	double start = now_ns();

	for (size_t i = 0; i < u->keys.n; i += BATCH) {
		for (size_t k = 0; k < BATCH; k++)
			va[k] = key_va(&u->keys, i + k);
		if (pmpt_lookup_batch(u->bp.space, va, BATCH, entry))
			die("lookup_batch failed");
		for (size_t k = 0; k < BATCH; k++)
			sum += entry[k];
	}
	limits_sink = sum;
	return (now_ns() - start) / (double)u->keys.n;
}

/* Library, flat array (raw), 4-level walk (skeleton).  at_least: the goal, in walks. */
static void row_lookup(struct lookups *u, struct limits *l, const char *name,
		       double (*library)(void *, unsigned), double (*flat)(void *, unsigned),
		       double (*walk)(void *, unsigned), double at_least)
{
	struct contestant c[] = { { library, u, { 0 } }, { flat, l, { 0 } }, { walk, l, { 0 } } };
	struct tally before = tally_now(&u->bp), sum = { 0 };

	progress("%s", name);
	alternate(c, 3);
	tally_add(&sum, &before, &u->bp);

	struct row row = row_make(name, u->bp.pages, UNIT_RATE, 1e9 / median(c[0].ns, ROUNDS));
	double ops = (double)u->keys.n * (ROUNDS + 1);

	row.spread = spread(c[0].ns, ROUNDS);
	row.ratio_to_raw = ratio_to(&c[0], &c[1]);
	row.ratio_to_skeleton = ratio_to(&c[0], &c[2]);
	row.lines_per_op = (double)sum.lines / ops;
	row.fences_per_op = (double)sum.fences / ops;
	row_extra(&row, ",\"raw_ops_per_s\":%.0f,\"skeleton_ops_per_s\":%.0f",
		  1e9 / median(c[1].ns, ROUNDS), 1e9 / median(c[2].ns, ROUNDS));
	row_goal(&row, "skel", row.ratio_to_skeleton, '>', at_least);
	row_print(&row);
}

void run_lookup(uint64_t pages)
{
	size_t n = options.quick ? 1 << 20 : 1 << 22;
	struct lookups u;
	struct limits *l = malloc(sizeof(*l));
	char count[16];

	if (!l)
		die("no memory");
	progress("lookup: mapping %s pages", human_count(pages, count, sizeof(count)));
	bench_pool_make(&u.bp, pages, 0);
	u.keys = keys_make(3, pages, n);
	limits_make(l, pages, u.keys);
	if (wanted("lookup"))
		row_lookup(&u, l, "lookup", slice_lookup, slice_flat, slice_walk, 0.9);
	if (wanted("lookup_chain"))
		row_lookup(&u, l, "lookup_chain", slice_lookup_chain, slice_flat_chain,
			   slice_walk_chain, 0.9);
	if (wanted("lookup_batch"))
		row_lookup(&u, l, "lookup_batch", slice_lookup_batch, slice_flat, slice_walk, 1.5);
	limits_free(l);
	bench_pool_close(&u.bp);
	keys_free(&u.keys);
	free(l);
}
