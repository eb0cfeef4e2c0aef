/* SPDX-License-Identifier: BSD-3-Clause */
/* report_text -- the certificate, and a failure, for people. */
#include "report.h"

#include <inttypes.h>
#include <string.h>

#include "cause.h"
#include "command.h"
#include "symbol.h"

#define FRAMES 4u

/* ---- the certificate ------------------------------------------------------------------------------- */

static void perf_text(FILE *to, const struct result *r)
{
	for (size_t i = 0; i < r->n_perf; i++) {
		const struct perf *p = &r->perf[i];

		(void)fprintf(
			to,
			"  perf      %s: %s, %zu of %zu times; without, the images of all %zu crash points "
			"are the same\n",
			p->place, p->what, p->times, p->of, p->points);
	}
	if (r->perf_looked && !r->n_perf)
		(void)fprintf(to, "  perf      no flush and no fence that does nothing\n");
}

/* Which limit it was. */
static const char *not_exhaustive(const struct result *r)
{
	static char text[100];
	size_t failures = 0;

	for (size_t i = 0; i < r->n_points; i++)
		failures += r->point[i].r.n_failures;
	if (r->broken)
		return "NOT exhaustive: the engine failed";
	if (failures >= options.max_failures)
		(void)snprintf(text, sizeof(text), "NOT exhaustive: --max-failures %u cut it off",
			       options.max_failures);
	else if (r->late)
		(void)snprintf(text, sizeof(text), "NOT exhaustive: --time-limit %g cut it off",
			       options.time_limit);
	else
		return "NOT exhaustive: images of a crash were too many to make one by one";
	return text;
}

void result_cut_text(FILE *to, const struct result *r)
{
	(void)fprintf(to, "%s: no failure in %" PRIu64 " of %zu crash points; %s\n", r->workload,
		      r->crash_points, r->points_in_all, not_exhaustive(r));
}

void result_text(FILE *to, const struct result *r)
{
	char failures[60];

	(void)snprintf(failures, sizeof(failures), "%zu failure%s", r->n_failures,
		       r->n_failures == 1 ? "" : "s");
	(void)fprintf(to, "%s: %s%s\n", r->workload, r->n_failures ? failures : "no failure",
		      r->broken ? ", but the engine failed" : "");
	(void)fprintf(
		to,
		"  recorded  %zu events of %zu thread%s: %zu stores to %zu lines, %zu flushes, %zu "
		"fences\n",
		r->trace_events, r->threads, r->threads == 1 ? "" : "s", r->trace_stores,
		r->trace_lines, r->trace_flushes, r->trace_fences);
	(void)fprintf(
		to,
		"  explored  %" PRIu64 " of %zu crash points and %" PRIu64
		" inside recovery, %u crash%s in a row;\n            10^%.1f images of the first crash "
		"by %" PRIu64 " executions, %" PRIu64 " choices, %" PRIu64
		" equal states left out\n",
		r->crash_points, r->points_in_all, r->nested_points, r->depth,
		r->depth == 1 ? "" : "es", r->images_log10, r->executions, r->choices, r->pruned);
	(void)fprintf(to, "  %s; %.1f s, %.0f executions/s\n",
		      r->exhaustive ? "exhaustive for this recording" : not_exhaustive(r),
		      r->seconds, r->seconds > 0 ? (double)r->executions / r->seconds : 0.0);
	if (r->trace_msyncs && !r->trace_flushes && options.persist == PERSIST_MEMORY)
		(void)fprintf(
			to,
			"  hint      it writes back by msync alone: --persist page explores what a "
			"disk may have of a file\n");
	perf_text(to, r);
}

/* ---- a failure ------------------------------------------------------------------------------------- */

