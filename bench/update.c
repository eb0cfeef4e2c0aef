/* SPDX-License-Identifier: BSD-3-Clause */
/* update -- durable changes of random mapped pages: one a transaction, and 4096 a transaction. */
#include <stdlib.h>
#include <string.h>

#include "machine.h"

#define FLAGS           (PMPT_R | PMPT_W | PMPT_U | PMPT_EXT | PMPT_REPLACE)
#define CHECKPOINTS_MIN 3
#define PATH_COMMITS    1000u

struct updates {
	struct bench_pool bp;
	struct keys keys;
	struct tally sum;           /* over the slices that count */
	uint64_t least_checkpoints; /* of any slice */
};

static void update_one(struct updates *u, size_t i, unsigned round)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(u->bp.pool, 0, &tx);

	if (!rc)
		rc = pmpt_map(tx, u->bp.space, key_va(&u->keys, i), 1, new_pfn(round, u->keys.n, i),
			      FLAGS);
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	check(rc, "update");
}

static void update_batch(struct updates *u, size_t first, unsigned round)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(u->bp.pool, 0, &tx);

	for (size_t i = first; !rc && i < first + BATCH_PAGES; i++)
		rc = pmpt_map(tx, u->bp.space, key_va(&u->keys, i), 1, new_pfn(round, u->keys.n, i),
			      FLAGS);
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	check(rc, "batch");
}

static double updates_slice(struct updates *u, unsigned round, size_t step,
			    void (*run)(struct updates *, size_t, unsigned))
{
	struct tally before = tally_now(&u->bp), slice = { 0 };
	double start = now_ns();

	for (size_t i = 0; i < u->keys.n; i += step)
		run(u, i, round);

	double ns = now_ns() - start;

	tally_add(&slice, &before, &u->bp);
	if (round) {
		tally_add(&u->sum, &before, &u->bp);
		if (slice.checkpoints < u->least_checkpoints)
			u->least_checkpoints = slice.checkpoints;
	}
	return ns / (double)u->keys.n;
}

static double slice_update(void *ctx, unsigned round)
{
	return updates_slice(ctx, round, 1, update_one);
}

static double slice_batch(void *ctx, unsigned round)
{
	return updates_slice(ctx, round, BATCH_PAGES, update_batch);
}

static struct row updates_row(const struct updates *u, const char *name,
			      const struct contestant *library, const struct contestant *raw)
{
	struct row row = row_make(name, u->bp.pages, UNIT_RATE, 1e9 / median(library->ns, ROUNDS));
	double ops = (double)u->keys.n * ROUNDS;

	row.ratio_to_raw = ratio_to(library, raw);
	row.spread = spread(library->ns, ROUNDS);
	row.lines_per_op = (double)u->sum.lines / ops;
	row.fences_per_op = (double)u->sum.fences / ops;
	row_extra(&row, ",\"raw_ops_per_s\":%.0f,\"checkpoints_per_slice\":%llu",
		  1e9 / median(raw->ns, ROUNDS), (unsigned long long)u->least_checkpoints);
	if (u->least_checkpoints < CHECKPOINTS_MIN)
		row_note(&row,
			 "only %llu checkpoints in a slice: their cost is not in these numbers. ",
			 (unsigned long long)u->least_checkpoints);
	if (u->bp.slow)
		row_note(&row, "the pool is on an ordinary file, where a fence is an msync; the "
			       "limits flush cache lines. ");
	return row;
}

static void updates_start(struct updates *u)
{
	memset(&u->sum, 0, sizeof(u->sum));
	u->least_checkpoints = UINT64_MAX;
}

/* Lines and fences of the commit path alone: commits between two checkpoints. */
static struct tally commit_path(struct updates *u)
{
	struct tally before, path = { 0 };

	check(pmpt_checkpoint(u->bp.pool), "checkpoint");
	before = tally_now(&u->bp);
	for (size_t i = 0; i < PATH_COMMITS; i++)
		update_one(u, i, ROUNDS + 1);
	tally_add(&path, &before, &u->bp);
	return path;
}

static void row_update(struct updates *u, struct limits *l)
{
	struct contestant c[] = { { slice_update, u, { 0 } },
				  { slice_line, l, { 0 } },
				  { slice_skeleton, l, { 0 } } };
	struct tally path;

	updates_start(u);
	alternate(c, 3);
	path = commit_path(u);

	struct row row = updates_row(u, "update", &c[0], &c[1]);
	double log_lines = (double)path.log_lines / PATH_COMMITS,
	       fences = (double)path.fences / PATH_COMMITS;

	row.ratio_to_skeleton = ratio_to(&c[0], &c[2]);
	row_extra(&row, ",\"skeleton_ops_per_s\":%.0f", 1e9 / median(c[2].ns, ROUNDS));
	if (path.checkpoints) {
		row_note(&row, "a checkpoint fell into the commits counted for the commit path. ");
		row.missed = true;
	}
	row_extra(&row, ",\"commit_log_lines\":%.3f,\"commit_fences\":%.3f", log_lines, fences);
	row_goal(&row, "raw", row.ratio_to_raw, '>', 0.45);
	row_goal(&row, "skel", row.ratio_to_skeleton, '>', 0.65);
	row_goal(&row, "lines", row.lines_per_op, '<', 2.1);
	row_goal(&row, "commit path: log lines", log_lines, '=', 1);
	row_goal(&row, "fences", fences, '=', 1);
	row_print(&row);
}

static void row_batch(struct updates *u, struct limits *l)
{
	struct contestant c[] = { { slice_batch, u, { 0 } }, { slice_unlogged, l, { 0 } } };

	updates_start(u);
	alternate(c, 2);

	struct row row = updates_row(u, "batch4096", &c[0], &c[1]);

	row_goal(&row, "raw", row.ratio_to_raw, '>', 0.30);
	row_goal(&row, "lines", row.lines_per_op, '<', 1.6);
	row_goal(&row, "fences", row.fences_per_op, '<', 0.01);
	row_print(&row);
}

void run_update(uint64_t pages)
{
	size_t n = options.quick ? 1 << 17 : 1 << 19;
	struct updates u;
	struct limits *l = malloc(sizeof(*l));
	char count[16];

	if (!l)
		die("no memory");
	progress("update: mapping %s pages", human_count(pages, count, sizeof(count)));
	bench_pool_make(&u.bp, pages, 0);
	if (u.bp.slow)
		n = 2 * BATCH_PAGES;
	u.keys = keys_make(2, pages, n);
	limits_make(l, pages, u.keys);
	progress("update: %s pages", count);
	if (wanted("update"))
		row_update(&u, l);
	progress("batch4096: %s pages", count);
	if (wanted("batch4096"))
		row_batch(&u, l);
	limits_free(l);
	bench_pool_close(&u.bp);
	keys_free(&u.keys);
	free(l);
}
