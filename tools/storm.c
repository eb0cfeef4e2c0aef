/* SPDX-License-Identifier: BSD-3-Clause */
/* storm -- see storm.h. */
#include "storm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WINDOW(t)  ((uint64_t)((t) + 1) << 40) /* first address of thread t's pages */
#define OPS_MAX    3
#define SCATTER    8          /* pages of an operation that need not be neighbours */
#define PAGE_ALLOC (1u << 31) /* with the flags of a page: a frame of the pool, any */

/* ---- what a transaction does ----------------------------------------------------------------- */

struct page { /* flags 0: not mapped */
	uint64_t pfn;
	unsigned flags;
};
struct model {
	struct page page[STORM_PAGES];
};

enum op_kind { OP_SCATTER, OP_MAP, OP_ALLOC, OP_UNMAP, OP_PROTECT, OP_MOVE };
struct op {
	enum op_kind kind;
	unsigned at, n, to; /* pages of the window */
	unsigned scatter[SCATTER];
	uint64_t pfn;
	unsigned flags;
};

static uint64_t mix(uint64_t x) /* splitmix64 */
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static unsigned draw(uint64_t *random, unsigned below)
{
	*random = mix(*random);
	return (unsigned)(*random % below);
}

/* Mapped pages from `at` on, at most n. */
static unsigned mapped_from(const struct model *m, unsigned at, unsigned n)
{
	unsigned i = 0;

	while (i < n && m->page[at + i].flags)
		i++;
	return i;
}

/* The i-th operation of a transaction, whose random numbers are in *random. */
static void plan(const struct model *m, uint64_t s, unsigned i, uint64_t *random, struct op *op)
{
	static const enum op_kind kinds[] = { OP_SCATTER, OP_SCATTER, OP_SCATTER, OP_MAP,
					      OP_MAP,     OP_ALLOC,   OP_UNMAP,   OP_PROTECT,
					      OP_PROTECT, OP_MOVE };
	unsigned most = draw(random, 16) ? 64 : 1024; /* now and then whole tables */

	op->kind = kinds[draw(random, sizeof(kinds) / sizeof(kinds[0]))];
	op->n = 1 + draw(random, most);
	op->at = draw(random, STORM_PAGES - op->n + 1);
	op->to = draw(random, STORM_PAGES - op->n + 1);
	op->pfn = (s * OPS_MAX + i) % (1u << 29) * 1024;
	op->flags = PMPT_R | (s % 2 ? PMPT_W : PMPT_U) | PMPT_TAG(s);
	if (op->kind == OP_PROTECT) {
		op->n = mapped_from(m, op->at, op->n);
		op->flags &= PMPT_PROT_MASK;
	}
	if (op->kind == OP_MOVE && op->at < op->to + op->n && op->to < op->at + op->n)
		op->kind = OP_UNMAP; /* they overlap */
	if (op->kind == OP_PROTECT && !op->n)
		op->kind = OP_SCATTER;
	if (op->kind == OP_ALLOC && op->n > 16)
		op->n = 16;
	if (op->kind == OP_SCATTER) {
		op->n = 1 + draw(random, SCATTER);
		for (unsigned k = 0; k < op->n; k++)
			op->scatter[k] = draw(random, STORM_PAGES);
	}
}

/* The operation on the model.  Returns how many pages it is about. */
static unsigned apply(struct model *m, const struct op *op)
{
	for (unsigned k = 0; k < op->n; k++) {
		struct page *p = &m->page[op->kind == OP_SCATTER ? op->scatter[k] : op->at + k];

		switch (op->kind) {
		case OP_SCATTER:
		case OP_MAP:
			*p = (struct page){ op->pfn + k, op->flags };
			break;
		case OP_ALLOC:
			*p = (struct page){ 0, op->flags | PAGE_ALLOC };
			break;
		case OP_UNMAP:
			*p = (struct page){ 0, 0 };
			break;
		case OP_PROTECT:
			p->flags = (p->flags & ~PMPT_PROT_MASK) | op->flags;
			break;
		case OP_MOVE:
			m->page[op->to + k] = *p;
			*p = (struct page){ 0, 0 };
			break;
		}
	}
	return op->n;
}

