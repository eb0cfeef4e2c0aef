/* SPDX-License-Identifier: BSD-3-Clause */
/* merge -- crashsim merge: what the shards of a run wrote, as what one run would have.
 *
 * Each crash point is explored by itself, so sums over points are exact; they are taken again, in
 * the order of points, and the limit of failures is applied again, so that the result is that of one
 * run to the last digit.  Only seconds, the sum over the shards, tell the difference.
 */
#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "report.h"

#define WROTE "what `crashsim run --json --shard I/N` wrote"

struct merged { /* a workload */
	struct result r;
	struct json *first; /* of the shard read first */
	const char *file;   /* that it came from */
	bool *have;         /* by shard */
	unsigned shards;
	unsigned max_failures;
	struct merged *next;
};

struct place { /* in a file, for messages */
	const char *file;
	size_t line;
};

static int bad(const struct place *at, const char *found)
{
	(void)fprintf(stderr, "crashsim: merge: %s:%zu: %s\n", at->file, at->line, found);
	return EXIT_USAGE;
}

static uint64_t number(const struct json *j, int base)
{
	return j && j->text ? strtoull(j->text, NULL, base) : 0;
}

static uint64_t of(const struct json *j, const char *key) { return number(json_get(j, key), 10); }

static const char *text_of(const struct json *j, const char *key)
{
	const struct json *m = json_get(j, key);

	return m && m->kind == JSON_STRING ? m->text : "";
}

/* ---- one shard ------------------------------------------------------------------------------------- */

/* The order of points_json(), report_json.c. */
static bool point_read(const struct json *j, struct point *p)
{
	const struct json *at[11];
	unsigned n = 0;

	for (const struct json *c = j->child; c && n < 11; c = c->next)
		at[n++] = c;
	if (j->kind != JSON_ARRAY || n != 11)
		return false;
	p->ordinal = number(at[0], 10);
	p->event = number(at[1], 10);
	p->r.executions = number(at[2], 10);
	p->r.choices = number(at[3], 10);
	p->r.pruned = number(at[4], 10);
	p->r.nested = number(at[5], 10);
	p->r.outcomes = number(at[6], 10);
	p->r.outcome_digest = number(at[7], 16);
	p->r.n_failures = (unsigned)number(at[8], 10);
	p->r.done = true;
	p->r.cut = number(at[9], 10) != 1;
	p->r.images_log10 = at[10]->text ? strtod(at[10]->text, NULL) : 0;
	return true;
}

static bool points_read(struct result *r, const struct json *j)
{
	const struct json *points = json_get(j, "points");

	if (!points || points->kind != JSON_ARRAY)
		return false;
	for (const struct json *c = points->child; c; c = c->next) {
		r->point = must(realloc(r->point, (r->n_points + 1) * sizeof(*r->point)));
		memset(&r->point[r->n_points], 0, sizeof(*r->point));
		if (!point_read(c, &r->point[r->n_points++]))
			return false;
	}
	return true;
}

static void failures_read(struct result *r, const struct json *j)
{
	const struct json *list = json_get(j, "failure");

	for (const struct json *c = list ? list->child : NULL; c; c = c->next) {
		struct failure *f;
		const char *colon = strchr(text_of(c, "id"), ':');

		r->failure = must(realloc(r->failure, (r->n_failures + 1) * sizeof(*r->failure)));
		f = &r->failure[r->n_failures++];
		*f = (struct failure){ .crash_point = of(c, "crash_point"),
				       .phases = (unsigned)of(c, "crashes") };
		(void)snprintf(f->id, sizeof(f->id), "%s", colon ? colon + 1 : "");
		(void)snprintf(f->what, sizeof(f->what), "%s", text_of(c, "what"));
	}
}

/* What all shards have to agree on. */
static const char *differs(const struct json *a, const struct json *b)
{
	static const char *const same[] = {
		"trace", "persist", "line_order",          "mode",         "seed",
		"depth", "shards",  "crash_points_in_all", "max_failures", "events"
	};

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		const struct json *x = json_get(a, same[i]), *y = json_get(b, same[i]);

		if (!x || !y || !x->text || !y->text || strcmp(x->text, y->text) != 0)
			return same[i];
	}
	return NULL;
}

