/* SPDX-License-Identifier: BSD-3-Clause */
/* recovery -- how long opening takes after a kill, and how much of it is libpmemobj's own.
 *
 * Every step is a process of its own, so that each open meets a mapping nobody has touched:
 *   writer	opens, checkpoints, leaves records in the log, dies of SIGKILL
 *   opener	pmpt_open, the time and the report through a pipe, _exit without closing
 *   bare	pmemobj_open of the same file, in the same state
 * The row's ms is opener less bare.
 * raw: reading as many bytes as the log has, through a new mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <libpmemobj.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

#define RECORDS_FEW 2000u
#define BULK_TRIES  (1u << 20)

enum log_fill { LOG_FEW, LOG_LANES, LOG_ALL, LOG_FILLS };
static const char *const fill_name[] = { "2000 records", "redo lanes full",
					 "redo and bulk lanes full" };

struct sample {
	double ns;
	struct pmpt_recovery report;
};

struct step {
	uint64_t pages;
	enum log_fill fill;
	unsigned round;
};

struct writer {
	struct bench_pool bp;
	uint64_t pages, seed;
};

/* ---- children ---- */

/* Run fn in a child that dies with us.  sample: what the child sends, may be NULL: then it is
 * expected to die of SIGKILL. */
static void in_child(void (*fn)(const struct step *, struct sample *), const struct step *step,
		     struct sample *sample)
{
	int fd[2], status;
	struct sample result = { 0 };
	pid_t pid;

	if (pipe(fd))
		die("pipe: %s", strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(step, &result);
		_exit(write(fd[1], &result, sizeof(result)) == (ssize_t)sizeof(result) ? 0 : 1);
	}
	close(fd[1]);
	ssize_t got = read(fd[0], &result, sizeof(result));