/* The program's own frames, innermost first, each in a line; the source of the first. */
static void frames_text(FILE *to, const uint64_t *stack, unsigned n_stack, uint64_t site,
			unsigned most)
{
	const struct symbol *frame[FRAMES];
	unsigned n = story_frames(stack, n_stack, site, frame, most);
	char place[200], source[200];

	for (unsigned i = 0; i < n; i++)
		(void)fprintf(to, "%s%s%s%s%s", i ? " < " : "",
			      symbol_place(frame[i], place, sizeof(place)),
			      frame[i]->line ? " (" : "", frame[i]->line ? frame[i]->function : "",
			      frame[i]->line ? ")" : "");
	if (n && symbol_source(frame[0], source, sizeof(source))[0])
		(void)fprintf(to, "\n                |  %s", source);
	(void)fputc('\n', to);
}

static void happening_text(FILE *to, const struct happening *h)
{
	static const char *const fate[] = {
		"", "durable", "survived", "LOST", "TORN", "either",
	};

	if (h->phase)
		(void)fprintf(to, "    %-9s +0x%-6llx %u byte%s, new 0x%llx, in recovery %u: ",
			      fate[h->fate], (unsigned long long)h->e.off, h->e.len,
			      h->e.len == 1 ? "" : "s", (unsigned long long)h->e.value, h->phase);
	else
		(void)fprintf(to, "    %-9s +0x%-6llx %u byte%s, 0x%llx -> 0x%llx: ", fate[h->fate],
			      (unsigned long long)h->e.off, h->e.len, h->e.len == 1 ? "" : "s",
			      (unsigned long long)h->old, (unsigned long long)h->e.value);
	frames_text(to, h->stack, h->n_stack, h->e.site, FRAMES);
}

static void crash_text(FILE *to, const struct story *s, const char *name)
{
	const struct event *e = s->f.crash_point < s->t->n ? &s->t->event[s->f.crash_point] : NULL;
	char text[400];
	unsigned char op[256];
	uint64_t note[64];

	(void)fprintf(to, "  %s   before event %zu of run: %s\n", name, s->f.crash_point,
		      e ? event_text(e, text, sizeof(text)) : "its end");
	ops_at(s->t, s->f.crash_point, op, note);
	for (unsigned i = 0; i < 256; i++) {
		if (op[i] != CRASHSIM_NOT_BEGUN)
			(void)fprintf(to, "          operation %u had %s\n", i,
				      op[i] == CRASHSIM_OPEN ? "begun" : "returned");
	}
	for (unsigned i = 1; i < s->f.phases; i++)
		(void)fprintf(to, "          then before event %zu of recovery %u\n",
			      s->f.crash_in[i], i);
}

static void stores_text(FILE *to, const struct story *s)
{
	size_t survived = 0;

	(void)fputs("  stores at the crash\n", to);
	for (size_t i = 0; i < s->n; i++) {
		const struct happening *h = &s->event[i];

		if (h->fate == FATE_LOST || h->fate == FATE_TORN)
			happening_text(to, h);
		if (h->fate == FATE_SURVIVED && survived++ < 8)
			happening_text(to, h);
	}
	if (survived > 8)
		(void)fprintf(to, "    and %zu more that survived\n", survived - 8);
}

static void reads_text(FILE *to, const struct story *s)
{
	size_t told = 0;

	(void)fputs("  recovery read\n", to);
	for (size_t i = 0; i < s->n_reads; i++) {
		const struct reading *r = &s->read[i];

		if (r->d.options < 2 && s->n_reads > 8)
			continue;
		if (told++ == 12) {
			(void)fputs("    and more\n", to);
			break;
		}
		if (r->d.word == LINE_WORDS)
			(void)fprintf(to, "    +0x%-6llx the whole line, content %u of %u: ",
				      (unsigned long long)r->d.line * LINE_BYTES, r->d.chosen + 1u,
				      r->d.options);
		else
			(void)fprintf(to, "    +0x%-6llx 0x%llx, %s: ",
				      (unsigned long long)r->d.line * LINE_BYTES + 8 * r->d.word,
				      (unsigned long long)r->value,
				      r->d.options < 2   ? "the only value left"
				      : r->d.chosen == 0 ? "the newest value"
							 : "an older value");
		frames_text(to, r->stack, r->n_stack, 0, 2);
	}
}

