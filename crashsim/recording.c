/* SPDX-License-Identifier: BSD-3-Clause */
/* recording -- record a workload for the command, and say what is wrong with it: it dies, it does not
 * end, it is not instrumented, it is not deterministic, it never fences, it stores outside its operations.
 */
#include "command.h"

#include <execinfo.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hooks.h"
#include "recording.h"
#include "schedule.h"
#include "story.h"
#include "symbol.h"
#include "unseen.h"

static const struct crashsim_workload *under_way; /* being recorded */
static char warnings[WARNINGS][WARNING_BYTES];
static size_t n_warnings, n_said; /* of those, on standard error */

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
	recording_keep(words);
	(void)fprintf(stderr, "crashsim: warning: workload '%s': %s\n", w->name, words);
}

void recording_keep(const char *words)
{
	if (n_said == n_warnings)
		n_said++;
	warn("%s", words);
	n_said = n_said > n_warnings ? n_warnings : n_said;
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

static uint64_t interrupted_at(const void *context)
{
#ifdef __x86_64__
	return (uint64_t)((const ucontext_t *)context)->uc_mcontext.gregs[16]; /* REG_RIP */
#else
	(void)context;
	return 0;
#endif
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	char text[160], place[200];
	uint64_t pc = interrupted_at(context);
	const struct symbol *s;

	where_outside(sig == SIGSEGV || sig == SIGBUS ? info->si_addr : NULL, text, sizeof(text));
	s = symbol_of(pc + 1);
	(void)fprintf(
		stderr,
		"crashsim: workload '%s' was killed by SIG%s while it was recorded%s (%s%s%s)\n",
		under_way->name, sigabbrev_np(sig), text, symbol_place(s, place, sizeof(place)),
		s->line ? " in " : "", s->line ? s->function : "");
	record_end();
}

static void on_exit_call(void)
{
	if (under_way && !out_of_memory) {
		(void)fprintf(stderr,
			      "crashsim: workload '%s' ended its process while it was recorded\n",
			      under_way->name);
		record_end();
	}
}

/* ---- what does not end while it is recorded -------------------------------------------------------- */

#define HANGS_FOR   10.0 /* as long as an execution of recovery may take, times this */
#define FRAMES      4u
#define LAST_MOMENT 5 /* seconds to find out where it is */

/* The program's frames below the one that was interrupted at pc. */
static void place_of(uint64_t pc, char *text, size_t size)
{
	void *at[STORY_STACK + 8];
	uint64_t stack[STORY_STACK + 8];
	const struct symbol *frame[FRAMES];
	int depth = backtrace(at, STORY_STACK + 8);
	unsigned n = 0;
	size_t used = 0;
	char place[200];

	for (int i = 0; i < depth; i++) {
		stack[n++] = (uint64_t)(uintptr_t)at[i];
		if (stack[n - 1] == pc) {
			stack[0] = pc + 1; /* as if it were a call */
			n = 1;
		}
	}
	n = story_frames(stack, n, 0, frame, FRAMES);
	for (unsigned i = 0; i < n && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s (%s)", i ? " < " : ", at ",
					 symbol_place(frame[i], place, sizeof(place)),
					 frame[i]->function);
}

static void on_time(int sig, siginfo_t *info, void *context)
{
	static volatile sig_atomic_t times;
	char text[600] = "";

	(void)info;
	if (threads_pass_on(sig))
		return;
	if (times++) { /* interrupted where it cannot be asked, in malloc() maybe */
		static const char words[] =
			"crashsim: the workload that is recorded does not end\n";

		(void)!write(2, words, sizeof(words) - 1);
		stage = STAGE_IDLE;
		_exit(EXIT_NOT_RUN);
	}
	if (debugged()) { /* somebody looks at it, and takes the time */
		times = 0;
		return;
	}
	place_of(interrupted_at(context), text, sizeof(text));
	record_refuse("%s does not end: it was stopped after %g seconds, ten times --hang%s",
		      stage == STAGE_RECORD ? "run" : "setup", HANGS_FOR * options.hang, text);
}

static void watch_begin(timer_t *watch)
{
	struct sigaction act = { .sa_sigaction = on_time, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMAX };
	double limit = HANGS_FOR * options.hang;
	struct itimerspec when = { .it_interval.tv_sec = LAST_MOMENT };
	void *warm[2];

	(void)backtrace(warm, 2); /* it loads its unwinder when it is called first */
	when.it_value.tv_sec = (time_t)limit;
	when.it_value.tv_nsec = (long)((limit - (double)when.it_value.tv_sec) * 1e9);
	if (!when.it_value.tv_sec && !when.it_value.tv_nsec)
		when.it_value.tv_nsec = 1;
	(void)sigaction(SIGRTMAX, &act, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, watch) || timer_settime(*watch, 0, &when, NULL)) {
		perror("crashsim: a timer");
		exit(EXIT_NOT_RUN);
	}
}

/* ---- both ------------------------------------------------------------------------------------------ */

static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
#define FATAL (sizeof(fatal) / sizeof(fatal[0]))

static int record_guarded(const struct crashsim_workload *w, struct trace *t)
{
	static bool registered;
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO }, was[FATAL];
	timer_t watch;
	int rc;

	if (!registered)
		(void)atexit(on_exit_call);
	registered = true;
	for (size_t i = 0; i < FATAL; i++)
		(void)sigaction(fatal[i], &act, &was[i]);
	watch_begin(&watch);
	under_way = w;
	rc = record_checked(w, t);
	under_way = NULL;
	(void)timer_delete(watch);
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

	n_warnings = n_said = 0;
	unseen_forget();
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
	for (size_t i = n_said; i < n_warnings && rc == EXIT_FINE; i++)
		(void)fprintf(stderr, "crashsim: warning: workload '%s': %s\n", w->name,
			      warnings[i]);
	return rc;
}
