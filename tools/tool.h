/* SPDX-License-Identifier: BSD-3-Clause */
/* tool -- what the commands of pmpt share: the table entry of a command, options, output, errors,
 * progress, and opening a pool.  The tool knows the library by its public header alone. */
#ifndef PMPT_TOOL_H
#define PMPT_TOOL_H

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "libpmpt.h"

enum exit_code { EXIT_OK = 0, EXIT_ERROR = 1, EXIT_USAGE = 2, EXIT_DAMAGED = 8 };

struct command {
	const char *name;
	const char *synopsis; /* operands and options, one line for each form */
	const char *brief;    /* for the list of commands */
	const char *text;     /* what it does: paragraphs for --help */
	const char *exits;    /* NULL: the usual ones */
	const char *example;
	int usage_code; /* exit code of a wrong command line; 0: EXIT_USAGE */
	bool hidden;    /* a test aid: not in the list */
	int (*run)(const struct command *cmd, int argc, char **argv);
};

extern const struct command command_create, command_info, command_stat, command_check,
	command_backup, command_space, command_snapshot, command_diff, command_segment,
	command_policy, command_swap, command_walk, command_map, command_unmap, command_protect,
	command_read, command_write, command_fault, command_rmap, command_dump, command_restore,
	command_import, command_heatmap, command_bench, command_storm;

/* ---- options (options.c): one table is both parser and help ---------------------------------- */

enum opt_kind {
	OPT_FLAG,  /* bool */
	OPT_COUNT, /* uint64_t: 0x, k, M, G, T (powers of 1024) */
	OPT_TEXT,  /* const char * */
	OPT_PROT,  /* unsigned: letters of rwxu */
};
struct opt {
	const char *name;
	char letter; /* 0: none */
	enum opt_kind kind;
	void *value;
	const char *arg, *what; /* arg: its name in the help; NULL for a flag */
};
#define OPT_END                                     \
	{                                           \
		NULL, 0, OPT_FLAG, NULL, NULL, NULL \
	}
#define OPT_MAX 16

/* Parse argv[1..] by opts (ends with OPT_END; --help comes by itself); argv then holds the
 * operands from [0] on.  Returns their number, min..max; else prints usage and exits. */
int options(const struct command *cmd, const struct opt *opts, int argc, char **argv, int min,
	    int max);