/* The words that differ between what run had stored and what recovery read. */
static void state_text(FILE *to, const struct story *s)
{
	bool told = false;

	for (size_t i = 0; i < s->n_reads; i++) {
		const struct reading *r = &s->read[i];
		uint64_t off = (uint64_t)r->d.line * LINE_BYTES + 8 * r->d.word, stored = 0;
		bool known = false;

		if (r->d.word == LINE_WORDS)
			continue;
		memcpy(&stored, s->t->first + off, 8);
		for (size_t k = 0; k < s->n && s->event[k].phase == 0; k++) {
			const struct event *e = &s->event[k].e;

			for (uint32_t b = 0;
			     (e->kind == EV_STORE || e->kind == EV_STREAM) && b < e->len; b++) {
				if (e->off + b < off || e->off + b >= off + 8)
					continue;
				memcpy((char *)&stored + (e->off + b - off),
				       (const char *)&e->value + b, 1);
				known = true;
			}
		}
		if (!known || stored == r->value || r->d.mask != 0xff)
			continue;
		if (!told)
			(void)fputs("  state     as run had stored it, and as recovery found it\n",
				    to);
		told = true;
		(void)fprintf(to, "    +0x%-6llx 0x%llx  ->  0x%llx\n", (unsigned long long)off,
			      (unsigned long long)stored, (unsigned long long)r->value);
	}
}

/* ---- what is missing ------------------------------------------------------------------------------- */

static void place_text(FILE *to, const struct story *s, size_t i)
{
	const struct happening *h = &s->event[i];
	const struct symbol *frame[1];
	char place[200];

	if (h->e.kind == EV_RETURNED)
		(void)fprintf(to, "the return of operation %llu", (unsigned long long)h->e.value);
	else if (story_frames(h->stack, h->n_stack, h->e.site, frame, 1))
		(void)fputs(symbol_place(frame[0], place, sizeof(place)), to);
	else
		(void)fprintf(to, "event %zu", h->index);
}

static void flushes_text(FILE *to, const struct story *s, const struct cause *c)
{
	const char *comma = "";

	for (size_t i = 0; i < c->patch.n_flush; i++) {
		uint64_t line = s->event[c->flush_at[i]].e.off >> LINE_SHIFT;
		size_t k = i + 1;

		while (k < c->patch.n_flush && s->event[c->flush_at[k]].e.off >> LINE_SHIFT != line)
			k++;
		if (k < c->patch.n_flush) /* one flush of a line, behind the last store to it */
			continue;
		(void)fprintf(to, "%sa flush of the line at +0x%llx after ", comma,
			      (unsigned long long)(line << LINE_SHIFT));
		place_text(to, s, c->flush_at[i]);
		comma = ", ";
	}
}

/* Each page of which stores are lost, behind the last store to it. */
static void msyncs_text(FILE *to, const struct story *s, const struct cause *c)
{
	size_t end = c->fence_at < s->n ? c->fence_at : s->n;
	uint64_t told[PATCH_SITES];
	unsigned n = 0;

	for (size_t i = 0; i < s->n && n < PATCH_SITES; i++) {
		const struct happening *h = &s->event[i];
		uint64_t page = h->e.off / PAGE_BYTES;
		size_t last = i;
		unsigned k = 0;

		if (h->fate != FATE_LOST && h->fate != FATE_TORN)
			continue;
		while (k < n && told[k] != page)
			k++;
		if (k < n)
			continue;
		for (size_t j = i; j < end; j++) {
			const struct happening *l = &s->event[j];

			if (l->phase == h->phase && l->fate != FATE_NONE &&
			    l->e.off / PAGE_BYTES == page)
				last = j;
		}
		(void)fprintf(to, "%san msync of the page at +0x%llx after ", n ? ", " : "",
			      (unsigned long long)page * PAGE_BYTES);
		place_text(to, s, last);
		told[n++] = page;
	}
}

