/* SPDX-License-Identifier: BSD-3-Clause */
/* error -- see error.h. */
#define ERROR_C
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static __thread char message[512];
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

const char *pmpt_errormsg(void) { return message; }
const char *pmpt_version(void) { return PMPT_VERSION_STRING; }

void pmpt_log_to(pmpt_log_fn *fn, void *ctx)
{
	log_fn = fn;
	log_ctx = ctx;
}

int error_set(int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	return error;
}

int error_in(int error, const char *name)
{
	char behind[sizeof(message)];

	memcpy(behind, message, sizeof(behind));
	(void)snprintf(message, sizeof(message), "%s: %.400s", name, behind);
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