static struct merged *merged_new(struct merged **all, struct json *j, const char *file)
{
	struct merged *m = must(calloc(1, sizeof(*m)));

	while (*all)
		all = &(*all)->next;
	*all = m;
	m->first = j;
	m->file = file;
	m->shards = (unsigned)of(j, "shards");
	m->max_failures = (unsigned)of(j, "max_failures");
	m->have = must(calloc(m->shards + 1, sizeof(*m->have)));
	m->r.trace_digest = number(json_get(j, "trace"), 16);
	m->r.exhaustive = true;
	m->r.depth = (unsigned)of(j, "depth");
	m->r.points_in_all = of(j, "crash_points_in_all");
	m->r.threads = of(j, "threads");
	m->r.trace_events = of(j, "events");
	m->r.trace_stores = of(j, "stores");
	m->r.trace_lines = of(j, "lines");
	m->r.trace_flushes = of(j, "flushes");
	m->r.trace_fences = of(j, "fences");
	(void)snprintf(m->r.workload, sizeof(m->r.workload), "%s", text_of(j, "workload"));
	return m;
}

static bool has_warning(const struct result *r, const char *words)
{
	for (size_t i = 0; i < r->n_warnings; i++) {
		if (!strcmp(r->warning[i], words))
			return true;
	}
	return false;
}

static int shard_read(struct merged **all, struct json *j, const struct place *at)
{
	struct merged *m = *all;
	const struct json *exhaustive = json_get(j, "exhaustive");
	const char *key;
	unsigned shard = (unsigned)of(j, "shard");
	char text[200];

	if (!of(j, "crashsim") || !of(j, "shards") || of(j, "shards") > 1000000 ||
	    shard >= of(j, "shards"))
		return bad(at, "found no result of `crashsim run --json`, expected " WROTE);
	if (of(j, "shards") == 1 && !json_get(j, "points"))
		return bad(at, "found the result of a whole run, expected " WROTE);
	while (m && (strcmp(m->r.workload, text_of(j, "workload")) != 0 ||
		     of(m->first, "seed") != of(j, "seed")))
		m = m->next;
	if (!m)
		m = merged_new(all, j, at->file);
	key = differs(m->first, j);
	if (key) {
		(void)snprintf(text, sizeof(text),
			       "workload '%s': its \"%s\" is not that of %.100s", m->r.workload,
			       key, m->file);
		return bad(at, text);
	}
	if (m->have[shard]) {
		(void)snprintf(text, sizeof(text), "workload '%s': shard %u is there twice",
			       m->r.workload, shard);
		return bad(at, text);
	}
	m->have[shard] = true;
	if (!points_read(&m->r, j))
		return bad(at, "found no \"points\", expected " WROTE);
	failures_read(&m->r, j);
	m->r.seconds += strtod(json_get(j, "seconds") ? json_get(j, "seconds")->text : "0", NULL);
	m->r.exhaustive = m->r.exhaustive && exhaustive && exhaustive->truth;
	for (const struct json *w = json_get(j, "warnings") ? json_get(j, "warnings")->child : NULL;
	     w; w = w->next) {
		if (has_warning(&m->r, w->text))
			continue;
		m->r.warning = must(realloc(m->r.warning, (m->r.n_warnings + 1) * sizeof(char *)));
		m->r.warning[m->r.n_warnings++] = w->text;
	}
	return EXIT_FINE;
}

