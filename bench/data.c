/* SPDX-License-Identifier: BSD-3-Clause */
/* data -- pages written and read: one page a transaction, 64 pages a transaction, one page read.
 *
 * Limits, in the same process on the same medium: "stream 4 KiB, fence, stream a line, fence"; 64 pages
 * streamed in a row, fence; an array of entries indexed by page number, memcpy of the page. */
#include <emmintrin.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

#define PAGE     ((size_t)PMPT_PAGE_BYTES)
#define WRITE_64 64u

struct data {
	struct bench_pool bp;
	struct keys keys;
	struct tally sum;
	char *source;   /* what is written: a page, or 64 */
	char *raw;      /* the limits' pages, as many as the pool has */
	uint64_t *flat; /* and where they are */
	char *ring;
	uint64_t head, next, raw_pages;
	char *to;
};

/* As many pages of the pool's frames, and room for those that wait for their readers. */
static void data_make(struct data *d, uint64_t pages, size_t n)
{
	memset(d, 0, sizeof(*d));
	bench_pool_make(&d->bp, 512, (pages + 4 * 8192) * PAGE);
	bench_pool_touch(&d->bp);
	d->bp.pages = pages;
	if (d->bp.slow)
		n /= 256;
	d->keys = keys_make(7, pages, n);
	d->source = aligned_alloc(PAGE, WRITE_64 * PAGE);
	d->to = aligned_alloc(PAGE, PAGE);
	d->flat = malloc(pages * sizeof(*d->flat));
	if (!d->source || !d->to || !d->flat)
		die("no memory");
	memset(d->source, 0x5a, WRITE_64 * PAGE);
	memset(d->to, 0, PAGE);
	d->raw_pages = pages + 8192;
	d->raw = scratch_map(d->raw_pages * PAGE + RING_LINES * 64);
	d->ring = d->raw + d->raw_pages * PAGE;
	for (uint64_t i = 0; i < pages; i++)
		d->flat[i] = i * PAGE;
	check(pmpt_unmap(NULL, d->bp.space, VA_BASE, 512 * PAGE), "unmap");
	for (uint64_t i = 0; i < pages; i += WRITE_64)
		check(pmpt_write(NULL, d->bp.space, VA_BASE + i * PAGE, d->source, WRITE_64 * PAGE),
		      "write");
}

static void data_free(struct data *d)
{
	scratch_unmap(d->raw, d->raw_pages * PAGE + RING_LINES * 64);
	free(d->flat);
	free(d->to);
	free(d->source);
	bench_pool_close(&d->bp);
	keys_free(&d->keys);
}

/* ---- slices ---- */

static void stream(char *dst, const char *src, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 16)
		_mm_stream_si128((__m128i *)(void *)(dst + i),
				 _mm_load_si128((const __m128i *)(const void *)(src + i)));
}

/* A frame that was not written for a long time, as a fresh one is. */
static char *raw_page(struct data *d, uint64_t pages)
{
	uint64_t at = d->next;

	d->next = d->next + 2 * pages > d->raw_pages ? 0 : d->next + pages;
	return d->raw + at * PAGE;
}

static double slice_stream_page(void *ctx, unsigned round)
{
	struct data *d = ctx;
	double start = now_ns();

	*(uint64_t *)(void *)d->source = round;
	for (size_t i = 0; i < d->keys.n; i++) {
		stream(raw_page(d, 1), d->source, PAGE);
		_mm_sfence();
		stream(d->ring + d->head++ % RING_LINES * 64, d->source, 64);
		_mm_sfence();
	}
	return (now_ns() - start) / (double)d->keys.n;
}

static double slice_stream_64(void *ctx, unsigned round)
{
	struct data *d = ctx;
	double start = now_ns();

	*(uint64_t *)(void *)d->source = round;
	for (size_t i = 0; i < d->keys.n; i += WRITE_64) {
		stream(raw_page(d, WRITE_64), d->source, WRITE_64 * PAGE);
		_mm_sfence();
	}
	return (now_ns() - start) / (double)d->keys.n;
}

static double slice_write(void *ctx, unsigned round)
{
	struct data *d = ctx;
	struct tally before = tally_now(&d->bp);
	double start = now_ns();

	*(uint64_t *)(void *)d->source = round;
	for (size_t i = 0; i < d->keys.n; i++) {
		pmpt_tx *tx;
		int rc = pmpt_begin(d->bp.pool, 0, &tx);

		if (!rc)
			rc = pmpt_write(tx, d->bp.space, key_va(&d->keys, i), d->source, PAGE);
		if (!rc)
			rc = pmpt_commit(tx, NULL);
		check(rc, "write");
	}

	double ns = now_ns() - start;

	if (round)
		tally_add(&d->sum, &before, &d->bp);
	return ns / (double)d->keys.n;
}

