/* SPDX-License-Identifier: BSD-3-Clause */
/* modes -- two slower ways to explore an image set, to check the lazy one by.
 *
 * EAGER	every image of the set, one after the other: the product of what is open in each line.
 *		Recovery runs on bytes that are all decided, so nothing depends on what it reads.
 * RERUN	decided by what recovery reads, like the lazy way; but each execution takes place in a
 *		process of its own, so nothing that recovery leaves behind (static variables, memory,
 *		a lock) reaches the next one.
 */
#include "explore_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- every image --------------------------------------------------------------------------------- */

struct wheel {       /* an open group: a digit of the number of an image */
	size_t line; /* index in the set */
	unsigned group;
	uint16_t lo, hi;
};

struct eager {
	const struct image_set *set;
	struct image_set one; /* the image under way, as a set with nothing open */
	struct wheel *wheel;
	size_t n_wheels;
	uint16_t (*cut)[GROUPS]; /* by line of the set */
};

static void wheels_find(struct eager *e)
{
	for (size_t i = 0; i < e->set->n; i++) {
		const struct line_set *l = e->set->set[i];
		bool seen[GROUPS] = { 0 };

		memcpy(e->cut[i], l->hi, sizeof(l->hi));
		for (uint32_t k = 0; k < l->n; k++) {
			unsigned g = l->piece[k].group;

			if (seen[g] || l->lo[g] >= l->hi[g])
				continue;
			seen[g] = true;
			e->wheel = must(realloc(e->wheel, (e->n_wheels + 1) * sizeof(*e->wheel)));
			e->wheel[e->n_wheels++] = (struct wheel){ i, g, l->lo[g], l->hi[g] };
		}
	}
}

static void eager_begin(struct eager *e, const struct image_set *set)
{
	*e = (struct eager){ .set = set,
			     .one = { .n = set->n, .room = set->n, .rest = set->rest } };
	e->one.set = must(calloc(set->n + 1, sizeof(*e->one.set)));
	e->cut = must(calloc(set->n + 1, sizeof(*e->cut)));
	for (size_t i = 0; i < set->n; i++) {
		e->one.set[i] = must(calloc(1, sizeof(**e->one.set)));
		e->one.set[i]->line = set->set[i]->line;
	}
	wheels_find(e);
}

static void eager_end(struct eager *e)
{
	for (size_t i = 0; i < e->set->n; i++)
		free(e->one.set[i]);
	free(e->one.set);
	free(e->cut);
	free(e->wheel);
}

/* Image 0 is the one in which everything has landed, as in the lazy order of options. */
static void eager_make(struct eager *e, uint64_t number)
{
	for (size_t i = 0; i < e->n_wheels; i++) {
		const struct wheel *w = &e->wheel[i];
		uint64_t n = 1u + w->hi - w->lo;

		e->cut[w->line][w->group] = (uint16_t)(w->hi - number % n);
		number /= n;
	}
	for (size_t i = 0; i < e->set->n; i++)
		line_set_content(e->set->set[i], e->cut[i], e->one.set[i]->base);
}

/* The number of the image stands in a failure's path like two decisions. */
static void eager_note(uint64_t number)
{
	struct failure *now = ex.x->now;

	if (now && ex.n_decisions + 2 <= DECISIONS_MAX) {
		now->decision[ex.n_decisions] =
			(struct decision){ .chosen = (uint16_t)(number >> 16),
					   .options = UINT16_MAX };
		now->decision[ex.n_decisions + 1] =
			(struct decision){ .chosen = (uint16_t)number, .options = UINT16_MAX };
	}
	ex.n_decisions += 2;
}

/* A replay makes one image alone. */
static void eager_replayed(uint64_t *number, uint64_t *end)
{
	const struct failure *r = ex.x->replay;
	size_t at = ex.n_decisions;

	if (!r)
		return;
	*number = 0;
	if (at < r->n_decisions)
		*number = (uint64_t)r->decision[at].chosen << 16;
	if (at + 1 < r->n_decisions)
		*number |= r->decision[at + 1].chosen;
	ex.x->misfit = *number >= *end;
	*end = ex.x->misfit ? 0 : *number + 1;
}

/* A replay is watched: the image, as a set of which nothing is open. */
static void eager_tell(const struct eager *e)
{
	const struct observer *o = ex.x->observer;
	struct image_set told = *e->set;

	if (!o)
		return;
	told.set = must(calloc(told.n + 1, sizeof(*told.set)));
	for (size_t i = 0; i < told.n; i++) {
		told.set[i] = must(malloc(sizeof(**told.set)));
		*told.set[i] = *e->set->set[i];
		memcpy(told.set[i]->lo, e->cut[i], sizeof(told.set[i]->lo));
		memcpy(told.set[i]->hi, e->cut[i], sizeof(told.set[i]->hi));
	}
	o->level(o->ctx, ex.at, &told);
	for (size_t i = 0; i < told.n; i++)
		free(told.set[i]);
	free(told.set);
}

