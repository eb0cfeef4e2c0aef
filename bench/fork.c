/* SPDX-License-Identifier: BSD-3-Clause */
/* fork -- cloning a space, and the first and later writes to what the two share.
 *
 * fork: each one from a space whose links are all writable, as after its own first write; the child is
 * deleted between two, outside the time.  Beside it Linux fork() of this process with as many pages.
 *
 * cow_first: a space of 1 GiB, its level 2 table full.  A child is forked; the time is that of the next
 * write of a page, which copies the tables of level 3, 2 and 1 and the page, and counts 512 tables and 512
 * frames up; then that of a write into the region beside it, which copies a table of level 1 alone.  The
 * children of a table, tables and frames, are contiguous, or alone each.
 *
 * cow_later: pages of a space that has given itself tables of its own since the fork, each written once
 * and all still shared, beside a space of the same shape that was never forked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

#define PAGE    ((uint64_t)PMPT_PAGE_BYTES)
#define CHANGED (PMPT_R | PMPT_W | PMPT_U | PMPT_EXT | PMPT_REPLACE)

static _Alignas(4096) char source[4096];

static pmpt_space *fork_space(pmpt_space *space)
{
	pmpt_space *child;

	check(pmpt_space_fork(space, "child", 0, &child), "fork");
	return child;
}

static void delete_child(const struct bench_pool *bp, pmpt_space *child)
{
	pmpt_space_close(child);
	check(pmpt_space_delete(bp->pool, "child"), "delete");
}

/* ---- fork ---- */

struct forks {
	struct bench_pool bp;
	unsigned n, clean; /* forks of a slice; forks that no checkpoint fell into */
	struct tally sum;  /* of those */
};

static double slice_fork(void *ctx, unsigned round)
{
	struct forks *f = ctx;
	double ns = 0;

	for (unsigned i = 0; i < f->n; i++) {
		struct tally before = tally_now(&f->bp), one = { 0 };
		double start = now_ns();
		pmpt_space *child = fork_space(f->bp.space);

		ns += now_ns() - start;
		tally_add(&one, &before, &f->bp);
		if (round && !one.checkpoints) {
			tally_add(&f->sum, &before, &f->bp);
			f->clean++;
		}
		delete_child(&f->bp, child);
		/* the way to it is the space's own again */
		check(pmpt_map(NULL, f->bp.space, VA_BASE, 1, PFN_BASE, CHANGED), "map");
	}
	return ns / f->n;
}

/* Touched pages, every one written; zero: too many for this machine's memory, so all but one were read,
 * and map the page of zeros, which Linux does not even count. */