static double slice_write_64(void *ctx, unsigned round)
{
	struct data *d = ctx;
	struct tally before = tally_now(&d->bp);
	double start = now_ns();

	*(uint64_t *)(void *)d->source = round;
	for (size_t i = 0; i < d->keys.n; i += WRITE_64) {
		uint64_t va = key_va(&d->keys, i) & ~(WRITE_64 * PAGE - 1);
		pmpt_tx *tx;
		int rc = pmpt_begin(d->bp.pool, 0, &tx);

		if (!rc)
			rc = pmpt_write(tx, d->bp.space, va, d->source, WRITE_64 * PAGE);
		if (!rc)
			rc = pmpt_commit(tx, NULL);
		check(rc, "write");
	}

	double ns = now_ns() - start;

	if (round)
		tally_add(&d->sum, &before, &d->bp);
	return ns / (double)d->keys.n;
}

static double slice_read(void *ctx, unsigned round)
{
	struct data *d = ctx;
	uint64_t sum = round;
	double start = now_ns();

	for (size_t i = 0; i < d->keys.n; i++) {
		check(pmpt_read(NULL, d->bp.space, key_va(&d->keys, i), d->to, PAGE), "read");
		sum += *(uint64_t *)(void *)d->to;
	}
	limits_sink = sum;
	return (now_ns() - start) / (double)d->keys.n;
}

static double slice_copy(void *ctx, unsigned round)
{
	struct data *d = ctx;
	uint64_t sum = round;
	double start = now_ns();

	for (size_t i = 0; i < d->keys.n; i++) {
		uint64_t page = (key_va(&d->keys, i) - VA_BASE) / PAGE;

		memcpy(d->to, d->raw + d->flat[page], PAGE);
		sum += *(uint64_t *)(void *)d->to;
	}
	limits_sink = sum;
	return (now_ns() - start) / (double)d->keys.n;
}

/* ---- rows ---- */

static void row_data(struct data *d, const char *name, double (*library)(void *, unsigned),
		     double (*raw)(void *, unsigned), bool writes, double goal)
{
	struct contestant c[] = { { library, d, { 0 } }, { raw, d, { 0 } } };
	double ops = (double)d->keys.n * ROUNDS;

	progress("%s: %llu pages", name, (unsigned long long)d->bp.pages);
	memset(&d->sum, 0, sizeof(d->sum));
	alternate(c, 2);

	struct row row = row_make(name, d->bp.pages, UNIT_RATE, 1e9 / median(c[0].ns, ROUNDS));

	row.ratio_to_raw = ratio_to(&c[0], &c[1]);
	row.spread = spread(c[0].ns, ROUNDS);
	if (writes) {
		row.lines_per_op = (double)d->sum.lines / ops;
		row.fences_per_op = (double)d->sum.fences / ops;
		row_extra(&row, ",\"log_lines_per_op\":%.3f", (double)d->sum.log_lines / ops);
	}
	row_extra(&row, ",\"raw_ops_per_s\":%.0f", 1e9 / median(c[1].ns, ROUNDS));
	if (d->bp.slow)
		row_note(&row, "the pool is on an ordinary file, where a fence is an msync; the "
			       "limits flush cache lines. ");
	row_goal(&row, "raw", row.ratio_to_raw, '>', goal);
	row_print(&row);
}

/* A pool of its own for each row: what one wrote scattered the frames for the next. */
void run_data(uint64_t pages)
{
	static const struct {
		const char *name;
		double (*library)(void *, unsigned), (*raw)(void *, unsigned);
		bool writes;
		double goal;
	} rows[] = {
		{ "page_write", slice_write, slice_stream_page, true, 0.6 },
		{ "page_write64", slice_write_64, slice_stream_64, true, 0.8 },
		{ "page_read", slice_read, slice_copy, false, 0.85 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct data d;

		if (!wanted(rows[i].name))
			continue;
		progress("data: writing %llu pages", (unsigned long long)pages);
		data_make(&d, pages, options.quick ? 1 << 16 : 1 << 18);
		row_data(&d, rows[i].name, rows[i].library, rows[i].raw, rows[i].writes,
			 rows[i].goal);
		data_free(&d);
	}
}
