/* SPDX-License-Identifier: BSD-3-Clause */
/* report_json -- see report.h; the keys stand in crashsim(1), JSON. */
#include "report.h"

#include "command.h"
#include "recording.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "cause.h"
#include "symbol.h"

void json_string(FILE *to, const char *s)
{
	(void)fputc('"', to);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			(void)fprintf(to, "\\%c", c);
		else if (c < 0x20)
			(void)fprintf(to, "\\u%04x", c);
		else
			(void)fputc(c, to);
	}
	(void)fputc('"', to);
}

static void failures_json(FILE *to, const struct result *r)
{
	(void)fprintf(to, ",\"failures\":%zu,\"failure\":[", r->n_failures);
	for (size_t i = 0; i < r->n_failures; i++) {
		const struct failure *f = &r->failure[i];
		char id[400];

		(void)snprintf(id, sizeof(id), "%s:%s", r->workload, f->id);
		(void)fprintf(to, "%s{\"id\":", i ? "," : "");
		json_string(to, id);
		(void)fprintf(to, ",\"crash_point\":%zu,\"crashes\":%u,\"what\":", f->crash_point,
			      f->phases);
		json_string(to, f->what);
		(void)fputs("}", to);
	}
	(void)fputs("]", to);
}

static void points_json(FILE *to, const struct result *r)
{
	(void)fprintf(to, ",\"max_failures\":%u,\"points\":[", options.max_failures);
	for (size_t i = 0; i < r->n_points; i++) {
		const struct point *p = &r->point[i];

		(void)fprintf(to,
			      "%s[%zu,%zu,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
			      ",\"%016" PRIx64 "\",%u,%d,%.17g]",
			      i ? "," : "", p->ordinal, p->event, p->r.executions, p->r.choices,
			      p->r.pruned, p->r.nested, p->r.outcomes, p->r.outcome_digest,
			      p->r.n_failures, p->r.done && !p->r.cut, p->r.images_log10);
	}
	(void)fputs("]", to);
}

static void finding_json(FILE *to, const struct result *r)
{
	(void)fputs(",\"warnings\":[", to);
	for (size_t i = 0; i < r->n_warnings; i++) {
		(void)fputs(i ? "," : "", to);
		json_string(to, r->warning[i]);
	}
	(void)fputs("]", to);
	if (!r->perf_looked)
		return;
	(void)fputs(",\"perf\":[", to);
	for (size_t i = 0; i < r->n_perf; i++) {
		const struct perf *p = &r->perf[i];

		(void)fprintf(to, "%s{\"what\":", i ? "," : "");
		json_string(to, p->what);
		(void)fputs(",\"at\":", to);
		json_string(to, p->place);
		(void)fprintf(to, ",\"times\":%zu,\"of\":%zu,\"proof_crash_points\":%zu}", p->times,
			      p->of, p->points);
	}
	(void)fputs("]", to);
}

void result_json(FILE *to, const struct result *r, bool points)
{
	static const char *const persist[] = { "memory", "cache", "cache-failed", "page" };
	static const char *const mode[] = { "lazy", "rerun", "eager" };

	(void)fputs("{\"crashsim\":1,\"workload\":", to);
	json_string(to, r->workload);
	(void)fprintf(to, ",\"trace\":\"%016" PRIx64 "\",\"persist\":\"%s\",\"line_order\":\"%s\"",
		      r->trace_digest, persist[options.persist],
		      options.order == ORDER_FREE ? "free" : "prefix");
	(void)fprintf(to, ",\"mode\":\"%s\",\"shard\":%u,\"shards\":%u,\"seed\":%" PRIu64,
		      mode[options.mode], options.shard, options.shards, options.seed);
	(void)fprintf(
		to,
		",\"executions\":%" PRIu64 ",\"choices\":%" PRIu64 ",\"pruned\":%" PRIu64
		",\"images_log10\":%.3f,\"crash_points\":%" PRIu64 ",\"crash_points_in_all\":%zu"
		",\"nested_points\":%" PRIu64 ",\"seconds\":%.3f,\"exhaustive\":%s,\"depth\":%u"
		",\"outcomes\":%" PRIu64 ",\"outcome_digest\":\"%016" PRIx64 "\"",
		r->executions, r->choices, r->pruned, round(r->images_log10 * 1000) / 1000 + 0.0,
		r->crash_points, r->points_in_all, r->nested_points, r->seconds,
		r->exhaustive ? "true" : "false", r->depth, r->outcomes, r->outcome_digest);
	(void)fprintf(
		to,
		",\"threads\":%zu,\"events\":%zu,\"stores\":%zu,\"lines\":%zu,\"flushes\":%zu,"
		"\"fences\":%zu",
		r->threads, r->trace_events, r->trace_stores, r->trace_lines, r->trace_flushes,
		r->trace_fences);
	failures_json(to, r);
	finding_json(to, r);
	if (points)
		points_json(to, r);
	(void)fputs("}\n", to);
}