static char *linux_pages(uint64_t pages, bool *zero)
{
	uint64_t free_pages = (uint64_t)sysconf(_SC_AVPHYS_PAGES);
	char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t sum = 0;

	if (at == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	(void)madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
	*zero = pages > free_pages / 2;
	at[0] = 1;
	for (uint64_t i = 0; i < pages; i++) {
		if (*zero)
			sum += *(volatile unsigned char *)(at + i * PAGE);
		else
			at[i * PAGE] = 1;
	}
	limits_sink = sum;
	return at;
}

/* us, median of ROUNDS. */
static double linux_fork(uint64_t pages, bool *zero)
{
	char *at = linux_pages(pages, zero);
	double us[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		double start = now_ns();
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		us[i] = (now_ns() - start) / 1e3;
		if (pid < 0)
			die("fork: %s", strerror(errno));
		waitpid(pid, NULL, 0);
		for (uint64_t k = 0; k < pages && !*zero; k++)
			at[k * PAGE] = 2;
	}
	munmap(at, pages * PAGE);
	return median(us, ROUNDS);
}

/* smallest_us: of the fewest pages, 0: these are.  Returns us. */
static double row_fork(uint64_t pages, double smallest_us)
{
	struct forks f = { .n = options.quick ? 64 : 256 };
	struct contestant c = { slice_fork, &f, { 0 } };
	char count[16];
	double us, linux_us;
	uint64_t entry;
	bool zero;

	progress("fork: mapping %s pages", human_count(pages, count, sizeof(count)));
	bench_pool_make(&f.bp, pages, 0);
	bench_pool_touch(&f.bp);
	/* with what readers have learned of it */
	for (uint64_t i = 0; i < pages; i += REGION_PAGES)
		check(pmpt_lookup(f.bp.space, VA_BASE + i * PAGE, &entry), "lookup");
	if (f.bp.slow)
		f.n = 4;
	progress("fork: %s pages", count);
	alternate(&c, 1);
	bench_pool_close(&f.bp);
	us = median(c.ns, ROUNDS) / 1e3;
	progress("fork: %s pages, Linux", count);
	linux_us = linux_fork(pages, &zero);

	struct row row = row_make("fork", pages, UNIT_US, us);

	row.ratio_to_raw = linux_us / us;
	row.spread = spread(c.ns, ROUNDS);
	row.lines_per_op = (double)f.sum.lines / f.clean;
	row.fences_per_op = (double)f.sum.fences / f.clean;
	row_extra(&row, ",\"log_lines_per_op\":%.3f,\"linux_fork_us\":%.1f,\"linux_pages\":\"%s\"",
		  (double)f.sum.log_lines / f.clean, linux_us, zero ? "zero" : "touched");
	row_note(&row, "Linux fork(): %.0f us%s", linux_us,
		 zero ? "; pages that were only read, the memory is too small" : "");
	row_goal(&row, "us", us, '<', 10);
	row_goal(&row, "fences", row.fences_per_op, '<', 2);
	if (smallest_us > 0)
		row_goal(&row, "of the smallest", us / smallest_us, '<', 2);
	row_print(&row);
	return us;
}

void run_fork(const uint64_t *pages, size_t n)
{
	double smallest = 0;

	for (size_t i = 0; i < n; i++) {
		double us = row_fork(pages[i], smallest);

		smallest = i ? smallest : us;
	}
}

/* ---- cow_first ---- */

#define TABLES  512u /* of level 1: a full table of level 2 */
#define FORKS   8u   /* of a slice */
#define WRITTEN (2 * FORKS * (ROUNDS + 1))

struct first {
	struct bench_pool bp;
	pmpt_space *filler; /* its pages lie between the tables */
	bool scattered;
	unsigned next;         /* region that was not written yet */
	double beside[ROUNDS]; /* us */
	double here_lines[ROUNDS * FORKS], beside_lines[ROUNDS * FORKS];
	unsigned n_lines;
};

static uint64_t region_va(uint64_t region) { return VA_BASE + region * REGION_BYTES; }

/* Every page in a frame by itself: pages of all regions in turn. */
static void scatter(struct first *f)
{
	uint64_t seed = 3, n = WRITTEN * REGION_PAGES;
	uint32_t *page = malloc(n * sizeof(*page));

	if (!page)
		die("no memory");
	for (uint64_t i = 0; i < n; i++)
		page[i] = (uint32_t)i;
	for (uint64_t i = n - 1; i; i--) {
		uint64_t k = random_next(&seed) % (i + 1);
		uint32_t was = page[i];

		page[i] = page[k];
		page[k] = was;
	}
	for (uint64_t i = 0; i < n; i++)
		check(pmpt_map(NULL, f->bp.space, VA_BASE + page[i] * PAGE, 1, PMPT_PFN_ALLOC,
			       PMPT_R | PMPT_W | PMPT_U),
		      "map a page");
	free(page);
}

static void first_make(struct first *f, bool scattered)
{
	memset(f, 0, sizeof(*f));
	bench_pool_make(&f->bp, 0, (WRITTEN * REGION_PAGES + 8 * TABLES + 16384) * PAGE);
	bench_pool_touch(&f->bp);
	f->scattered = scattered;
	f->bp.pages = TABLES * REGION_PAGES;
	check(pmpt_space_create(f->bp.pool, "filler", &f->filler), "space");
	for (uint64_t i = 0; i < TABLES; i++) {
		check(pmpt_map(NULL, f->bp.space, region_va(i), REGION_PAGES,
			       PFN_BASE + i * REGION_PAGES, PMPT_R | PMPT_W | PMPT_U | PMPT_EXT),
		      "map");
		if (scattered)
			check(pmpt_map(NULL, f->filler, VA_BASE + i * PAGE, 1, PMPT_PFN_ALLOC,
				       PMPT_R | PMPT_W | PMPT_U),
			      "map the filler");
	}
	/* one page stays until the others are there: so does the table */
	for (uint64_t i = 0; i < WRITTEN; i++)
		check(pmpt_map(NULL, f->bp.space, region_va(i), REGION_PAGES,
			       scattered ? PFN_BASE : PMPT_PFN_ALLOC,
			       PMPT_R | PMPT_W | PMPT_U | PMPT_REPLACE |
				       (scattered ? PMPT_EXT : 0)),
		      "map a region");
	if (scattered) {
		for (uint64_t i = 0; i < WRITTEN; i++)
			check(pmpt_unmap(NULL, f->bp.space, region_va(i), REGION_BYTES - PAGE),
			      "unmap");
		for (uint64_t i = 0; i < WRITTEN; i++)
			check(pmpt_unmap(NULL, f->bp.space, region_va(i) + REGION_BYTES - PAGE,
					 PAGE),
			      "unmap");
		scatter(f);
	}
	check(pmpt_checkpoint(f->bp.pool), "checkpoint");
}

static double write_ns(struct first *f, unsigned region, double *lines)
{
	struct tally before = tally_now(&f->bp), sum = { 0 };
	uint64_t va = region_va(region) + region % REGION_PAGES * PAGE;
	double start = now_ns(), ns;

	check(pmpt_write(NULL, f->bp.space, va, source, PAGE), "write");
	ns = now_ns() - start;
	tally_add(&sum, &before, &f->bp);
	*lines = (double)sum.lines;
	return ns;
}

/* Medians of the slice: a checkpoint may fall into one. */
static double slice_first(void *ctx, unsigned round)
{
	struct first *f = ctx;
	double here[FORKS], beside[FORKS], lines[2];

	for (unsigned i = 0; i < FORKS; i++, f->next += 2) {
		pmpt_space *child = fork_space(f->bp.space);

		here[i] = write_ns(f, f->next, &lines[0]);
		beside[i] = write_ns(f, f->next + 1, &lines[1]);
		if (round) {
			f->here_lines[f->n_lines] = lines[0];
			f->beside_lines[f->n_lines++] = lines[1];
		}
		delete_child(&f->bp, child);
		/* every link is the space's own again */
		for (uint64_t k = 0; k < TABLES; k++)
			check(pmpt_protect(NULL, f->bp.space, region_va(k), PAGE,
					   PMPT_R | PMPT_W | PMPT_U),
			      "protect");
	}
	if (round)
		f->beside[round - 1] = median(beside, FORKS) / 1e3;
	return median(here, FORKS);
}

static void run_first(bool scattered)
{
	struct first *f = malloc(sizeof(*f));
	struct contestant c = { slice_first, f, { 0 } };
	const char *children = scattered ? "scattered" : "contiguous";
	double us;

	if (!f)
		die("no memory");
	progress("cow_first: %s children", children);
	first_make(f, scattered);
	alternate(&c, 1);
	us = median(c.ns, ROUNDS) / 1e3;

	struct row row = row_make("cow_first", f->bp.pages, UNIT_US, us);

	row.spread = spread(c.ns, ROUNDS);
	row.lines_per_op = median(f->here_lines, (int)f->n_lines);
	row_extra(&row, ",\"children\":\"%s\",\"beside_us\":%.3f,\"beside_lines\":%.1f", children,
		  median(f->beside, ROUNDS), median(f->beside_lines, (int)f->n_lines));
	row_note(&row,
		 "%s children; the region beside it, a table of level 1 alone: %.1f us, %.0f lines",
		 children, median(f->beside, ROUNDS), median(f->beside_lines, (int)f->n_lines));
	row_goal(&row, "us", us, '<', scattered ? 150 : 40);
	row_print(&row);
	pmpt_space_close(f->filler);
	bench_pool_close(&f->bp);
	free(f);
}

void run_cow_first(void)
{
	run_first(false);
	run_first(true);
}

/* ---- cow_later ---- */

#define LATER_PAGES 8192u

struct later {
	struct bench_pool *bp;
	pmpt_space *space;
	bool forked, data; /* data: pmpt_write of the pool's pages; else pmpt_map of other frames */
	uint32_t page[LATER_PAGES];
	struct tally sum;
};

static void later_make(struct later *l, struct bench_pool *bp, const char *name, bool forked,
		       bool data)
{
	uint64_t seed = 9;

	*l = (struct later){ .bp = bp, .forked = forked, .data = data };
	check(pmpt_space_create(bp->pool, name, &l->space), "space");
	for (uint64_t i = 0; i < LATER_PAGES; i += REGION_PAGES)
		check(pmpt_map(NULL, l->space, VA_BASE + i * PAGE, REGION_PAGES,
			       data ? PMPT_PFN_ALLOC : PFN_BASE + i,
			       PMPT_R | PMPT_W | PMPT_U | (data ? 0 : PMPT_EXT)),
		      "map");
	for (uint32_t i = 0; i < LATER_PAGES; i++)
		l->page[i] = i;
	for (uint64_t i = LATER_PAGES - 1; i; i--) {
		uint64_t k = random_next(&seed) % (i + 1);
		uint32_t was = l->page[i];

		l->page[i] = l->page[k];
		l->page[k] = was;
	}
}

static void later_write(struct later *l, uint64_t page, unsigned round)
{
	uint64_t va = VA_BASE + page * PAGE;
	pmpt_tx *tx;
	int rc = pmpt_begin(l->bp->pool, 0, &tx);

	if (!rc && l->data)
		rc = pmpt_write(tx, l->space, va, source, PAGE);
	else if (!rc)
		rc = pmpt_map(tx, l->space, va, 1, PFN_BASE + (page ^ (round + 1)), CHANGED);
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	check(rc, "write");
}

/* Every page once, the first of each region before the time: there its tables are copied. */
static double slice_later(void *ctx, unsigned round)
{
	struct later *l = ctx;
	pmpt_space *child = l->forked ? fork_space(l->space) : NULL;
	struct tally before;
	double start, ns;
	unsigned n = 0;

	for (uint64_t i = 0; i < LATER_PAGES; i += REGION_PAGES)
		later_write(l, i, round);
	check(pmpt_checkpoint(l->bp->pool), "checkpoint");
	before = tally_now(l->bp);
	start = now_ns();
	for (unsigned i = 0; i < LATER_PAGES; i++) {
		if (!(l->page[i] % REGION_PAGES))
			continue;
		later_write(l, l->page[i], round);
		n++;
	}
	ns = now_ns() - start;
	if (round)
		tally_add(&l->sum, &before, l->bp);
	if (child)
		delete_child(l->bp, child);
	return ns / n;
}

static void run_later(struct bench_pool *bp, bool data)
{
	struct later *l = calloc(2, sizeof(*l));
	struct contestant c[] = { { slice_later, &l[0], { 0 } }, { slice_later, &l[1], { 0 } } };
	double ops = (double)(LATER_PAGES - LATER_PAGES / REGION_PAGES) * ROUNDS, ns;
	const char *how = data ? "pmpt_write" : "pmpt_map";

	if (!l)
		die("no memory");
	progress("cow_later: %s", how);
	later_make(&l[0], bp, data ? "written" : "mapped", true, data);
	later_make(&l[1], bp, data ? "written alone" : "mapped alone", false, data);
	alternate(c, 2);
	ns = median(c[0].ns, ROUNDS);

	struct row row = row_make("cow_later", LATER_PAGES, UNIT_RATE, 1e9 / ns);

	row.ratio_to_raw = ratio_to(&c[0], &c[1]);
	row.spread = spread(c[0].ns, ROUNDS);
	row.lines_per_op = (double)l[0].sum.lines / ops;
	row.fences_per_op = (double)l[0].sum.fences / ops;
	row_extra(
		&row,
		",\"write\":\"%s\",\"ns\":%.1f,\"unforked_ns\":%.1f,\"unforked_lines_per_op\":%.4f",
		how, ns, median(c[1].ns, ROUNDS), (double)l[1].sum.lines / ops);
	row_note(&row, "%s: %.0f ns, in a space that was not forked %.0f", how, ns,
		 median(c[1].ns, ROUNDS));
	row_goal(&row, "raw", row.ratio_to_raw, '>', 0.95);
	row_print(&row);
	pmpt_space_close(l[0].space);
	pmpt_space_close(l[1].space);
	free(l);
}

void run_cow_later(void)
{
	struct bench_pool bp;

	bench_pool_make(&bp, 0, 6 * LATER_PAGES * PAGE);
	bench_pool_touch(&bp);
	run_later(&bp, false);
	run_later(&bp, true);
	bench_pool_close(&bp);
}
