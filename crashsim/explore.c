/* SPDX-License-Identifier: BSD-3-Clause */
/* explore -- see explore.h: executions, and levels of them.  Enumerating every image is exponential in
 * dirty lines; so nothing is decided before recovery reads it (Gorjiara, Xu, Demsky: "Jaaru",
 * ASPLOS 2021).
 *
 * At a read of bytes that may have come about in several ways, the options are counted, one is
 * chosen, the intervals of the groups concerned are narrowed to it, and its bytes are written into
 * the buffer just before the load (choose.c).  The choices stand on a stack; recovery is run again in
 * the same process with the deepest open choice advanced, until none is open.  Only lines touched
 * are restored.
 *
 * A crash inside recovery (nested.c) leaves an image set, too: the next level, explored when the
 * execution that met it is over.
 */
#include "explore_state.h"

#include <stdlib.h>
#include <string.h>

#include "chance.h"
#include "hooks.h"
#include "outside.h"
#include "schedule.h"
#include "unseen.h"

enum stage stage;
unsigned char *region_base;
size_t region_bytes;
void (*explore_set_seen)(const struct image_set *set, unsigned phase);

struct exploration ex;

/* ---- executions ------------------------------------------------------------------------------ */

void execution_fail(const char *what)
{
	(void)snprintf(ex.what, sizeof(ex.what), "%s", what);
	ex.failed = true;
	threads_leave();
	siglongjmp(ex.back, 1);
}

void path_survived(void)
{
	for (size_t i = 0; i < ex.x->n_killers; i++) {
		if (ex.x->killer[i].path == ex.path)
			execution_fail(ex.x->killer[i].what);
	}
}

void explore_back(void) { siglongjmp(ex.back, 1); }

void explore_fail(const char *what)
{
	if (stage != STAGE_RECOVER) {
		(void)fprintf(stderr, "crashsim: the workload fails before any crash: %s\n", what);
		exit(2);
	}
	execution_fail(what);
}

enum crashsim_state explore_state(unsigned op) { return (enum crashsim_state)ex.x->op[op % 256]; }
unsigned explore_phase(void) { return ex.at; }
uint64_t explore_noted(unsigned slot) { return ex.x->note[slot % 64]; }
void explore_outcome(uint64_t value) { ex.outcome = digest_mix(ex.outcome, value); }

static void failure_fill(struct failure *f, const char *what)
{
	f->crash_point = ex.x->crash_point;
	f->phases = ex.at + 1;
	for (unsigned i = 0; i <= ex.at; i++)
		f->crash_in[i] = ex.level[i].crash_in;
	(void)snprintf(f->what, sizeof(f->what), "%s", what);
}

/* Decide everything: a library will read that is not instrumented. */
static void read_all(struct level *l)
{
	for (size_t i = 0; i < l->set->n; i++) {
		uint32_t line = l->set->set[i]->line;

		if (l->set->set[i]->n)
			explore_read((uint64_t)line << LINE_SHIFT, LINE_BYTES);
		unseen_recovery_line(line);
	}
	if (options.mode != MODE_RERUN || ex.x->replay)
		unseen_recovery_all();
}

static void execution_begin(struct level *l)
{
	ex.execution++;
	ex.result->executions++;
	ex.events = 0;
	ex.failed = false;
	ex.following = false;
	ex.n_changed = 0;
	ex.stored = 0;
	ex.decided = 0;
	ex.outcome = 0;
	if (ex.x->beat)
		++*ex.x->beat;
	ex.path = l->below;
	l->taken = 0;
	l->n_saved = 0;
	l->events = 0;
	l->unfenced = ex.x->crash_at_end;
	l->part_of = 0;
	ex.walked = l->set->walked;
	if (l->stores)
		stores_reset(l->stores);
	if (ex.x->now) {
		failure_fill(ex.x->now, "");
		ex.x->now->n_decisions = ex.n_decisions;
		ex.x->now->path = ex.path;
	}
}