/* The operation on the space. */
static int perform(pmpt_tx *tx, pmpt_space *space, uint64_t base, const struct op *op)
{
	uint64_t at = base + op->at * (uint64_t)PMPT_PAGE_BYTES,
		 to = base + op->to * (uint64_t)PMPT_PAGE_BYTES,
		 bytes = op->n * (uint64_t)PMPT_PAGE_BYTES;
	unsigned ext = op->flags | PMPT_EXT | PMPT_REPLACE;
	int rc = 0;

	switch (op->kind) {
	case OP_SCATTER:
		for (unsigned k = 0; k < op->n && !rc; k++)
			rc = pmpt_map(tx, space, base + op->scatter[k] * (uint64_t)PMPT_PAGE_BYTES,
				      1, op->pfn + k, ext);
		return rc;
	case OP_MAP:
		return pmpt_map(tx, space, at, op->n, op->pfn, ext);
	case OP_ALLOC:
		return pmpt_map(tx, space, at, op->n, PMPT_PFN_ALLOC, op->flags | PMPT_REPLACE);
	case OP_UNMAP:
		return pmpt_unmap(tx, space, at, bytes);
	case OP_PROTECT:
		return pmpt_protect(tx, space, at, bytes, op->flags);
	case OP_MOVE:
		rc = pmpt_unmap(tx, space, to, bytes);
		return rc ? rc : pmpt_move(tx, space, at, space, to, bytes);
	}
	return -EINVAL;
}

static uint64_t seed_of(const struct storm *storm, unsigned t, uint64_t s)
{
	return mix(mix(storm->seed + t) + s);
}

/* Transaction s of thread t on the model.  Returns how many pages it is about. */
static unsigned step(const struct storm *storm, unsigned t, uint64_t s, struct model *m)
{
	uint64_t random = seed_of(storm, t, s);
	unsigned n = 1 + draw(&random, OPS_MAX), pages = 0;
	struct op op;

	for (unsigned i = 0; i < n; i++) {
		plan(m, s, i, &random, &op);
		pages += apply(m, &op);
	}
	return pages;
}

/* The same on the space and on the model, which is spoilt unless it returns 0. */
static int commit_step(const struct storm *storm, unsigned t, uint64_t s, struct model *m,
		       pmpt_space *space)
{
	uint64_t random = seed_of(storm, t, s);
	unsigned n = 1 + draw(&random, OPS_MAX);
	pmpt_tx *tx;
	int rc = pmpt_begin(pmpt_space_pool(space), 0, &tx);
	struct op op;

	if (rc)
		return rc;
	for (unsigned i = 0; i < n && !rc; i++) {
		plan(m, s, i, &random, &op);
		rc = perform(tx, space, WINDOW(t), &op);
		(void)apply(m, &op);
	}
	if (!rc)
		rc = pmpt_user_set(tx, space, 0, s);
	return rc ? rc : pmpt_commit(tx, NULL);
}

static int open_space(pmpt_pool *pool, unsigned t, bool create, pmpt_space **space)
{
	char name[32];
	int rc;

	snprintf(name, sizeof(name), "storm-%u", t);
	rc = pmpt_space_open(pool, name, space);
	return rc == PMPT_E_NO_SPACE && create ? pmpt_space_create(pool, name, space) : rc;
}

/* ---- the writer ------------------------------------------------------------------------------ */

struct ack {
	uint64_t thread, s;
};
struct writer {
	const struct storm *storm;
	pmpt_pool *pool;
	pmpt_space *space;
	unsigned t;
	int to;
	struct model model;
	pthread_t thread;
};

/* Say why on the parent's standard error, and end the whole writer. */
static void give_up(const char *what, int rc)
{
	fprintf(stderr, "storm: %s: %s: %s\n", what, pmpt_strerror(rc), pmpt_errormsg());
	_exit(1);
}

