/* SPDX-License-Identifier: BSD-3-Clause */
/* command -- what the subcommands share; see command.c. */
#ifndef COMMAND_H
#define COMMAND_H

#include "worker.h"

enum { EXIT_FINE, EXIT_FAILURES, EXIT_USAGE, EXIT_NOT_RUN };

struct command {
	const char *name, *operands, *about;
	int (*run)(int argc, char **argv); /* argv[0]: the name */
};

/* What the options of the command line say besides struct options. */
struct wishes {
	bool json, quiet, help;
	const char *out; /* directory for reports, or NULL */
};
extern struct wishes wishes;

/* Options, wherever they stand; operands are moved to the front.  Returns how many operands, or -1
 * with a message. */
int options_parse(const char *command, int argc, char **argv);
void options_help(FILE *to);
/* The options that change what a path of this mode means, as they have to be given again; "" or with
 * a space before it. */
const char *options_of_path(enum explore_mode mode);

/* The nearest of the names, or NULL. */
const char *did_you_mean(const char *name, const char *const *known, size_t n);
/* By its name, or NULL with a message. */
const struct crashsim_workload *workload_named(const char *name);
/* Record, with every check that a recording has to pass.  0, or an exit code with a message. */
int record_or_say(const struct crashsim_workload *w, struct trace *t);
void tell_progress_of(void *ctx, const struct progress *p); /* ctx: the workload's name */
void progress_end(void);

/* Variable of the environment: a descriptor that crashsim_main() of a program that `run` starts writes to. */
#define COMMAND_ANSWER "CRASHSIM_ANSWER"

/* The process is. */
bool debugged(void);
/* As it was called. */
const char *command_name(void);

int command_run(int argc, char **argv);
int command_replay(int argc, char **argv);
int command_shrink(int argc, char **argv);
int command_merge(int argc, char **argv);
int command_adequacy(int argc, char **argv); /* adequacy.c */

#endif
