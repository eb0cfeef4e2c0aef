/* SPDX-License-Identifier: BSD-3-Clause */
/* driver -- see driver.h; the exploring itself is done in worker.c. */
#include "worker.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edges.h"
#include "files.h"
#include "hooks.h"
#include "outside.h"
#include "schedule.h"
#include "symbol.h"
#include "unseen.h"

#define BUFFER_AT ((void *)0x100000000000)

static const struct crashsim_workload *known[256];
static size_t n_known;

void crashsim_add(const struct crashsim_workload *w)
{
	size_t i = n_known;

	if (w->name && workload_find(w->name)) {
		char place[200];

		(void)fprintf(
			stderr, "crashsim: two workloads have the name '%s', one at %s\n", w->name,
			symbol_place(symbol_of((uint64_t)(uintptr_t)__builtin_return_address(0)),
				     place, sizeof(place)));
		_exit(2); /* before main */
	}
	if (n_known == sizeof(known) / sizeof(known[0])) {
		fputs("crashsim: more than 256 workloads\n", stderr);
		exit(2);
	}
	for (; i > 0 && strcmp(known[i - 1]->name, w->name) > 0; i--)
		known[i] = known[i - 1];
	known[i] = w;
	n_known++;
}

size_t workloads(const struct crashsim_workload *const **list)
{
	*list = known;
	return n_known;
}

const struct crashsim_workload *workload_find(const char *name)
{
	for (size_t i = 0; i < n_known; i++) {
		if (!strcmp(known[i]->name, name))
			return known[i];
	}
	return NULL;
}

/* ---- recording ------------------------------------------------------------------------------- */

unsigned char *buffer_map(const struct crashsim_workload *w)
{
	files_begin(w->bytes == 0);
	outside_unmap();
	if (!w->bytes)
		return NULL;
	region_base = outside_map(BUFFER_AT, w->bytes);
	region_bytes = w->bytes;
	return region_base;
}

static const struct crashsim_workload *recorded;

void record_end(void)
{
	stage = STAGE_IDLE;
	(void)fflush(stdout);
	_exit(3);
}

void record_refuse(const char *format, ...)
{
	char what[600];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	(void)fprintf(stderr, "crashsim: workload '%s': %s\n", recorded->name, what);
	record_end();
}

/* setup or run is over. */
static void look_beside(void)
{
	char what[512];

	if (outside_changed(what, sizeof(what)))
		record_refuse("%s", what);
}

double record_took;

int record(const struct crashsim_workload *w, struct trace *t)
{
	unsigned char *buf = buffer_map(w);
	double start = now_s();

	*t = (struct trace){ .bytes = w->bytes };
	recorded = w;
	stage = STAGE_IDLE;
	if (w->setup)
		w->setup(buf);
	look_beside();
	t->bytes = region_bytes; /* setup may have mapped a file */
	t->first = must(malloc(t->bytes + 1));
	memcpy(t->first, region_base, t->bytes);
	recording = t;
	hook_marks_forget();
	unseen_begin(t);
	edges_begin();
	threads_begin();
	stage = STAGE_RECORD;
	w->run(t->bytes ? region_base : NULL);
	threads_end();
	hook_settle();
	look_beside();
	unseen_end(t);
	edges_begin();
	if (unseen_library && options.mode == MODE_LAZY)
		options.mode = MODE_RERUN;
	stage = STAGE_IDLE;
	record_took = now_s() - start;
	if (!t->bytes) {
		(void)fprintf(
			stderr,
			"crashsim: workload '%s' names no buffer (.bytes), and maps no file\n",
			w->name);
		return 1;
	}
	return 0;
}

void crashsim_again(void)
{
	if (stage != STAGE_RECORD)
		return;
	hook_settle();
	stage = STAGE_IDLE;
	if (files_on())
		files_reload();
	else
		memset(region_base, 0, region_bytes);
	if (recorded->setup)
		recorded->setup(files_on() ? NULL : region_base);
	if (memcmp(region_base, recording->first, recording->bytes)) {
		(void)fprintf(
			stderr,
			"crashsim: workload '%s': its setup leaves other bytes when it is run again\n",
			recorded->name);
		exit(2);
	}
	trace_add(recording, (struct event){ .kind = EV_AGAIN });
	hook_marks_forget();
	unseen_begin(recording);
	stage = STAGE_RECORD;
}