/* What the fence goes before. */
static void before_text(FILE *to, const struct story *s, const struct cause *c)
{
	if (c->fence_at != SIZE_MAX)
		place_text(to, s, c->fence_at);
	else
		(void)fprintf(to, "the return of operation %llu",
			      (unsigned long long)s->t->event[c->return_at].value);
}

void cause_text(FILE *to, const struct story *s, const struct cause *c)
{
	switch (c->missing) {
	case MISSING_FLUSH:
		flushes_text(to, s, c);
		if (c->drained_at != SIZE_MAX) {
			(void)fputs(", before the fence at ", to);
			place_text(to, s, c->drained_at);
		}
		break;
	case MISSING_FENCE:
		if (c->after_at != SIZE_MAX) {
			(void)fputs("a fence after the flush at ", to);
			place_text(to, s, c->after_at);
			(void)fputs(", by the same thread", to);
			break;
		}
		(void)fputs("a fence before ", to);
		before_text(to, s, c);
		break;
	case MISSING_MSYNC:
		msyncs_text(to, s, c);
		(void)fputs(", before ", to);
		before_text(to, s, c);
		break;
	case MISSING_BOTH:
		flushes_text(to, s, c);
		for (size_t i = 0; i < c->patch.n_lines; i++)
			(void)fprintf(to, "%sa flush of the line at +0x%llx", i ? ", " : "",
				      (unsigned long long)c->patch.line[i]);
		if (c->after_at != SIZE_MAX) {
			(void)fputs(", and a fence behind it, by the same thread", to);
			break;
		}
		(void)fprintf(to, "%s a fence before ", c->patch.n_lines ? " and" : ", and");
		before_text(to, s, c);
		if (c->patch.n_lines)
			(void)fputs(", both by its thread", to);
		break;
	case MISSING_NOTHING:
		(void)fprintf(
			to,
			"%s: none was found that removes the failure, among those that were "
			"tried.  The order or the content of the stores may be wrong, or recovery",
			options.persist == PERSIST_PAGE ? "no msync" : "no flush and no fence");
		break;
	default:
		(void)fputs("not known", to);
	}
}

void story_text(FILE *to, const struct story *s, const struct cause *c)
{
	(void)fprintf(to, "  %s\n", s->f.what);
	(void)fprintf(to, "  replay  %s replay%s %s:%s\n", command_name(), options_of_path(s->mode),
		      s->w->name, s->f.id);
	crash_text(to, s, "crash");
	if (c->nothing_lost)
		(void)fputs(
			"  lost    nothing: it fails with every store that the images of this crash can hold\n",
			to);
	else if (c->shrunk)
		(void)fprintf(
			to,
			"  shrunk  to the fewest lost stores that still fail (%zu were lost, %zu tests)\n",
			c->lost_was, c->tests);
	stores_text(to, s);
	reads_text(to, s);
	state_text(to, s);
	if (c->missing != MISSING_UNKNOWN) {
		(void)fputs("  missing   ", to);
		cause_text(to, s, c);
		(void)fputc('\n', to);
	}
	if (c->executions)
		(void)fprintf(
			to,
			"  proof     with it, none of the 10^%.1f images of this crash point fails%s (%llu "
			"execution%s)\n",
			c->images_log10, c->others ? " so; some fail otherwise" : "",
			(unsigned long long)c->executions, c->executions == 1 ? "" : "s");
	if (c->moves)
		(void)fputs(
			"            but it fails so at that fence: rather is the order of the stores wrong\n",
			to);
	if (c->everywhere)
		(void)fprintf(to, "            nor any at the other crash points, %zu in all\n",
			      c->everywhere);
	(void)fputc('\n', to);
}
