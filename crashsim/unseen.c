/* SPDX-License-Identifier: BSD-3-Clause */
/* unseen -- stores that no hook announced: of inline assembly, of intrinsics that the compiler
 * turns into instructions behind its instrumentation, of libraries that are not instrumented.
 *
 * A shadow of the buffer takes each store of the trace.  At a flush, the words of its line that
 * differ from the shadow were stored unseen since: they become stores of the trace, just before the
 * flush, in the order of their addresses, and the place of the flush is warned of.  What is never
 * flushed is found at the end.  When such a store took place is not known; that it did, is.
 *
 * The same in recovery, where a library does so in run (unseen_library).  There its loads go
 * unseen, too: so nothing is left undecided when recovery begins.
 */
#include "unseen.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "explore.h"
#include "hooks.h"
#include "recording.h"
#include "symbol.h"

#define PLACES_MAX  64u
#define PLACES_SAID 8u /* warnings of one run */

bool unseen_library;

static unsigned char *shadow;
static size_t shadow_bytes;

static struct { /* where, and how many words there */
	uint64_t site;
	uint64_t words;
	bool said;
} at[PLACES_MAX];
static unsigned n_at;

void unseen_begin(struct trace *t)
{
	free(shadow);
	shadow_bytes = t->bytes;
	shadow = must(malloc(t->bytes + 1));
	if (t->bytes)
		memcpy(shadow, t->first, t->bytes);
}

void unseen_grown(struct trace *t)
{
	shadow = must(realloc(shadow, t->bytes + 1));
	memcpy(shadow + shadow_bytes, t->first + shadow_bytes, t->bytes - shadow_bytes);
	shadow_bytes = t->bytes;
}

static void note(uint64_t site)
{
	unsigned i = 0;

	while (i < n_at && at[i].site != site)
		i++;
	if (i == PLACES_MAX)
		return;
	if (i == n_at) {
		at[i].site = site;
		at[i].words = 0;
		at[i].said = false;
		n_at++;
	}
	at[i].words++;
}

/* Before a store of recovery the engine wants to see the line as it was. */
static void line_before_write(uint64_t line)
{
	unsigned char now[LINE_BYTES];

	memcpy(now, region_base + line, LINE_BYTES);
	memcpy(region_base + line, shadow + line, LINE_BYTES);
	explore_before_write(line, LINE_BYTES);
	memcpy(region_base + line, now, LINE_BYTES);
}

/* Words of [off, end) that differ; site: of who makes it known.  In recovery, quiet: only what the
 * engine has to put back. */
static void compare(struct trace *t, uint64_t off, uint64_t end, uint64_t site, bool quiet)
{
	if (end > shadow_bytes)
		end = shadow_bytes;
	for (; off < end; off += 8) {
		struct event e = {
			.kind = EV_STORE, .thread = hook_thread, .off = off, .len = 8, .site = site
		};

		if (!memcmp(shadow + off, region_base + off, 8))
			continue;
		if (!t)
			line_before_write(off & ~(uint64_t)(LINE_BYTES - 1));
		memcpy(&e.value, region_base + off, 8);
		memcpy(shadow + off, &e.value, 8);
		if (t) {
			trace_add(t, e);
			note(site);
		} else if (!quiet) {
			explore_written(&e);
		}
	}
}

static void before(struct trace *t, const struct event *e)
{
	switch (e->kind) {
	case EV_STORE:
	case EV_STREAM:
		if (e->off + e->len <= shadow_bytes)
			memcpy(shadow + e->off, &e->value, e->len);
		break;
	case EV_CLWB:
	case EV_CLFLUSH:
	case EV_MSYNC:
		compare(t, e->off & ~(uint64_t)(LINE_BYTES - 1), e->off + e->len, e->site, false);
		break;
	default:
		break;
	}
}

void unseen_before(struct trace *t, const struct event *e) { before(t, e); }
void unseen_recovery_before(const struct event *e) { before(NULL, e); }

void unseen_recovery_all(void) { memcpy(shadow, region_base, shadow_bytes); }

void unseen_recovery_line(uint32_t line)
{
	memcpy(shadow + (size_t)line * LINE_BYTES, region_base + (size_t)line * LINE_BYTES,
	       LINE_BYTES);
}

void unseen_recovery_end(void) { compare(NULL, 0, shadow_bytes, 0, true); }

/* The site lies in the program itself, not in a library. */
static bool in_program(uint64_t site, const char **object)
{
	Dl_info of, program;

	*object = "";
	if (!dladdr((void *)(uintptr_t)site, &of) || !dladdr((void *)&shadow, &program))
		return true;
	*object = strrchr(of.dli_fname, '/') ? strrchr(of.dli_fname, '/') + 1 : of.dli_fname;
	return of.dli_fbase == program.dli_fbase;
}

static void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void warn(const char *format, ...)
{
	char text[WARNING_BYTES];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	(void)fprintf(stderr, "crashsim: warning: %s\n", text);
	recording_keep(text);
}

void unseen_forget(void) { n_at = 0; }

static void say(unsigned i)
{
	const char *object;
	char where[256];

	at[i].said = true;
	if (!at[i].site) {
		warn("%llu words of the buffer changed unseen and were never flushed: by inline "
		     "assembly, intrinsics, or a library that is not instrumented; they count as "
		     "stores at the end of the run",
		     (unsigned long long)at[i].words);
	} else if (in_program(at[i].site, &object)) {
		warn("%s: %llu words flushed here had changed unseen: by inline assembly, "
		     "intrinsics, or a library that is not instrumented; they count as stores just "
		     "before this flush (crashsim_stored() announces one)",
		     symbol_place(symbol_of(at[i].site), where, sizeof(where)),
		     (unsigned long long)at[i].words);
	} else {
		(void)fprintf(
			stderr,
			"crashsim: %s is not instrumented: what its flush in %s finds changed "
			"counts as stores just before\n",
			object, symbol_place(symbol_of(at[i].site), where, sizeof(where)));
	}
}

void unseen_end(struct trace *t)
{
	unsigned said = 0;

	compare(t, 0, shadow_bytes, 0, false);
	for (unsigned i = 0; i < n_at && !unseen_library; i++) {
		const char *object;

		unseen_library = at[i].site && !in_program(at[i].site, &object);
	}
	for (unsigned i = 0; i < n_at; i++) {
		said += at[i].said;
		if (!at[i].said && said < PLACES_SAID) {
			say(i);
			said++;
		}
	}
}