/* A library may keep addresses of its own memory in a file that it maps: values may differ then. */
static bool same_event(const struct event *a, const struct event *b)
{
	return a->kind == b->kind && a->thread == b->thread && a->off == b->off &&
	       a->len == b->len && (a->value == b->value || unseen_library);
}

/* The first event that two recordings differ in. */
static void tell_difference(const struct crashsim_workload *w, const struct trace *a,
			    const struct trace *b, size_t i)
{
	char one[256] = "the end of run", two[256] = "the end of run";

	if (i < a->n)
		event_text(&a->event[i], one, sizeof(one));
	if (i < b->n)
		event_text(&b->event[i], two, sizeof(two));
	(void)fprintf(
		stderr,
		"crashsim: workload '%s' is not deterministic: recorded twice, its event %zu is\n"
		"\t%s\nthe first time, and\n\t%s\nthe second\n",
		w->name, i, one, two);
}

int record_checked(const struct crashsim_workload *w, struct trace *t)
{
	struct trace again;
	size_t i = 0;
	int rc = record(w, t);

	if (rc)
		return rc;
	rc = record(w, &again);
	while (i < t->n && i < again.n && same_event(&t->event[i], &again.event[i]))
		i++;
	if (t->bytes != again.bytes ||
	    (!unseen_library && memcmp(t->first, again.first, t->bytes))) {
		(void)fprintf(
			stderr,
			"crashsim: workload '%s' is not deterministic: its setup leaves other bytes when "
			"it is run again\n",
			w->name);
		rc = 1;
	} else if (t->n != again.n || i < t->n) {
		tell_difference(w, t, &again, i);
		rc = 1;
	}
	trace_free(&again);
	return rc;
}

/* ---- a workload -------------------------------------------------------------------------------- */

unsigned depth_of(const struct crashsim_workload *w)
{
	unsigned depth = options.depth ? options.depth : w->depth ? w->depth : 2;

	return depth > PHASES_MAX ? PHASES_MAX : depth;
}

static bool is_drain(const struct event *e)
{
	return e->kind == EV_SFENCE || e->kind == EV_MFENCE || e->kind == EV_MSYNC;
}

/* Thread's notes of [c, end), with which it returned. */
static void notes_ahead(const struct trace *t, size_t c, size_t end, uint32_t thread,
			uint64_t note[64])
{
	for (size_t i = c; i < end; i++) {
		const struct event *e = &t->event[i];

		if (e->kind == EV_NOTE && e->thread == thread)
			note[e->off % 64] = e->value;
	}
}

/* Operations under way at c that return before their thread drains: what they stored since may be in
 * its store buffer for as long, so such a return may have come before a crash at c [R13]; not where the
 * thread has waited for what came behind c. */
static void ops_ahead(const struct trace *t, size_t c, uint32_t threads, unsigned char op[256],
		      uint64_t note[64])
{
	uint64_t drained = 0, all = threads < 64 ? ((uint64_t)1 << threads) - 1 : ~(uint64_t)0;

	for (size_t i = c; i < t->n && drained != all && t->event[i].kind != EV_AGAIN; i++) {
		const struct event *e = &t->event[i];

		if (is_drain(e))
			drained |= (uint64_t)1 << e->thread % 64;
		if (e->kind != EV_RETURNED || drained >> e->thread % 64 & 1 || e->waited > c ||
		    op[e->value % 256] != CRASHSIM_OPEN)
			continue;
		op[e->value % 256] = CRASHSIM_HAS_RETURNED;
		notes_ahead(t, c, i, e->thread, note);
	}
}

