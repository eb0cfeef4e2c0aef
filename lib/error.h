/* SPDX-License-Identifier: BSD-3-Clause */
/* error -- names of errors, this thread's detail message, and the log callback. */
#ifndef PMPT_ERROR_H
#define PMPT_ERROR_H

#include <errno.h>

#include "libpmpt.h"

/* Set this thread's message (pmpt_errormsg) and return `error`. */
__attribute__((format(printf, 2, 3), cold)) int error_set(int error, const char *format, ...);
#if defined(__clang_analyzer__) && !defined(ERROR_C) /* it cannot know that an error comes back */
#define error_set(error, ...) (error)
#endif
/* "path: what: " and the words for errno; returns the negated errno. */
__attribute__((cold)) int error_sys(const char *path, const char *what);
/* "name: " before the message that stands; for a caller that knows more (the file). */
__attribute__((cold)) int error_in(int error, const char *name);
/* Bytes from a file, for a message: as "50 4d 45", out has room for 3 * n + 1; or as a text in which
 * all but printable ASCII is \xNN, cut to what out has room for.  Return out. */
const char *error_hex(char *out, const void *bytes, size_t n);
const char *error_text(char *out, size_t room, const char *text);
__attribute__((format(printf, 2, 3), cold)) void log_message(enum pmpt_log_level level,
							     const char *format, ...);

#endif
