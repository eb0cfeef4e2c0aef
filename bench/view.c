/* SPDX-License-Identifier: BSD-3-Clause */
/* view -- read views: what it costs to open one, and a reader beside a writer that commits. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "machine.h"

#define FLAGS (PMPT_R | PMPT_W | PMPT_U | PMPT_EXT | PMPT_REPLACE)

struct views {
	struct bench_pool bp;
	struct keys keys;
	struct limits *limits, *writer_limits; /* the same but for the keys: fewer a slice */
	size_t opens;
	_Atomic bool stop;
	_Atomic uint64_t commits;
	double writer_ns; /* time in which they were made */
	uint64_t sum;
};

static double slice_open(void *ctx, unsigned round)
{
	struct views *u = ctx;
	double start = now_ns();

	(void)round;
	for (size_t i = 0; i < u->opens; i++) {
		pmpt_view *view;

		check(pmpt_view_open(u->bp.pool, &view), "view");
		pmpt_view_close(view);
	}
	return (now_ns() - start) / (double)u->opens;
}

static void row_open(struct views *u)
{
	struct contestant c = { slice_open, u, { 0 } };
	struct tally before = tally_now(&u->bp), sum = { 0 };
	double ops = (double)u->opens * (ROUNDS + 1), ns;

	progress("view_open");
	alternate(&c, 1);
	tally_add(&sum, &before, &u->bp);
	ns = median(c.ns, ROUNDS);

	struct row row = row_make("view_open", u->bp.pages, UNIT_RATE, 1e9 / ns);

	row.spread = spread(c.ns, ROUNDS);
	row.lines_per_op = (double)sum.lines / ops;
	row.fences_per_op = (double)sum.fences / ops;
	row_extra(&row, ",\"open_close_ns\":%.1f", ns);
	row_goal(&row, "ns", ns, '<', 1000);
	row_goal(&row, "lines", row.lines_per_op, '=', 0);
	row_goal(&row, "fences", row.fences_per_op, '=', 0);
	row_print(&row);
}

/* ---- a reader, alone and beside a writer ----------------------------------------------------- */

static void *write_on(void *arg)
{
	struct views *u = arg;
	uint64_t seed = 11;
	double start = now_ns();

	while (!atomic_load_explicit(&u->stop, memory_order_relaxed)) {
		uint64_t page = random_next(&seed) % u->bp.pages;

		check(pmpt_map(NULL, u->bp.space, VA_BASE + page * PMPT_PAGE_BYTES, 1,
			       PFN_BASE + (page ^ 1), FLAGS),
		      "map beside");
		atomic_fetch_add_explicit(&u->commits, 1, memory_order_relaxed);
	}
	u->writer_ns += now_ns() - start;
	return NULL;
}

static double read_slice(struct views *u, const pmpt_view *view)
{
	uint64_t sum = 0, entry = 0;
	double start = now_ns();

	for (size_t i = 0; i < u->keys.n; i++) {
		if (view ? pmpt_view_lookup(view, u->bp.space, key_va(&u->keys, i), &entry)
			 : pmpt_lookup(u->bp.space, key_va(&u->keys, i), &entry))
			die("lookup: %s", pmpt_errormsg());
		sum += entry;
	}
	u->sum += sum;
	return (now_ns() - start) / (double)u->keys.n;
}

static double slice_alone(void *ctx, unsigned round)
{
	(void)round;
	return read_slice(ctx, NULL);
}

static double beside(struct views *u, bool in_view)
{
	pmpt_view *view = NULL;
	pthread_t writer;
	uint64_t before = atomic_load(&u->commits);
	double ns;

	if (in_view)
		check(pmpt_view_open(u->bp.pool, &view), "view");
	atomic_store(&u->stop, false);
	if (pthread_create(&writer, NULL, write_on, u))
		die("no thread");
	while (atomic_load(&u->commits) < before + 100)
		;
	ns = read_slice(u, view);
	atomic_store(&u->stop, true);
	pthread_join(writer, NULL);
	pmpt_view_close(view);
	return ns;
}

static double slice_beside(void *ctx, unsigned round)
{
	(void)round;
	return beside(ctx, false);
}

static double slice_view(void *ctx, unsigned round)
{
	(void)round;
	return beside(ctx, true);
}

static void *skeleton_on(void *arg)
{
	struct views *u = arg;

	for (unsigned round = 0; !atomic_load(&u->stop); round++)
		(void)slice_skeleton(u->writer_limits, round);
	return NULL;
}

/* What the machine lets a reader do there: walks beside the skeleton of a writer. */
static double slice_walk_beside(void *ctx, unsigned round)
{
	struct views *u = ctx;
	pthread_t writer;
	double ns;

	atomic_store(&u->stop, false);
	if (pthread_create(&writer, NULL, skeleton_on, u))
		die("no thread");
	ns = slice_walk(u->limits, round);
	atomic_store(&u->stop, true);
	pthread_join(writer, NULL);
	return ns;
}

static void row_beside(struct views *u)
{
	struct contestant c[] = { { slice_beside, u, { 0 } },
				  { slice_alone, u, { 0 } },
				  { slice_view, u, { 0 } },
				  { slice_walk_beside, u, { 0 } } };

	progress("read_beside");
	u->limits = malloc(sizeof(*u->limits));
	u->writer_limits = malloc(sizeof(*u->writer_limits));
	if (!u->limits || !u->writer_limits)
		die("no memory");
	limits_make(u->limits, u->bp.pages, u->keys);
	*u->writer_limits = *u->limits;
	u->writer_limits->keys.n = 10000;
	alternate(c, 4);
	limits_free(u->limits);
	free(u->limits);
	free(u->writer_limits);

	struct row row =
		row_make("read_beside", u->bp.pages, UNIT_RATE, 1e9 / median(c[0].ns, ROUNDS));

	row.ratio_to_raw = ratio_to(&c[0], &c[1]);
	row.ratio_to_skeleton = ratio_to(&c[0], &c[3]);
	row.spread = spread(c[0].ns, ROUNDS);
	row_extra(&row,
		  ",\"alone_ops_per_s\":%.0f,\"in_view_ops_per_s\":%.0f,\"commits_per_s\":%.0f",
		  1e9 / median(c[1].ns, ROUNDS), 1e9 / median(c[2].ns, ROUNDS),
		  (double)atomic_load(&u->commits) * 1e9 / u->writer_ns);
	row_goal(&row, "raw", row.ratio_to_raw, '>', 0.85);
	row_print(&row);
}

void run_view(uint64_t pages)
{
	struct views u = { .opens = options.quick ? 1 << 18 : 1 << 20 };
	char count[16];

	progress("view: mapping %s pages", human_count(pages, count, sizeof(count)));
	bench_pool_make(&u.bp, pages, 0);
	u.keys = keys_make(5, pages, options.quick ? 1 << 20 : 1 << 22);
	if (wanted("view_open"))
		row_open(&u);
	if (wanted("read_beside"))
		row_beside(&u);
	bench_pool_close(&u.bp);
	keys_free(&u.keys);
}