	close(fd[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (sample ? got != (ssize_t)sizeof(result)
		   : !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		die("recovery: a child failed");
	if (sample)
		*sample = result;
}

static int write_record(struct writer *w, pmpt_tx *tx)
{
	uint64_t va = VA_BASE + random_next(&w->seed) % w->pages * PMPT_PAGE_BYTES;

	return pmpt_map(tx, w->bp.space, va, 1, PFN_BASE + random_next(&w->seed) % (1 << 28),
			PMPT_R | PMPT_W | PMPT_U | PMPT_EXT | PMPT_REPLACE);
}

static void write_records(struct writer *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check(write_record(w, NULL), "record");
}

/* Leave the bulk lane full of an open transaction's lines. */
static void fill_bulk(struct writer *w)
{
	pmpt_tx *tx;
	int rc = 0;

	check(pmpt_begin(w->bp.pool, PMPT_TX_BULK, &tx), "begin bulk");
	for (size_t i = 0; !rc && i < BULK_TRIES; i++)
		rc = write_record(w, tx);
	if (rc && rc != PMPT_E_TX_TOO_LARGE)
		check(rc, "bulk record");
}

/* A transaction prefers the lane of its slot; one kept open holds its slot and so sends what
 * follows to the next. */
static void fill_lanes(struct writer *w, const struct pmpt_stats *stats)
{
	for (uint64_t i = 0; i < stats->lanes; i++) {
		pmpt_tx *held;

		write_records(w, stats->lane_lines);
		check(pmpt_begin(w->bp.pool, 0, &held), "begin");
	}
}

static void child_write(const struct step *step, struct sample *sample)
{
	struct writer w = { .pages = step->pages, .seed = 4 + step->round };
	struct pmpt_stats before, after;

	(void)sample;
	bench_pool_open(&w.bp);
	check(pmpt_checkpoint(w.bp.pool), "checkpoint");
	check(pmpt_stats(w.bp.pool, &before), "stats");
	if (step->fill == LOG_FEW)
		write_records(&w, RECORDS_FEW);
	else
		fill_lanes(&w, &before);
	check(pmpt_stats(w.bp.pool, &after), "stats");
	if (after.checkpoints != before.checkpoints)
		die("recovery: a checkpoint emptied the log while it was being filled");
	if (step->fill == LOG_ALL)
		fill_bulk(&w);
	raise(SIGKILL);
}

static void child_open(const struct step *step, struct sample *sample)
{
	pmpt_pool *pool;
	double start = now_ns();

	(void)step;
	check(pmpt_open(scratch_pool(), 0, &pool), "open");
	sample->ns = now_ns() - start;
	check(pmpt_recovery_report(pool, &sample->report), "report");
}

static void child_bare(const struct step *step, struct sample *sample)
{
	double start = now_ns();
	PMEMobjpool *pop = pmemobj_open(scratch_pool(), NULL);

	(void)step;
	if (!pop)
		die("pmemobj_open: %s", pmemobj_errormsg());
	sample->ns = now_ns() - start;
}

/* ---- raw ---- */

static double read_log_ns(uint64_t bytes)
{
	int fd = open(scratch_pool(), O_RDONLY | O_CLOEXEC);
	double start = now_ns();
	const uint64_t *word = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	uint64_t sum = 0;

	if (fd < 0 || word == MAP_FAILED)
		die("%s: %s", scratch_pool(), strerror(errno));
	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		sum += word[i];
	limits_sink = sum;
	munmap((void *)(uintptr_t)word, bytes);
	close(fd);
	return now_ns() - start;
}

/* ---- rows ---- */

static void row_recovery(uint64_t pages, enum log_fill fill, uint64_t log_bytes)
{
	struct sample opened, bare;
	double ms[ROUNDS], open_ms[ROUNDS], bare_ms[ROUNDS], ours_ms[ROUNDS], raw_ms[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		/* other values each time: one that stands already is no change */
		const struct step step = { pages, fill, (unsigned)fill * ROUNDS + (unsigned)i };

		in_child(child_write, &step, NULL);
		in_child(child_open, &step, &opened);
		in_child(child_bare, &step, &bare);
		open_ms[i] = opened.ns / 1e6;
		bare_ms[i] = bare.ns / 1e6;
		ms[i] = open_ms[i] - bare_ms[i];
		ours_ms[i] = (double)opened.report.recovery_ns / 1e6;
		raw_ms[i] = read_log_ns(log_bytes) / 1e6;
	}

	struct row row = row_make("recovery", pages, UNIT_MS, median(ms, ROUNDS));
	const struct pmpt_recovery *r = &opened.report;

	row.spread = spread(open_ms, ROUNDS);
	row.ratio_to_raw = median(raw_ms, ROUNDS) / median(ours_ms, ROUNDS);
	row_extra(&row,
		  ",\"log\":\"%s\",\"open_ms\":%.3f,\"libpmemobj_open_ms\":%.3f,\"recovery_ms\":%."
		  "3f,\"lines_scanned\":%llu",
		  fill_name[fill], median(open_ms, ROUNDS), median(bare_ms, ROUNDS),
		  median(ours_ms, ROUNDS), (unsigned long long)r->lines_scanned);
	row_extra(&row, ",\"redone\":%llu,\"undone\":%llu,\"words\":%llu,\"touched_pages\":%llu",
		  (unsigned long long)r->redone, (unsigned long long)r->undone,
		  (unsigned long long)r->words, (unsigned long long)r->pages);
	row_note(&row,
		 "%s: open %.2f ms, libpmemobj alone %.2f ms, our part %.2f ms; %llu redone, %llu "
		 "undone, %llu words in %llu pages",
		 fill_name[fill], median(open_ms, ROUNDS), median(bare_ms, ROUNDS),
		 median(ours_ms, ROUNDS), (unsigned long long)r->redone,
		 (unsigned long long)r->undone, (unsigned long long)r->words,
		 (unsigned long long)r->pages);
	row_goal(&row, "ms", row.value, '<', fill == LOG_FEW ? 5 : 25);
	if (fill == LOG_FEW && r->redone != RECORDS_FEW)
		die("recovery: %llu of %u transactions found", (unsigned long long)r->redone,
		    RECORDS_FEW);
	row_print(&row);
}

void run_recovery(uint64_t pages)
{
	struct bench_pool bp;
	struct pmpt_stats stats;
	char count[16];

	progress("recovery: mapping %s pages", human_count(pages, count, sizeof(count)));
	bench_pool_make(&bp, pages, 0);
	check(pmpt_stats(bp.pool, &stats), "stats");
	pmpt_space_close(bp.space);
	check(pmpt_close(bp.pool), "close");
	for (int fill = 0; fill < LOG_FILLS; fill++) {
		progress("recovery: %s pages, %s", count, fill_name[fill]);
		row_recovery(pages, (enum log_fill)fill,
			     64 * (stats.lanes * stats.lane_lines + stats.bulk_lines));
	}
	scratch_drop_pool();
}