static int file_read(struct merged **all, const char *path)
{
	FILE *f = fopen(path, "r");
	struct place at = { path, 0 };
	char *text = NULL;
	size_t size = 0;
	int rc = EXIT_FINE;
	bool read = false;

	if (!f) {
		(void)fprintf(stderr, "crashsim: merge: %s: %s\n", path, strerror(errno));
		return EXIT_NOT_RUN;
	}
	while (rc == EXIT_FINE && getline(&text, &size, f) > 0) {
		const char *rest;
		struct json *j;

		at.line++;
		if (!strncmp(text, "crashsim: ", 10)) /* standard error in the same file */
			continue;
		read = true;
		j = json_parse(text, &rest);
		/* the objects live as long as the command: results point into them */
		rc = j ? shard_read(all, j, &at) : bad(&at, "found no JSON, expected " WROTE);
	}
	if (rc == EXIT_FINE && !read) {
		(void)fprintf(stderr, "crashsim: merge: %s: found nothing, expected " WROTE "\n",
			      path);
		rc = EXIT_USAGE;
	}
	free(text);
	(void)fclose(f);
	return rc;
}

/* ---- together -------------------------------------------------------------------------------------- */

static int by_ordinal(const void *a, const void *b)
{
	const struct point *x = a, *y = b;

	return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

/* A point is in one shard, which has its failures in order: only points are to be sorted. */
static void failures_sort(struct result *r)
{
	struct failure *sorted = must(calloc(r->n_failures + 1, sizeof(*sorted)));
	size_t n = 0;

	for (size_t i = 0; i < r->n_points; i++) {
		for (size_t k = 0; k < r->n_failures; k++) {
			if (r->failure[k].crash_point == r->point[i].event)
				sorted[n++] = r->failure[k];
		}
	}
	free(r->failure);
	r->failure = sorted;
	r->n_failures = n;
}

static int tell(struct merged *m)
{
	struct result *r = &m->r;
	unsigned missing = 0, first = 0;

	for (unsigned i = m->shards; i-- > 0;) {
		if (!m->have[i]) {
			missing++;
			first = i;
		}
	}
	if (missing) {
		(void)fprintf(
			stderr,
			"crashsim: merge: workload '%s': %u of %u shards are missing, the first is %u\n",
			r->workload, missing, m->shards, first);
		r->exhaustive = false;
	}
	qsort(r->point, r->n_points, sizeof(*r->point), by_ordinal);
	failures_sort(r);
	result_cut(r, m->max_failures);
	result_sum(r);
	options.persist = !strcmp(text_of(m->first, "persist"), "cache") ? PERSIST_CACHE
			  : !strcmp(text_of(m->first, "persist"), "cache-failed")
				  ? PERSIST_CACHE_FAILED
			  : !strcmp(text_of(m->first, "persist"), "page") ? PERSIST_PAGE
									  : PERSIST_MEMORY;
	options.order =
		!strcmp(text_of(m->first, "line_order"), "free") ? ORDER_FREE : ORDER_PREFIX;
	options.mode = !strcmp(text_of(m->first, "mode"), "eager")   ? MODE_EAGER
		       : !strcmp(text_of(m->first, "mode"), "rerun") ? MODE_RERUN
								     : MODE_LAZY;
	options.seed = of(m->first, "seed");
	options.shard = 0;
	options.shards = 1;
	result_json(stdout, r, false);
	return missing         ? EXIT_NOT_RUN
	       : r->n_failures ? EXIT_FAILURES
	       : r->exhaustive ? EXIT_FINE
			       : EXIT_NOT_RUN;
}

/* Of several schedules, one run goes up to the first that fails; a shard may not have seen that. */
static bool has_failed(const struct merged *all, const struct merged *m)
{
	for (; all != m; all = all->next) {
		if (!strcmp(all->r.workload, m->r.workload) && all->r.n_failures)
			return true;
	}
	return false;
}

int command_merge(int argc, char **argv)
{
	struct merged *all = NULL;
	int operands = options_parse("merge", argc, argv), rc = EXIT_FINE;

	if (operands < 0)
		return EXIT_USAGE;
	if (!operands) {
		fputs("crashsim: merge: found no file, expected what `run --json --shard I/N` wrote\n",
		      stderr);
		return EXIT_USAGE;
	}
	for (int i = 1; i <= operands; i++) {
		rc = file_read(&all, argv[i]);
		if (rc)
			return rc;
	}
	for (struct merged *m = all; m; m = m->next) {
		int one = has_failed(all, m) ? EXIT_FINE : tell(m);

		rc = rc > one ? rc : one;
	}
	return rc;
}