static void recover_and_check(struct level *l)
{
	const struct crashsim_workload *w = ex.x->workload;
	char outside[sizeof(ex.what)];

	path_survived();
	threads_begin();
	chance_begin();
	stage = STAGE_RECOVER;
	if (unseen_library)
		read_all(l);
	if (w->recover)
		w->recover(ex.x->buf);
	hook_settle();
	if (l->unfenced)
		crash_here();
	if (w->check && !ex.following)
		w->check(ex.x->buf);
	if (w->twice && !ex.following) {
		if (w->recover)
			w->recover(ex.x->buf);
		if (w->check)
			w->check(ex.x->buf);
	}
	threads_end();
	hook_settle();
	if (outside_changed(outside, sizeof(outside)))
		execution_fail(outside);
	/* a path that another goes along with [join.c] has taken all of its stack before they met */
	if (l->taken < l->n_stack && !ex.following)
		execution_fail(READS_OTHERWISE);
}

static void execution_end(struct level *l)
{
	if (ex.failed)
		threads_abandon();
	stage = STAGE_IDLE;
	ex.result->reads += ex.events - l->events;
	if (ex.result->executions == 1)
		ex.result->first = (struct first){ ex.events, l->taken, ex.outcome };
	hook_forget();
	outside_restore();
	if (unseen_library && (options.mode != MODE_RERUN || ex.x->replay))
		unseen_recovery_end();
	for (size_t i = l->n_saved; i-- > 0;)
		memcpy(region_base + (size_t)l->saved[i].line * LINE_BYTES, l->saved[i].content,
		       LINE_BYTES);
}

bool execute(struct level *l)
{
	execution_begin(l);
	if (!sigsetjmp(ex.back, 0)) /* execution_fail() and explore_back() come back to here */
		recover_and_check(l);
	execution_end(l);
	return !ex.failed || ex.following;
}

/* ---- levels ---------------------------------------------------------------------------------- */

static void install(struct level *l)
{
	for (size_t i = 0; i < l->set->n; i++) {
		struct line_set *s = l->set->set[i];

		l->open[i].set = s;
		l->open[i].touched = 0;
		if (s->n)
			ex.of[s->line] = &l->open[i];
		else
			memcpy(region_base + (size_t)s->line * LINE_BYTES, s->base, LINE_BYTES);
	}
}

static void uninstall(struct level *l)
{
	for (size_t i = 0; i < l->set->n; i++) {
		uint32_t line = l->set->set[i]->line;

		ex.of[line] = NULL;
		memcpy(region_base + (size_t)line * LINE_BYTES,
		       l->set->rest + (size_t)line * LINE_BYTES, LINE_BYTES);
	}
}

static uint64_t digest_below(const struct level *l, const struct nested *n)
{
	uint64_t h = l->below;

	for (size_t i = 0; i < n->n_decisions; i++)
		h = digest_mix(h, (uint64_t)l->stack[i].chosen << 32 | l->stack[i].line << 3 |
					  l->stack[i].word);
	return digest_mix(h, n->crash_in);
}

/* Decisions up to a nested crash are part of every failure behind it. */
static bool explore_nested(struct level *l)
{
	bool go_on = true;
	size_t decisions = ex.n_decisions;

	if (!l->n_nested)
		return true;
	uninstall(l);
	for (size_t i = 0; i < l->n_nested; i++) {
		if (go_on) {
			ex.result->nested++;
			ex.n_decisions = decisions + l->nested[i].n_decisions;
			if (ex.x->guide && ex.at == 0)
				ex.guided = l->nested[i].n_decisions;
			if (ex.x->now) {
				for (size_t k = 0; k < l->nested[i].n_decisions; k++)
					ex.x->now->decision[decisions + k] = l->stack[k];
			}
			ex.level[ex.at + 1].below = digest_below(l, &l->nested[i]);
			ex.at++;
			go_on = explore_level(l->nested[i].set, l->nested[i].crash_in);
			ex.at--;
		}
		image_set_free(l->nested[i].set);
	}
	ex.n_decisions = decisions;
	l->n_nested = 0;
	install(l);
	return go_on;
}