static void *write_on(void *arg)
{
	struct writer *w = arg;
	struct ack ack = { .thread = w->t };
	uint64_t done = 0;
	int rc = pmpt_user_get(w->space, 0, &done);

	for (uint64_t s = 1; s <= done && !rc; s++)
		(void)step(w->storm, w->t, s, &w->model);
	for (uint64_t s = done + 1; !rc; s++) {
		rc = commit_step(w->storm, w->t, s, &w->model, w->space);
		if (rc)
			break;
		ack.s = s;
		if (write(w->to, &ack, sizeof(ack)) != sizeof(ack))
			rc = -errno;
	}
	give_up("writer", rc);
	return NULL;
}

_Noreturn static void writer(const struct storm *storm, int to)
{
	struct writer *w = calloc(storm->threads, sizeof(*w));
	pmpt_pool *pool;
	int rc = w ? pmpt_open(storm->path, 0, &pool) : -ENOMEM;

	if (rc)
		give_up("open", rc);
	for (unsigned t = 0; t < storm->threads; t++) {
		w[t] = (struct writer){ .storm = storm, .pool = pool, .t = t, .to = to };
		rc = open_space(pool, t, true, &w[t].space);
		if (rc)
			give_up("space", rc);
	}
	if (storm->in_writer)
		storm->in_writer();
	for (unsigned t = 0; t < storm->threads; t++) {
		rc = pthread_create(&w[t].thread, NULL, write_on, &w[t]);
		if (rc)
			give_up("thread", -rc);
	}
	for (;;)
		pause();
}

/* ---- the parent ------------------------------------------------------------------------------ */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One read of acknowledgements.  A pipe gives whole ones: each was written in one piece.
 * Returns their bytes; 0 at the end; a negated errno. */
static ssize_t read_acks(int from, const struct storm *storm, struct storm_round *round)
{
	static struct ack acks[4096];
	ssize_t n = read(from, acks, sizeof(acks));

	if (n < 0)
		return -errno;
	for (size_t i = 0; i < (size_t)n / sizeof(acks[0]); i++) {
		uint64_t *last = &round->acknowledged[acks[i].thread % STORM_THREADS_MAX];

		if (*last && acks[i].s != *last + 1)
			snprintf(round->why, sizeof(round->why),
				 "thread %" PRIu64 " acknowledged %" PRIu64 " after %" PRIu64,
				 acks[i].thread, acks[i].s, *last);
		*last = acks[i].s;
		round->transactions++;
	}
	if (storm->progress)
		storm->progress(storm->ctx, round->transactions);
	return n;
}

static int collect(const struct storm *storm, struct storm_round *round, pid_t child, int from)
{
	struct pollfd fd = { .fd = from, .events = POLLIN };
	double start = 0, end = 0;
	ssize_t n = 1;

	while (n > 0) {
		double now = now_s();
		int wait_ms = storm->ms && start > 0 ? (int)((end - now) * 1e3) + 1 : 1000;

		if (start > 0 && round->seconds <= 0 && storm->ms && now >= end) {
			(void)kill(child, SIGKILL);
			round->seconds = now - start; /* what is in the pipe still counts */
		}
		if (poll(&fd, 1, wait_ms > 0 ? wait_ms : 0) > 0)
			n = read_acks(from, storm, round);
		if (start == 0 && round->transactions) { /* the clock runs from the first one on */
			start = now_s();
			end = start + storm->ms / 1e3;
		}
	}
	if (round->seconds <= 0)
		round->seconds = now_s() - start;
	return (int)n;
}

int storm_kill(const struct storm *storm, struct storm_round *round)
{
	int ends[2], rc, status = 0;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	(void)fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
	child = fork();
	if (child == 0) {
		(void)close(ends[0]);
		writer(storm, ends[1]);
	}
	(void)close(ends[1]);
	rc = child < 0 ? -errno : collect(storm, round, child, ends[0]);
	(void)close(ends[0]);
	if (child > 0 && waitpid(child, &status, 0) < 0)
		rc = -errno;
	if (!rc && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)) {
		snprintf(round->why, sizeof(round->why), "the writer ended by itself, status %#x",
			 (unsigned)status);
		return 1;
	}
	return rc;
}

