/* SPDX-License-Identifier: BSD-3-Clause */
/* pmpt -- the command line tool: its commands and the helpers that they share.
 *
 * Errors go to stderr as "pmpt COMMAND: file: strerror: errormsg".  Only the public header of the
 * library is used.
 */
#ifndef PMPT_H
#define PMPT_H

#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "libpmpt.h"

enum pt_exit { PT_OK = 0, PT_FAIL = 1, PT_USAGE = 2 };
/* pmpt check: the bits of e2fsck */
enum pt_check_exit { PT_FINDINGS = 4, PT_OPERATIONAL = 8, PT_CHECK_USAGE = 16, PT_CANCELLED = 32 };

struct pt_command {
	const char *name;
	const char *summary;              /* one line, for pmpt help */
	int (*fn)(int argc, char **argv); /* argv[0] is the command's name; returns an exit code */
};

/* pool.c */
int cmd_create(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_check(int argc, char **argv);
/* space.c */
int cmd_space(int argc, char **argv);
/* pages.c */
int cmd_walk(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_unmap(int argc, char **argv);
int cmd_protect(int argc, char **argv);
/* dump.c, restore.c */
int cmd_dump(int argc, char **argv);
int cmd_restore(int argc, char **argv);
/* bench.c */
int cmd_bench(int argc, char **argv);
/* import.c, heatmap.c, storm.c */
int cmd_import(int argc, char **argv);
int cmd_heatmap(int argc, char **argv);
int cmd_storm(int argc, char **argv);

/* ---- command line and errors (util.c) -------------------------------------------------------- */

/* The running command, as it is named in messages. */
extern const char *pt_name;
/* "pmpt NAME: text" on stderr. */
void pt_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "pmpt NAME: file: strerror: errormsg"; call it before the next call of the library.  file may be
 * NULL.  Returns PT_FAIL. */
int pt_error(const char *file, int error);
/* "pmpt NAME: text" and where help is.  Returns PT_USAGE. */
int pt_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says what is wrong when getopt_long (options start with ':', opterr is 0) returned c. */
int pt_option(int c, char **argv);
/* Print a help text.  Returns an exit code. */
int pt_help(const char *text);
/* Number in decimal, 0x hex or 0 octal, with an optional suffix k, M, G, T (powers of 1024).
 * pt_number says what is wrong: "--size: '12q' is no number". */
bool pt_parse(const char *text, uint64_t *value);
bool pt_number(const char *what, const char *text, uint64_t max, uint64_t *value);
/* Letters of r, w, x, u in any order, '-' ignored, to PMPT_R ...; R is always in it. */
bool pt_prot(const char *text, unsigned *prot);
/* "rw-u" of flags, into text. */
const char *pt_prot_text(unsigned flags, char text[5]);
/* "4.0 KiB" into text. */
const char *pt_size(uint64_t bytes, char text[32]);

/* ---- output (util.c) ------------------------------------------------------------------------- */

enum pt_color { PT_PLAIN, PT_BOLD, PT_RED, PT_GREEN, PT_YELLOW, PT_BLUE };
/* The escape for a colour, "" where `to` is no terminal or NO_COLOR is set. */
const char *pt_paint(FILE *to, enum pt_color color);
/* Print value on one line and drop the reference.  Returns an exit code. */
int pt_json(FILE *to, json_t *value);
/* "0x1234": a JSON number above 2^53 does not survive most readers. */
json_t *pt_json_hex(uint64_t value);
/* Flush; a full disk or a closed pipe is an error.  rc is kept unless it is PT_OK. */
int pt_done(FILE *to, const char *name, int rc);
double pt_now(void); /* seconds, monotonic */

struct pt_progress {
	const char *what, *unit;
	uint64_t total; /* 0: unknown */
	double start, shown;
};
/* A bar on stderr if that is a terminal, after a second; with rate, and ETA if total is known. */
void pt_progress_start(struct pt_progress *p, const char *what, const char *unit, uint64_t total);
void pt_progress(struct pt_progress *p, uint64_t done);
void pt_progress_end(struct pt_progress *p);

/* ---- pools (util.c) -------------------------------------------------------------------------- */

/* Does a child that opens the pool survive?  libpmemobj may crash on damaged metadata.  Says it if
 * not.  A pool in use, or none, survives.  first: out, may be NULL: what that open recovered, which
 * a later one no longer finds. */
bool pt_guard(const char *path, struct pmpt_recovery *first);
/* Guarded open; the error is printed.  Returns PT_OK or PT_FAIL. */
int pt_open(const char *path, pmpt_pool **pool);
/* Open a pool (guarded) and a space of it. */
int pt_open_space(const char *path, const char *name, pmpt_pool **pool, pmpt_space **space);
/* Close both (space may be NULL).  rc is kept unless it is PT_OK and the close fails. */
int pt_close(const char *path, pmpt_pool *pool, pmpt_space *space, int rc);

/* ---- runs of pages (pages.c) ----------------------------------------------------------------- */

struct pt_run { /* pages of one size, contiguous in address and frame, with the same flags */
	uint64_t va, pages, page_bytes, pfn;
	unsigned flags; /* as struct pmpt_mapping has them */
};
/* Call fn for each run in [va, va + len_bytes) (0: to the end).  Returns 0, an error of pmpt_walk,
 * or the first nonzero value of fn. */
int pt_walk(const pmpt_space *space, uint64_t va, uint64_t len_bytes,
	    int (*fn)(void *ctx, const struct pt_run *run), void *ctx);

#endif
