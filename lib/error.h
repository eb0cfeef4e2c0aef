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
/* The same behind "name: " of the message that stands; for a caller that knows more (the file). */
__attribute__((cold)) int error_in(int error, const char *name);
__attribute__((format(printf, 2, 3), cold)) void log_message(enum pmpt_log_level level,
							     const char *format, ...);

#endif