/* ---- the judgement --------------------------------------------------------------------------- */

struct judge {
	const struct model *model;
	uint64_t base, seen;
	unsigned next; /* pages before it were looked at */
	struct storm_round *round;
	uint64_t s;
	unsigned t;
};

static int wrong(struct judge *j, unsigned page, const char *found)
{
	const struct page *p = &j->model->page[page];

	snprintf(j->round->why, sizeof(j->round->why),
		 "space storm-%u, after transaction %" PRIu64 ": page %u: found %s, expected %s "
		 "(frame %#" PRIx64 ", flags %#x): a part of a transaction",
		 j->t, j->s, page, found, p->flags ? "it mapped" : "it not mapped", p->pfn,
		 p->flags);
	return 1;
}

/* Pages up to `end`, exclusive, are not mapped. */
static int holes(struct judge *j, unsigned end)
{
	for (; j->next < end; j->next++) {
		if (j->model->page[j->next].flags)
			return wrong(j, j->next, "nothing");
	}
	return 0;
}

static int judge_page(void *ctx, const struct pmpt_mapping *m)
{
	struct judge *j = ctx;
	uint64_t index = (m->va - j->base) / PMPT_PAGE_BYTES;
	const unsigned kept = PMPT_PROT_MASK | PMPT_TAG(15);
	const struct page *p;
	char found[80];

	snprintf(found, sizeof(found), "frame %#" PRIx64 ", flags %#x", m->pfn, m->flags);
	if (m->va < j->base || index >= STORM_PAGES)
		return wrong(j, 0, "a page outside of the window");
	if (holes(j, (unsigned)index))
		return 1;
	p = &j->model->page[j->next++];
	j->seen++;
	if (m->level != 1 || (m->flags & kept) != (p->flags & kept) || !p->flags ||
	    !(m->flags & PMPT_EXT) != !!(p->flags & PAGE_ALLOC) ||
	    (m->flags & PMPT_EXT && m->pfn != p->pfn))
		return wrong(j, (unsigned)index, found);
	return 0;
}

static int judge_space(const struct storm *storm, unsigned t, pmpt_space *space,
		       struct storm_round *round)
{
	struct model *model = calloc(1, sizeof(*model));
	struct judge j = { .model = model, .base = WINDOW(t), .round = round, .t = t };
	uint64_t last = round->acknowledged[t];
	int rc = model ? pmpt_user_get(space, 0, &j.s) : -ENOMEM;

	last = last ? last : round->before[t];
	if (!rc && (j.s < last || j.s > last + 1)) {
		snprintf(round->why, sizeof(round->why),
			 "space storm-%u: transaction %" PRIu64 " was acknowledged, the last one "
			 "there is %" PRIu64,
			 t, last, j.s);
		rc = 1;
	}
	for (uint64_t s = 1; s <= j.s && !rc; s++)
		round->pages += step(storm, t, s, model) * (s > round->before[t]);
	if (!rc)
		rc = pmpt_walk(space, 0, 0, judge_page, &j);
	if (!rc)
		rc = holes(&j, STORM_PAGES);
	round->verify_pages += j.seen;
	round->unacknowledged += j.s - last;
	round->before[t] = j.s;
	round->acknowledged[t] = 0;
	free(model);
	return rc;
}

int storm_verify(const struct storm *storm, struct storm_round *round)
{
	pmpt_pool *pool;
	int rc = *round->why ? 1 : pmpt_open(storm->path, 0, &pool), closed;

	if (rc)
		return rc;
	rc = pmpt_recovery_report(pool, &round->recovery);
	for (unsigned t = 0; t < storm->threads && !rc; t++) {
		pmpt_space *space;

		rc = open_space(pool, t, false, &space);
		if (rc)
			break;
		rc = judge_space(storm, t, space, round);
		pmpt_space_close(space);
	}
	closed = pmpt_close(pool);
	return rc ? rc : closed;
}