/* ---- a failure ------------------------------------------------------------------------------------- */

static void frames_json(FILE *to, const uint64_t *stack, unsigned n_stack, uint64_t site)
{
	const struct symbol *frame[STORY_STACK];
	unsigned n = story_frames(stack, n_stack, site, frame, STORY_STACK);
	char place[200];

	(void)fputs(",\"stack\":[", to);
	for (unsigned i = 0; i < n; i++) {
		(void)fputs(i ? ",{\"at\":" : "{\"at\":", to);
		json_string(to, symbol_place(frame[i], place, sizeof(place)));
		(void)fputs(",\"function\":", to);
		json_string(to, frame[i]->function);
		(void)fputs(",\"file\":", to);
		json_string(to, frame[i]->file);
		(void)fprintf(to, ",\"line\":%u", frame[i]->line);
		(void)fputs("}", to);
	}
	(void)fputs("]", to);
}

static void stores_json(FILE *to, const struct story *s)
{
	static const char *const fate[] = { "", "durable", "survived", "lost", "torn", "either" };
	bool any = false;

	(void)fputs(",\"stores\":[", to);
	for (size_t i = 0; i < s->n; i++) {
		const struct happening *h = &s->event[i];

		if (h->fate == FATE_NONE || h->fate == FATE_DURABLE)
			continue;
		(void)fprintf(to,
			      "%s{\"fate\":\"%s\",\"phase\":%u,\"event\":%zu,\"offset\":%" PRIu64
			      ",\"bytes\":%u,\"new\":\"0x%" PRIx64 "\"",
			      any ? "," : "", fate[h->fate], h->phase, h->index, h->e.off, h->e.len,
			      h->e.value);
		if (!h->phase)
			(void)fprintf(to, ",\"old\":\"0x%" PRIx64 "\"", h->old);
		frames_json(to, h->stack, h->n_stack, h->e.site);
		(void)fputs("}", to);
		any = true;
	}
	(void)fputs("]", to);
}

static void reads_json(FILE *to, const struct story *s)
{
	(void)fputs(",\"reads\":[", to);
	for (size_t i = 0; i < s->n_reads; i++) {
		const struct reading *r = &s->read[i];

		(void)fprintf(to,
			      "%s{\"recovery\":%u,\"offset\":%u,\"mask\":%u,\"value\":\"0x%" PRIx64
			      "\",\"chosen\":%u,\"options\":%u",
			      i ? "," : "", r->phase,
			      r->d.line * LINE_BYTES + 8 * (r->d.word % LINE_WORDS), r->d.mask,
			      r->value, r->d.chosen, r->d.options);
		frames_json(to, r->stack, r->n_stack, 0);
		(void)fputs("}", to);
	}
	(void)fputs("]", to);
}

static void cause_json(FILE *to, const struct story *s, const struct cause *c)
{
	static const char *const missing[] = { "unknown",         "fence",   "flush",
					       "flush and fence", "nothing", "msync" };
	char *words = NULL;
	size_t size;
	FILE *memory = open_memstream(&words, &size);

	(void)must(memory);
	cause_text(memory, s, c);
	(void)fclose(memory);
	(void)fprintf(to, ",\"shrunk\":%s,\"tests\":%zu,\"missing\":\"%s\",\"missing_text\":",
		      c->shrunk ? "true" : "false", c->tests, missing[c->missing]);
	json_string(to, words);
	if (c->executions)
		(void)fprintf(
			to,
			",\"proof\":{\"executions\":%" PRIu64
			",\"images_log10\":%.3f,\"other_failures\":%s,\"moves\":%s,\"crash_points\":%zu}",
			c->executions, c->images_log10, c->others ? "true" : "false",
			c->moves ? "true" : "false", c->everywhere ? c->everywhere : 1);
	free(words);
}

void story_json(FILE *to, const struct story *s, const struct cause *c)
{
	char text[400];

	(void)snprintf(text, sizeof(text), "%s:%s", s->w->name, s->f.id);
	(void)fputs("{\"id\":", to);
	json_string(to, text);
	(void)fputs(",\"what\":", to);
	json_string(to, s->f.what);
	(void)fprintf(to, ",\"crash_point\":%zu,\"crashes\":[", s->f.crash_point);
	for (unsigned i = 0; i < s->f.phases; i++)
		(void)fprintf(to, "%s%zu", i ? "," : "", s->f.crash_in[i]);
	(void)fputs("]", to);
	stores_json(to, s);
	reads_json(to, s);
	cause_json(to, s, c);
	(void)fputs("}\n", to);
}
