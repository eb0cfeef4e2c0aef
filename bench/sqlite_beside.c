/* SPDX-License-Identifier: BSD-3-Clause */
/* sqlite_beside -- a reader by key: alone; beside a writer of the same database that commits as fast as it
 * can, and one that commits at a given rate; and beside one of another database, in another pool: what the
 * machine makes of two busy processors.
 *
 * WINDOWS	of some hundred reads are timed.  Those count in which reader and writer had a processor each,
 *	by their processor times: so other programs that run on the machine take nothing away from either.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "sqlite.h"

#define WINDOW_READS 50
#define WINDOWS      64     /* of a slice that count: as many as median() takes */
#define TRIES        200000 /* for them */
#define BUSY         0.9    /* of a window: it counts */

#define WARM 10000 /* operations before the first that is timed */

#define PACE_NS \
	25000 /* of a paced writer: 40,000 commits/s, what WAL mode reaches beside a reader */

enum where { ALONE, BESIDE, PACED, UNRELATED, WHERES };

struct reader {
	const struct base *base;
	const struct connection *c;
	enum where where;
	_Atomic bool stop;
	_Atomic uint64_t commits;
	uint64_t sum, written;
	double window_ns; /* together */
};

/* The calling thread stays on the nth processor that it may use. */
static void stay_on(int nth)
{
	cpu_set_t may, one;

	if (pthread_getaffinity_np(pthread_self(), sizeof(may), &may))
		return;
	CPU_ZERO(&one);
	for (size_t i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &may) && !nth--)
			CPU_SET(i, &one);
	}
	if (CPU_COUNT(&one))
		(void)pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

static void *write_on(void *arg)
{
	struct reader *r = arg;
	const struct connection *c = r->where == UNRELATED ? &r->base->unrelated : &r->base->writer;
	uint64_t seed = 11;
	double due = now_ns();

	stay_on(1);
	while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
		while (r->where == PACED && now_ns() < due)
			; /* busy: it keeps its processor */
		due += PACE_NS;
		do_writes(c, c->update, &seed, 1, 1);
		atomic_fetch_add_explicit(&r->commits, 1, memory_order_relaxed);
	}
	return NULL;
}

static double ns_on(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* ns of the reads in a window that counts, or 0.  Asking for processor times takes as long as some reads. */
static double window(struct reader *r, clockid_t writer, uint64_t *seed)
{
	double wall = now_ns(), own = ns_on(CLOCK_THREAD_CPUTIME_ID), other = ns_on(writer), ns;
	uint64_t before = atomic_load(&r->commits);

	ns = now_ns();
	r->sum += do_reads(r->c, seed, WINDOW_READS, 1);
	ns = now_ns() - ns;
	before = atomic_load(&r->commits) - before;
	other = ns_on(writer) - other;
	own = ns_on(CLOCK_THREAD_CPUTIME_ID) - own;
	wall = now_ns() - wall;
	if (own < BUSY * wall || other < BUSY * wall)
		return 0;
	r->window_ns += ns;
	r->written += before;
	return ns;
}

static double read_slice(void *ctx, unsigned round)
{
	struct reader *r = ctx;
	uint64_t seed = round * 7919u + 1, before = atomic_load(&r->commits);
	double *ns = malloc(WINDOWS * sizeof(*ns)), middle;
	clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
	pthread_t writer;
	cpu_set_t may;
	int n = 0;

	if (pthread_getaffinity_np(pthread_self(), sizeof(may), &may) || !ns)
		die("no memory");
	atomic_store(&r->stop, false);
	if (r->where != ALONE &&
	    (pthread_create(&writer, NULL, write_on, r) || pthread_getcpuclockid(writer, &clock)))
		die("no thread");
	stay_on(0); /* the writer does not inherit it */
	while (r->where != ALONE && atomic_load(&r->commits) < before + 100)
		;
	r->sum += do_reads(r->c, &seed, WARM, 1); /* alone, all its pages are in SQLite's memory */
	for (int i = 0; i < TRIES && n < WINDOWS; i++) {
		ns[n] = window(r, clock, &seed);
		n += ns[n] > 0;
	}
	atomic_store(&r->stop, true);
	if (r->where != ALONE)
		pthread_join(writer, NULL);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(may), &may);
	if (n < WINDOWS / 8)
		die("the machine is too busy: a reader and a writer never have a processor each");
	middle = median(ns, n);
	free(ns);
	return middle / WINDOW_READS;
}

static double rate(const struct contestant *c) { return 1e9 / median(c->ns, ROUNDS); }

static void print_beside(const char *name, const struct contestant *c, const struct reader *r)
{
	double of_alone = ratio_to(&c[BESIDE], &c[ALONE]),
	       of_unrelated = ratio_to(&c[BESIDE], &c[UNRELATED]),
	       paced_of_alone = ratio_to(&c[PACED], &c[ALONE]),
	       paced = (double)r[PACED].written / (r[PACED].window_ns / 1e9),
	       commits = (double)r[BESIDE].written / (r[BESIDE].window_ns / 1e9);

	if (options.json)
		printf("{\"name\":\"beside\",\"of\":\"%s\",\"ops_per_s\":%.0f,\"alone_ops_per_s\":%.0f,"
		       "\"unrelated_ops_per_s\":%.0f,\"ratio_to_alone\":%.3f,\"ratio_to_unrelated\":%.3f,"
		       "\"commits_per_s\":%.0f,\"spread\":%.3f,\"paced_ops_per_s\":%.0f,"
		       "\"paced_ratio_to_alone\":%.3f,\"paced_commits_per_s\":%.0f}\n",
		       name, rate(&c[BESIDE]), rate(&c[ALONE]), rate(&c[UNRELATED]), of_alone,
		       of_unrelated, commits, spread(c[BESIDE].ns, ROUNDS), rate(&c[PACED]),
		       paced_of_alone, paced);
	else
		printf("%-10s %11.0f  %s: beside %.0f commits/s; alone %.0f (%.2f of it); "
		       "beside a writer elsewhere %.0f (%.2f); beside %.0f commits/s %.0f (%.2f of alone)\n",
		       "beside", rate(&c[BESIDE]), name, commits, rate(&c[ALONE]), of_alone,
		       rate(&c[UNRELATED]), of_unrelated, paced, rate(&c[PACED]), paced_of_alone);
	(void)fflush(stdout);
}

void row_beside(const struct base *bases)
{
	static const char *const name[] = { "pmpt", "pmpt, mmap_size", "wal" };
	const struct base *base[] = { &bases[PMPT], &bases[PMPT], &bases[WAL] };
	const struct connection *reader[] = { &bases[PMPT].reader, &bases[PMPT].mapped,
					      &bases[WAL].reader };
	enum { KINDS = sizeof(name) / sizeof(name[0]) };
	struct reader r[KINDS * WHERES] = { 0 };
	struct contestant c[KINDS * WHERES];
	uint64_t seed = 5;

	for (int i = 0; i < KINDS; i++) { /* files have their blocks then */
		do_writes(&base[i]->writer, base[i]->writer.update, &seed, WARM, 1);
		do_writes(&base[i]->unrelated, base[i]->unrelated.update, &seed, WARM, 1);
	}
	for (int i = 0; i < KINDS * WHERES; i++) {
		r[i].base = base[i / WHERES];
		r[i].c = reader[i / WHERES];
		r[i].where = (enum where)(i % WHERES);
		c[i] = (struct contestant){ read_slice, &r[i], { 0 } };
	}
	alternate(c, KINDS * WHERES);
	for (int i = 0; i < KINDS; i++)
		print_beside(name[i], &c[i * WHERES], &r[i * WHERES]);
}