/* Print what is wrong with the command line, and exit with EXIT_USAGE. */
_Noreturn void usage_error(const struct command *cmd, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* An operand as a number, or a usage error that names it. */
uint64_t operand(const struct command *cmd, const char *name, const char *text);
bool parse_number(const char *text, uint64_t *value);
bool parse_prot(const char *text, unsigned *prot); /* "rwxu", r among them, '-' ignored */
/* Which of the words (ends with NULL) an operand is, or a usage error that lists them. */
unsigned operand_word(const struct command *cmd, const char *const *words, const char *text);

/* ---- files (file.c) ---------------------------------------------------------------------------- */

/* A file that appears whole under its name, or not at all: it is written under another one first.
 * What is no regular file (a pipe, a device) is written as it is.  One at a time. */
struct output {
	FILE *to;
	const char *path;         /* NULL: standard output */
	char *target, *temporary; /* NULL: none */
};
/* Returns an exit code, the error printed: a pool is never overwritten. */
int output_open(struct output *out, const char *path);
/* Flush, close, rename.  code: what went wrong before, else EXIT_OK.  Returns an exit code. */
int output_close(struct output *out, int code);

#define LINE_BYTES_MAX (64u << 10)
/* A line into text, without its newline; n: out, its bytes.  Returns 1; 0 at the end; -EMSGSIZE if
 * it is longer than LINE_BYTES_MAX; another negated errno. */
int read_line(FILE *from, char text[LINE_BYTES_MAX + 1], size_t *n);

/* ---- output (output.c) ----------------------------------------------------------------------- */

enum color { PLAIN, BOLD, DIM, RED, GREEN, YELLOW, BLUE, CYAN };

void output_init(void);
const char *paint(enum color color); /* for stdout: "" when it is no terminal, or NO_COLOR */
/* Both print into a ring of buffers of this thread: good for one printf. */
const char *human_bytes(uint64_t bytes);            /* "144.0 MiB" */
const char *human_count(uint64_t n);                /* "36,864" */
const char *counted(uint64_t n, const char *thing); /* "1 space", "36,864 spaces" */
/* Characters of a tree, ASCII where the locale is not UTF-8. */
const char *tree_branch(bool last);
const char *tree_trunk(bool last);

/* "pmpt: what: name of the error: detail"; returns the exit code.  error 0: "pmpt: what" alone. */
int fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a call of the system, of which the library has no detail. */
int fail_os(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What pmpt_errormsg() has to say, without what `what` says already. */
const char *error_detail(const char *what);
/* Text of unknown origin on stderr: control characters as \x1b. */
void put_clean(const char *text);
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

json_t *json_text(const char *text); /* a string, bytes that are no UTF-8 replaced */
json_t *json_hex(uint64_t value);    /* "0x1234": numbers above 2^53 do not survive JSON */
int json_put(FILE *to,
	     json_t *value); /* one line; drops the reference.  An exit code: of no memory */
int output_done(FILE *to, const char *name); /* flush; say it if the disk is full.  An exit code */

struct progress {
	const char *what, *unit;
	uint64_t total, done;
	double start, shown;
};
/* A bar on stderr, if that is a terminal, once a second has passed.  total 0: unknown. */
void progress_start(struct progress *p, const char *what, const char *unit, uint64_t total);
void progress_to(struct progress *p, uint64_t done);
void progress_end(struct progress *p); /* takes the bar away */
double now_s(void);

/* ---- pools (open.c) -------------------------------------------------------------------------- */

/* Open a pool.  If libpmemobj crashes on damaged metadata of its own, says so and exits with
 * EXIT_DAMAGED.  Returns an exit code, the error printed; *error: out, may be NULL. */
int open_pool(const char *path, pmpt_pool **pool, int *error);
int open_space(const char *path, const char *name, pmpt_pool **pool, pmpt_space **space);
/* Open a space that is empty and has no user words, or create it: what was killed half-way can be
 * run again.  Returns 0; PMPT_E_EXISTS; the library's error. */
int take_space(pmpt_pool *pool, const char *name, pmpt_space **space, bool *created);
int fail_taken(int error, const char *path, const char *name); /* say it; the exit code */
/* Close both (space may be NULL).  rc: an exit code, kept unless it is 0 and closing fails. */
int close_pool(pmpt_pool *pool, pmpt_space *space, int rc);
/* fn(ctx, tx) in one transaction: redo, or where it is too large for that, bulk.  All or nothing.
 * Where frames are missing and the pool has a swap file, pages go out and it is tried again.
 * lsn: out, may be NULL.  Returns 0 or the library's error. */
int in_transaction(pmpt_pool *pool, int (*fn)(void *ctx, pmpt_tx *tx), void *ctx, uint64_t *lsn);

/* ---- runs of pages (runs.c) ------------------------------------------------------------------ */

/* The page has a frame of the pool. */
static inline bool page_in_pool(unsigned flags)
{
	return !(flags & (PMPT_EXT | PMPT_DEMAND | PMPT_OUT));
}

struct run { /* count pages of one size, contiguous in address, with the same flags */
	uint64_t va, page_bytes, count, pfn;
	unsigned flags;
	uint64_t next_pfn; /* the frame after the last page's; runs_add sets it, and: */
	uint64_t pieces;   /* runs of contiguous frames in it */
};
struct runs {
	struct run *run;
	size_t n, room;
	uint64_t pages;
	unsigned ignore; /* flags that make no difference, set before a walk */
};
/* Add pages behind what is there; merged where they go on.  by_frame: only contiguous frames.
 * Returns 0 or -ENOMEM. */
int runs_add(struct runs *runs, const struct run *run, bool by_frame);
/* Walk [va, va + len_bytes), in a view.  Returns as pmpt_view_walk. */
int runs_walk(struct runs *runs, const pmpt_view *view, const pmpt_space *space, uint64_t va,
	      uint64_t len_bytes, bool by_frame);
void runs_free(struct runs *runs);
static inline uint64_t run_bytes(const struct run *run) { return run->count * run->page_bytes; }
/* The end of a run as text: 2^64, behind the last page, is no uint64_t. */
const char *end_text(uint64_t va, uint64_t bytes, int digits);
/* "rwxu" into text, '-' for what is not there. */
const char *prot_text(unsigned flags, char text[5]);

const char *page_size_name(uint64_t page_bytes); /* "4K" */

/* All spaces' names, or all segments', in a NULL-terminated array.  Returns an exit code, the error
 * printed. */
int space_names(pmpt_pool *pool, char ***names, size_t *n);
int segment_names(pmpt_pool *pool, char ***names, size_t *n);
void names_free(char **names);

#endif