void ops_at(const struct trace *t, size_t c, unsigned char op[256], uint64_t note[64])
{
	uint32_t threads = 1;

	memset(op, CRASHSIM_NOT_BEGUN, 256);
	memset(note, 0, 64 * sizeof(*note));
	for (size_t i = 0; i < c && i < t->n; i++) {
		const struct event *e = &t->event[i];

		threads = e->thread + 1 > threads ? e->thread + 1 : threads;
		if (e->kind == EV_BEGIN)
			op[e->value % 256] = CRASHSIM_OPEN;
		if (e->kind == EV_RETURNED)
			op[e->value % 256] = CRASHSIM_HAS_RETURNED;
		if (e->kind == EV_NOTE)
			note[e->off % 64] = e->value;
		if (e->kind == EV_AGAIN) {
			memset(op, CRASHSIM_NOT_BEGUN, 256);
			memset(note, 0, 64 * sizeof(*note));
		}
	}
	ops_ahead(t, c, threads, op, note);
}

static void trace_numbers(const struct trace *t, struct result *r)
{
	unsigned char *seen = must(calloc(t->bytes / LINE_BYTES + 1, 1));
	uint32_t threads = 0;

	r->trace_events = t->n;
	for (size_t i = 0; i < t->n; i++) {
		const struct event *e = &t->event[i];

		threads = e->thread > threads ? e->thread : threads;
		switch (e->kind) {
		case EV_STORE:
		case EV_STREAM:
			r->trace_stores++;
			r->trace_lines += !seen[e->off >> LINE_SHIFT];
			seen[e->off >> LINE_SHIFT] = 1;
			break;
		case EV_CLWB:
		case EV_CLFLUSH:
			r->trace_flushes++;
			break;
		case EV_SFENCE:
		case EV_MFENCE:
		case EV_MSYNC:
			r->trace_fences++;
			r->trace_msyncs += e->kind == EV_MSYNC;
			break;
		default:
			break;
		}
	}
	r->threads = threads + 1;
	free(seen);
}

void run_workload(const struct crashsim_workload *w, const struct trace *t,
		  const struct watcher *by, struct result *r)
{
	struct task task = {
		.w = w, .t = t, .jobs = options.jobs, .max_failures = options.max_failures
	};
	size_t *point = must(malloc((t->n + 1) * sizeof(*point)));
	size_t *ordinal = must(malloc((t->n + 1) * sizeof(*ordinal)));
	double start = now_s();

	*r = (struct result){ .depth = depth_of(w) };
	(void)snprintf(r->workload, sizeof(r->workload), "%s", w->name);
	trace_numbers(t, r);
	for (size_t c = 0; c <= t->n; c++) {
		if (!trace_crash_point(t, c))
			continue;
		if (r->points_in_all % options.shards == options.shard) {
			ordinal[task.n_points] = r->points_in_all;
			point[task.n_points++] = c;
		}
		r->points_in_all++;
	}
	task.point = point;
	task.ordinal = ordinal;
	task.fresh = true;
	if (by) {
		task.deadline = by->deadline;
		task.progress = by->progress;
		task.ctx = by->ctx;
	}
	explore_points(&task, r);
	r->seconds = now_s() - start;
	r->late = task.deadline > 0 && now_s() > task.deadline;
	free(point);
	free(ordinal);
}

bool images_too_many(const struct crashsim_workload *w, const struct trace *t)
{
	struct model *m = model_new(t);
	double most = 0;

	for (size_t c = 0; c <= t->n && most <= EAGER_LOG10_MAX; c++) {
		struct image_set *set;
		double images;

		if (!trace_crash_point(t, c))
			continue;
		model_to(m, c);
		set = model_images(m);
		images = image_set_log10(set);
		most = images > most ? images : most;
		image_set_free(set);
	}
	model_free(m);
	if (most <= EAGER_LOG10_MAX + 1e-9)
		return false;
	(void)fprintf(
		stderr,
		"crashsim: workload '%s': --mode eager: a crash leaves 10^%.1f images, more than the "
		"10^%.0f that are made one by one; leave it to --mode lazy\n",
		w->name, most, EAGER_LOG10_MAX);
	return true;
}
