/* SPDX-License-Identifier: BSD-3-Clause */
/* error -- see error.h. */
#define ERROR_C
#include "error.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

#define MESSAGE_BYTES 512

/* This thread's last error.  The text has no place in thread-local storage: a library that a
 * running program loads gets a few hundred bytes of it, with all others. */
static __thread struct {
	char *text; /* MESSAGE_BYTES, from the first error to the thread's end */
	int error;  /* what stands for the text where there is no memory for it */
} last;
static struct mem message_mem; /* of jemalloc's arena 0: no pool's */
static pmpt_log_fn *log_fn;
static void *log_ctx;

static const struct {
	int error;
	const char *name;
} names[] = {
	{ PMPT_E_NOT_POOL, "not a libpmpt pool" },
	{ PMPT_E_VERSION, "pool format of another version" },
	{ PMPT_E_CORRUPT, "pool is damaged" },
	{ PMPT_E_TRUNCATED, "pool file is truncated" },
	{ PMPT_E_IN_USE, "pool is in use" },
	{ PMPT_E_READ_ONLY, "pool is read-only" },
	{ PMPT_E_NO_FRAMES, "out of frames" },
	{ PMPT_E_TX_TOO_LARGE, "transaction too large for the log" },
	{ PMPT_E_TX_LIMIT, "too many open transactions" },
	{ PMPT_E_TX_STATE, "transaction has ended or is another thread's" },
	{ PMPT_E_CONFLICT, "conflict with another transaction" },
	{ PMPT_E_BUSY, "busy" },
	{ PMPT_E_FORKED, "handle of the parent process" },
	{ PMPT_E_MAPPED, "already mapped" },
	{ PMPT_E_NOT_MAPPED, "not mapped" },
	{ PMPT_E_ADDRESS, "bad address or range" },
	{ PMPT_E_FRAME, "bad frame number" },
	{ PMPT_E_NAME, "bad name" },
	{ PMPT_E_EXISTS, "name exists" },
	{ PMPT_E_NO_SPACE, "no such space" },
	{ PMPT_E_SPACES_FULL, "directory of spaces is full" },
	{ PMPT_E_NOT_UNIFORM, "pages are not contiguous and uniform" },
	{ PMPT_E_COUNT, "reference count overflow" },
	{ PMPT_E_MEDIUM, "medium cannot hold a pool" },
	{ PMPT_E_IO, "input/output error on the pool" },
	{ PMPT_E_DENIED_READ, "access denied: not present" },
	{ PMPT_E_DENIED_WRITE, "access denied: not writable" },
	{ PMPT_E_DENIED_EXEC, "access denied: not executable" },
	{ PMPT_E_DENIED_USER, "access denied: not for user mode" },
	{ PMPT_E_BUSY_CHECK, "pool keeps changing: check is inconclusive" },
	{ PMPT_E_CPU, "processor lacks SSE4.2" },
	{ PMPT_E_VIEW_STALE, "view is stale" },
	{ PMPT_E_SNAPSHOT, "space is a read-only snapshot" },
	{ PMPT_E_SEGMENT, "no segment" },
	{ PMPT_E_WX, "page would be writable and executable" },
	{ PMPT_E_SWAP, "swap file failed" },
	{ PMPT_E_SLOT, "page is lost in the swap file" },
};

const char *pmpt_strerror(int error)
{
	const char *name;

	if (error == 0)
		return "success";
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].error == error)
			return names[i].name;
	}
	name = error < 0 && error > -1000 ? strerrordesc_np(-error) : NULL;
	return name ? name : "unknown error";
}

const char *pmpt_errormsg(void)
{
	return last.text ? last.text : last.error ? pmpt_strerror(last.error) : "";
}

const char *pmpt_version(void) { return PMPT_VERSION_STRING; }

void pmpt_log_to(pmpt_log_fn *fn, void *ctx)
{
	log_fn = fn;
	log_ctx = ctx;
}

static pthread_key_t thread_end;
static int thread_end_error;

/* A later destructor's error makes the thread a new text, and sets the key again. */
static void thread_ended(void *text)
{
	mem_free(&message_mem, text, MESSAGE_BYTES);
	last.text = NULL;
	last.error = 0;
}

static void thread_key(void) { thread_end_error = pthread_key_create(&thread_end, thread_ended); }

/* This thread's text, or NULL: no memory. */
static char *message(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	char *text;

	if (last.text)
		return last.text;
	if (pthread_once(&once, thread_key) || thread_end_error)
		return NULL;
	text = mem_zalloc(&message_mem, MESSAGE_BYTES);
	if (text && pthread_setspecific(thread_end, text)) {
		mem_free(&message_mem, text, MESSAGE_BYTES);
		text = NULL;
	}
	last.text = text;
	return text;
}

int error_set(int error, const char *format, ...)
{
	char *text = message();
	va_list args;

	last.error = error;
	if (text) {
		va_start(args, format);
		(void)vsnprintf(text, MESSAGE_BYTES, format, args);
		va_end(args);
	}
	return error;
}

int error_in(int error, const char *name)
{
	char behind[MESSAGE_BYTES];

	if (last.text) {
		memcpy(behind, last.text, sizeof(behind));
		(void)snprintf(last.text, MESSAGE_BYTES, "%s: %.400s", name, behind);
	}
	return error;
}

int error_sys(const char *path, const char *what)
{
	int error = errno;

	return error_set(-error, "%s: %s: %s", path, what, strerror(error));
}

const char *error_hex(char *out, const void *bytes, size_t n)
{
	const unsigned char *byte = bytes;

	out[0] = '\0';
	for (size_t i = 0; i < n; i++)
		(void)snprintf(out + (i ? 3 * i - 1 : 0), 4, i ? " %02x" : "%02x", byte[i]);
	return out;
}

const char *error_text(char *out, size_t room, const char *text)
{
	size_t at = 0;

	for (; *text && at + 5 <= room; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= ' ' && c < 0x7f && c != '\\')
			out[at++] = *text;
		else
			at += (size_t)snprintf(out + at, room - at, "\\x%02x", c);
	}
	out[at] = '\0';
	return out;
}

void log_message(enum pmpt_log_level level, const char *format, ...)
{
	char text[512];
	va_list args;

	if (!log_fn)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_fn(log_ctx, level, text);
}