/* The deepest open choice goes on to its next option.  False: none is open. */
static bool advance(struct level *l)
{
	l->n_stack = l->taken; /* what a failure left behind it is void */
	while (l->n_stack &&
	       l->stack[l->n_stack - 1].chosen + 1 >= l->stack[l->n_stack - 1].options)
		l->n_stack--;
	if (!l->n_stack)
		return false;
	l->stack[l->n_stack - 1].chosen++;
	l->changed = l->n_stack;
	return true;
}

static void account(bool fine)
{
	if (fine && !ex.following && digest_add(&ex.outcomes, ex.outcome + 1)) {
		ex.result->outcomes++;
		ex.result->outcome_digest += digest_mix(3, ex.outcome);
	}
}

bool explore_lazy(const struct image_set *set, size_t crash_in)
{
	struct level *l = &ex.level[ex.at];
	bool go_on = true;

	l->set = set;
	l->crash_in = crash_in;
	l->serial = ++ex.serial;
	l->open = must(calloc(set->n + 1, sizeof(*l->open)));
	l->n_stack = 0;
	l->changed = 0;
	l->n_nested = 0;
	if (ex.at + 1 < ex.x->depth && !l->stores)
		l->stores = stores_new(ex.at + 1, ex.x->bytes);
	install(l);
	if (explore_set_seen)
		explore_set_seen(set, ex.at);
	if (ex.x->observer)
		ex.x->observer->level(ex.x->observer->ctx, ex.at, set);
	do {
		bool fine;

		if (ex.x->stop && ex.x->stop(ex.x->ctx)) {
			go_on = false;
			break;
		}
		fine = options.mode == MODE_RERUN && !ex.x->replay ? execute_apart(l) : execute(l);
		account(fine);
		if (!fine && ex.x->failed && (!ex.x->replay || ex.at + 1 == ex.x->replay->phases)) {
			failure_fill(ex.x->now, ex.what);
			go_on = ex.x->failed(ex.x->ctx, ex.x->now);
		}
		if (ex.x->replay && !ex.x->guide && ex.at + 1 == ex.x->replay->phases &&
		    ex.n_decisions + l->taken < ex.x->replay->n_decisions)
			ex.x->misfit = true; /* choices are left over */
		if (go_on)
			go_on = explore_nested(l);
		if (ex.x->replay)
			break;
	} while (go_on && advance(l));
	for (size_t i = 0; i < l->n_nested; i++)
		image_set_free(l->nested[i].set);
	l->n_nested = 0;
	uninstall(l);
	free(l->open);
	return go_on;
}

static void room_for(size_t lines)
{
	for (unsigned i = 0; i <= PHASES_MAX; i++) { /* of another depth or size */
		stores_free(ex.level[i].stores);
		ex.level[i].stores = NULL;
	}
	if (ex.lines == lines)
		return;
	free(ex.of);
	free(ex.written);
	free(ex.changed);
	ex.of = must(calloc(lines, sizeof(*ex.of)));
	ex.written = must(calloc(lines, sizeof(*ex.written)));
	ex.changed = must(calloc(lines, sizeof(*ex.changed)));
	ex.lines = lines;
}

void explore(struct explorer *x, const struct image_set *set, struct point_result *result)
{
	ex.x = x;
	ex.result = result;
	ex.at = 0;
	ex.n_decisions = 0;
	ex.guided = 0;
	room_for(x->bytes / LINE_BYTES);
	digests_clear(&ex.seen);
	digests_clear(&ex.outcomes);
	digests_clear(&ex.joined);
	memcpy(x->buf, set->rest, x->bytes);
	if (unseen_library)
		unseen_recovery_all();
	result->images_log10 = image_set_log10(set);
	ex.level[0].below = digest_mix(x->crash_point, 0);
	result->cut = !explore_level(set, x->crash_point) || result->cut;
	result->done = true;
}
