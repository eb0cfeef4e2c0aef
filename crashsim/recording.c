/* SPDX-License-Identifier: BSD-3-Clause */
/* recording -- record a workload for the command, and say what is wrong with it: it dies, it is not
 * instrumented, it is not deterministic, it never fences, it stores outside its operations.
 */
#include "command.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hooks.h"
#include "recording.h"
#include "symbol.h"

static const struct crashsim_workload *under_way; /* being recorded */
static char warnings[WARNINGS][WARNING_BYTES];
static size_t n_warnings;

const char *recording_warning(size_t i) { return i < n_warnings ? warnings[i] : NULL; }

static void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void warn(const char *format, ...)
{
	va_list ap;

	if (n_warnings == WARNINGS)
		return;
	va_start(ap, format);
	(void)vsnprintf(warnings[n_warnings], WARNING_BYTES, format, ap);
	va_end(ap);
	n_warnings++;
}

void recording_warn(const struct crashsim_workload *w, const char *words)
{
	warn("%s", words);
	(void)fprintf(stderr, "crashsim: warning: workload '%s': %s\n", w->name, words);
}

const struct crashsim_workload *workload_named(const char *name)
{
	const struct crashsim_workload *const *list, *w = workload_find(name);
	const char *known[256], *near;
	size_t n = workloads(&list);

	if (w)
		return w;
	for (size_t i = 0; i < n; i++)
		known[i] = list[i]->name;
	near = did_you_mean(name, known, n);
	(void)fprintf(
		stderr,
		"crashsim: unknown workload '%s'%s%s%s; `list` lists the %zu that there are\n",
		name, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "", n);
	return NULL;
}

/* ---- what dies while it is recorded ---------------------------------------------------------------- */

static void where_outside(const char *at, char *text, size_t size)
{
	const char *first = (const char *)region_base, *end;

	text[0] = 0;
	if (!first)
		return;
	end = first + region_bytes;
	if (at >= end && at < end + (1 << 20))
		(void)snprintf(text, size,
			       ": it touches what lies %zu bytes behind its buffer of %zu",
			       (size_t)(at - end), region_bytes);
	else if (at < first && at >= first - (1 << 20))
		(void)snprintf(text, size, ": it touches what lies %zu bytes before its buffer",
			       (size_t)(first - at));
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	char text[160], place[200];
	const struct symbol *s;
	uint64_t pc = 0;

	(void)context;
#ifdef __x86_64__
	pc = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[16]; /* REG_RIP */
#endif
	where_outside(sig == SIGSEGV || sig == SIGBUS ? info->si_addr : NULL, text, sizeof(text));
	s = symbol_of(pc + 1);
	(void)fprintf(
		stderr,
		"crashsim: workload '%s' was killed by SIG%s while it was recorded%s (%s%s%s)\n",
		under_way->name, sigabbrev_np(sig), text, symbol_place(s, place, sizeof(place)),
		s->line ? " in " : "", s->line ? s->function : "");
	_exit(EXIT_NOT_RUN);
}

static void on_exit_call(void)
{
	if (under_way && !out_of_memory) {
		(void)fflush(stdout);
		(void)fprintf(stderr,
			      "crashsim: workload '%s' ended its process while it was recorded\n",
			      under_way->name);
		_exit(EXIT_NOT_RUN);
	}
}

static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
#define FATAL (sizeof(fatal) / sizeof(fatal[0]))

static int record_guarded(const struct crashsim_workload *w, struct trace *t)
{
	static bool registered;
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO }, was[FATAL];
	int rc;

	if (!registered)
		(void)atexit(on_exit_call);
	registered = true;
	for (size_t i = 0; i < FATAL; i++)
		(void)sigaction(fatal[i], &act, &was[i]);
	under_way = w;
	rc = record_checked(w, t);
	under_way = NULL;
	for (size_t i = 0; i < FATAL; i++)
		(void)sigaction(fatal[i], &was[i], NULL);
	return rc;
}

/* ---- what a recording shows ------------------------------------------------------------------------ */

/* A workload that marks its operations is judged by them: stores outside belong to none. */
static void look_outside(const struct trace *t)
{
	const struct event *first = NULL;
	size_t n = 0;
	unsigned open = 0;
	bool marks = false;
	char text[256];

	for (size_t i = 0; i < t->n; i++) {
		const struct event *e = &t->event[i];

		marks = marks || e->kind == EV_BEGIN;
		if (e->kind == EV_AGAIN)
			open = 0;
		if (e->kind == EV_BEGIN)
			open++;
		if (e->kind == EV_RETURNED && open)
			open--;
		if (open || (e->kind != EV_STORE && e->kind != EV_STREAM))
			continue;
		n++;
		if (!first)
			first = e;
	}
	if (marks && n)
		warn("%zu stores outside marked operations, the first: %s", n,
		     event_text(first, text, sizeof(text)));
}

static int look(const struct crashsim_workload *w, const struct trace *t)
{
	size_t stores = 0, fences = 0;

	for (size_t i = 0; i < t->n; i++) {
		enum event_kind k = t->event[i].kind;

		stores += k == EV_STORE || k == EV_STREAM;
		fences += k == EV_SFENCE || k == EV_MFENCE || k == EV_CLFLUSH || k == EV_MSYNC;
	}
	if (!stores || !hook_seen) {
		(void)fprintf(
			stderr,
			"crashsim: workload '%s': no access to its buffer was seen.  Is its source compiled "
			"by crashsim-cc (crashsim-cc -O1 -c FILE.c)?  Inline assembly and vector intrinsics "
			"are told by crashsim_stored()\n",
			w->name);
		return EXIT_NOT_RUN;
	}
	if (!fences)
		warn("it never fences: nothing that it stores is ever durable for sure");
	look_outside(t);
	return EXIT_FINE;
}

int record_or_say(const struct crashsim_workload *w, struct trace *t)
{
	int rc;

	n_warnings = 0;
	hook_seen = 0;
	if (w->bytes % LINE_BYTES || w->bytes > (size_t)1 << 30) {
		(void)fprintf(
			stderr,
			"crashsim: workload '%s': .bytes is %zu, expected a multiple of 64, at most 1 GiB\n",
			w->name, w->bytes);
		return EXIT_NOT_RUN;
	}
	if (!w->run) {
		(void)fprintf(stderr, "crashsim: workload '%s' has no .run\n", w->name);
		return EXIT_NOT_RUN;
	}
	(void)fflush(NULL);
	if (record_guarded(w, t))
		return EXIT_NOT_RUN;
	rc = look(w, t);
	for (size_t i = 0; i < n_warnings && rc == EXIT_FINE; i++)
		(void)fprintf(stderr, "crashsim: warning: workload '%s': %s\n", w->name,
			      warnings[i]);
	return rc;
}
