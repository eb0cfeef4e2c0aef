/* SPDX-License-Identifier: BSD-3-Clause */
/* swap -- pages out to a swap file and in again, beside what the file system takes for as many bytes:
 * pwrite of 64 pages and fdatasync, and pread of one page into the pool.
 *
 * A slice moves all pages, PASSES times.  The file is in /var/tmp, or where TMPDIR says: on tmpfs
 * fdatasync is nothing.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define PAGES  2048u
#define RUN    64u /* pages under one fdatasync, as the library has it */
#define PASSES 2

struct swap_bench {
	struct bench_pool bp;
	char *buffer; /* RUN pages */
	int fd;
	double out_ns[ROUNDS], in_ns[ROUNDS], raw_out_ns[ROUNDS], raw_in_ns[ROUNDS];
};

static void fill(struct swap_bench *b)
{
	check(pmpt_map(NULL, b->bp.space, VA_BASE, PAGES, PMPT_PFN_ALLOC, PMPT_R | PMPT_W | PMPT_U),
	      "map");
	for (uint64_t i = 0; i < PAGES; i++) {
		struct pmpt_mapping m;
		uint64_t seed = i;
		uint64_t *word;

		check(pmpt_query(b->bp.space, VA_BASE + i * PMPT_PAGE_BYTES, &m), "query");
		word = pmpt_frame_ptr(b->bp.pool, m.pfn);
		for (unsigned k = 0; k < 512; k++)
			word[k] = random_next(&seed);
	}
}

static void library(struct swap_bench *b, unsigned round)
{
	double out = 0, in = 0;

	for (unsigned pass = 0; pass < PASSES; pass++) {
		double start = now_ns(), middle;
		uint64_t n_out = 0, n_in = 0;

		check(pmpt_swap_out(b->bp.space, VA_BASE, PAGES * (uint64_t)PMPT_PAGE_BYTES,
				    &n_out),
		      "swap out");
		middle = now_ns();
		check(pmpt_swap_in(b->bp.space, VA_BASE, PAGES * (uint64_t)PMPT_PAGE_BYTES, &n_in),
		      "swap in");
		if (n_out != PAGES || n_in != PAGES)
			die("swap: %llu pages out, %llu in", (unsigned long long)n_out,
			    (unsigned long long)n_in);
		out += middle - start;
		in += now_ns() - middle;
	}
	if (round) {
		b->out_ns[round - 1] = out / (PASSES * PAGES);
		b->in_ns[round - 1] = in / (PASSES * PAGES);
	}
}

static void raw(struct swap_bench *b, unsigned round)
{
	double out = 0, in = 0;

	for (unsigned pass = 0; pass < PASSES; pass++) {
		double start = now_ns(), middle;

		for (uint64_t i = 0; i < PAGES; i += RUN) {
			size_t bytes = RUN * (size_t)PMPT_PAGE_BYTES;

			memset(b->buffer, (int)(i + round), PMPT_PAGE_BYTES);
			if (pwrite(b->fd, b->buffer, bytes, (off_t)(i * PMPT_PAGE_BYTES)) !=
				    (ssize_t)bytes ||
			    fdatasync(b->fd))
				die("the file of the limit cannot be written");
		}
		middle = now_ns();
		for (uint64_t i = 0; i < PAGES; i++) {
			if (pread(b->fd, b->buffer, PMPT_PAGE_BYTES,
				  (off_t)(i * PMPT_PAGE_BYTES)) != (ssize_t)PMPT_PAGE_BYTES)
				die("the file of the limit cannot be read");
		}
		out += middle - start;
		in += now_ns() - middle;
	}
	if (round) {
		b->raw_out_ns[round - 1] = out / (PASSES * PAGES);
		b->raw_in_ns[round - 1] = in / (PASSES * PAGES);
	}
}

static double ratio(const double *raw_ns, const double *ns)
{
	double r[ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		r[i] = raw_ns[i] / ns[i];
	return median(r, ROUNDS);
}

static void report(const struct swap_bench *b, const struct tally *t)
{
	struct row row = row_make("swap", PAGES, UNIT_RATE, 1e9 / median(b->out_ns, ROUNDS));
	double moves = 2.0 * PAGES * PASSES * (ROUNDS + 1);

	row.ratio_to_raw = ratio(b->raw_out_ns, b->out_ns);
	row.spread = spread(b->out_ns, ROUNDS);
	row.lines_per_op = (double)t->lines / moves;
	row.fences_per_op = (double)t->fences / moves;
	row_extra(
		&row,
		",\"in_ops_per_s\":%.0f,\"in_ratio_to_raw\":%.3f,\"raw_ops_per_s\":%.0f,\"raw_in_ops_per_s\":%.0f",
		1e9 / median(b->in_ns, ROUNDS), ratio(b->raw_in_ns, b->in_ns),
		1e9 / median(b->raw_out_ns, ROUNDS), 1e9 / median(b->raw_in_ns, ROUNDS));
	row_note(&row, "in: %.0f pages/s, %.2f of pread; raw: %.0f pages/s out, %.0f in",
		 1e9 / median(b->in_ns, ROUNDS), ratio(b->raw_in_ns, b->in_ns),
		 1e9 / median(b->raw_out_ns, ROUNDS), 1e9 / median(b->raw_in_ns, ROUNDS));
	row_print(&row);
}

void run_swap(void)
{
	struct swap_bench *b = calloc(1, sizeof(*b));
	struct tally before, sum = { 0 };

	if (!b)
		die("no memory");
	progress("swap");
	bench_pool_make(&b->bp, 0, 2 * PAGES * (uint64_t)PMPT_PAGE_BYTES);
	fill(b);
	check(pmpt_swap_on(b->bp.pool, scratch_swap(), PAGES * (uint64_t)PMPT_PAGE_BYTES),
	      "swap on");
	b->fd = scratch_swap_limit(PAGES * (uint64_t)PMPT_PAGE_BYTES);
	b->buffer = aligned_alloc(PMPT_PAGE_BYTES, RUN * (size_t)PMPT_PAGE_BYTES);
	if (!b->buffer)
		die("no memory");
	memset(b->buffer, 'x', RUN * (size_t)PMPT_PAGE_BYTES);
	for (unsigned round = 0; round <= ROUNDS; round++) {
		before = tally_now(&b->bp);
		library(b, round);
		tally_add(&sum, &before, &b->bp);
		raw(b, round);
	}
	report(b, &sum);
	close(b->fd);
	free(b->buffer);
	check(pmpt_swap_off(b->bp.pool), "swap off");
	bench_pool_close(&b->bp);
	free(b);
}