static bool explore_eager(const struct image_set *set, size_t crash_in)
{
	struct level *l = &ex.level[ex.at];
	double images = 1; /* and combinations that are none */
	uint64_t below = l->below, number = 0, end = 1;
	size_t decisions = ex.n_decisions;
	struct eager e;
	bool go_on = true;

	eager_begin(&e, set);
	for (size_t i = 0; i < e.n_wheels; i++)
		images *= 1.0 + e.wheel[i].hi - e.wheel[i].lo;
	if (log10(images) > EAGER_LOG10_MAX + 1e-9) {
		(void)fprintf(
			stderr,
			"crashsim: 10^%.1f images of a crash are too many to make one by one\n",
			log10(images));
		ex.result->cut = true;
		eager_end(&e);
		return true;
	}
	end = (uint64_t)images;
	eager_replayed(&number, &end);
	for (; number < end && go_on; number++) {
		eager_make(&e, number);
		if (!image_holds(set, e.cut))
			continue;
		eager_note(number);
		eager_tell(&e);
		l->below = digest_mix(below, number);
		go_on = explore_lazy(&e.one, crash_in);
		ex.n_decisions = decisions;
	}
	l->below = below;
	eager_end(&e);
	return go_on;
}

bool explore_level(const struct image_set *set, size_t crash_in)
{
	return options.mode == MODE_EAGER ? explore_eager(set, crash_in)
					  : explore_lazy(set, crash_in);
}

/* ---- each execution apart ------------------------------------------------------------------------ */

struct left { /* what an execution leaves behind for its parent */
	bool done, failed;
	char what[sizeof(ex.what)];
	uint64_t outcome;
	struct point_result result;
	size_t taken, n_nested;
};

static void put(FILE *to, const void *data, size_t bytes)
{
	if (fwrite(data, 1, bytes, to) != bytes)
		_exit(3);
}

static void get(FILE *from, void *data, size_t bytes)
{
	if (fread(data, 1, bytes, from) != bytes) {
		fputs("crashsim: an execution has left less behind than it said\n", stderr);
		exit(3);
	}
}

static void set_put(FILE *to, const struct image_set *s)
{
	put(to, s, sizeof(*s));
	for (size_t i = 0; i < s->n; i++) {
		put(to, s->set[i], sizeof(*s->set[i]));
		put(to, s->set[i]->piece, s->set[i]->n * sizeof(struct piece));
	}
}

static struct image_set *set_get(FILE *from)
{
	struct image_set *s = must(malloc(sizeof(*s)));

	get(from, s, sizeof(*s));
	s->set = must(calloc(s->n + 1, sizeof(*s->set)));
	for (size_t i = 0; i < s->n; i++) {
		struct line_set *l = s->set[i] = must(malloc(sizeof(*l)));

		get(from, l, sizeof(*l));
		l->piece = must(malloc((l->n + 1) * sizeof(*l->piece)));
		get(from, l->piece, l->n * sizeof(*l->piece));
	}
	return s;
}

static _Noreturn void execute_child(struct level *l, FILE *to)
{
	struct point_result result = *ex.result;
	struct left left = { .done = true };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	ex.result = &result;
	left.failed = !execute(l);
	memcpy(left.what, ex.what, sizeof(left.what));
	left.outcome = ex.outcome;
	left.result = result;
	left.taken = l->taken;
	left.n_nested = l->n_nested;
	put(to, &left, sizeof(left));
	put(to, l->stack, l->taken * sizeof(*l->stack));
	for (size_t i = 0; i < l->n_nested; i++) {
		put(to, &l->nested[i], sizeof(l->nested[i]));
		set_put(to, l->nested[i].set);
	}
	if (fflush(to))
		_exit(3);
	_exit(0);
}

static void nested_get(struct level *l, FILE *from, size_t n)
{
	if (n > l->room_nested) {
		l->room_nested = 2 * n;
		l->nested = must(realloc(l->nested, l->room_nested * sizeof(*l->nested)));
	}
	for (size_t i = 0; i < n; i++) {
		get(from, &l->nested[i], sizeof(l->nested[i]));
		l->nested[i].set = set_get(from);
		if (!options.no_prune)
			(void)digest_add(&ex.seen, set_digest(l->nested[i].set, ex.at));
	}
	l->n_nested = n;
}

/* The process died: its decisions stand in the failure that it shares with us. */
static void died(struct level *l, int status)
{
	const struct failure *now = ex.x->now;
	size_t n = now && now->n_decisions > ex.n_decisions ? now->n_decisions - ex.n_decisions : 0;

	decisions_room(l, n);
	for (size_t i = 0; i < n; i++)
		l->stack[i] = now->decision[ex.n_decisions + i];
	l->n_stack = l->taken = n;
	ex.failed = true;
	if (ex.x->died)
		ex.x->died(ex.x->ctx, status, ex.what, sizeof(ex.what));
	else
		(void)snprintf(ex.what, sizeof(ex.what), "recovery ended its process, status %#x",
			       (unsigned)status);
	ex.result->executions++;
}

bool execute_apart(struct level *l)
{
	int fd = memfd_create("execution", MFD_CLOEXEC), status = 0;
	FILE *file = must(fd < 0 ? NULL : fdopen(fd, "w+"));
	struct left left = { 0 };
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0)
		execute_child(l, file);
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		perror("crashsim: a process for an execution");
		exit(3);
	}
	rewind(file);
	if (fread(&left, sizeof(left), 1, file) != 1 || !left.done || status) {
		died(l, status);
	} else {
		decisions_room(l, left.taken);
		get(file, l->stack, left.taken * sizeof(*l->stack));
		l->n_stack = l->taken = left.taken;
		ex.failed = left.failed;
		memcpy(ex.what, left.what, sizeof(ex.what));
		ex.outcome = left.outcome;
		*ex.result = left.result;
		nested_get(l, file, left.n_nested);
	}
	(void)fclose(file);
	ex.execution++;
	return !ex.failed;
}
