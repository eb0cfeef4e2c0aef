/* SPDX-License-Identifier: BSD-3-Clause */
/* pmpt -- look at pools of durable page tables, and change them.  Page pmpt(1). */
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static const struct {
	const char *title;
	const struct command *command[10];
} groups[] = {
	{ "pools",
	  { &command_create, &command_info, &command_stat, &command_check, &command_backup } },
	{ "spaces",
	  { &command_space, &command_snapshot, &command_diff, &command_segment, &command_swap,
	    &command_policy } },
	{ "pages",
	  { &command_walk, &command_map, &command_unmap, &command_protect, &command_read,
	    &command_write, &command_fault, &command_rmap } },
	{ "in and out", { &command_dump, &command_restore, &command_import, &command_heatmap } },
	{ "measuring and testing", { &command_bench, &command_storm } },
};
#define N_GROUPS (sizeof(groups) / sizeof(groups[0]))

static void help(FILE *to)
{
	fputs("usage: pmpt COMMAND [OPTION]... POOL [OPERAND]...\n"
	      "       pmpt help [COMMAND]\n"
	      "       pmpt --version\n\n"
	      "Crash-proof x86-64 page tables on persistent memory: look at pools, change them.\n",
	      to);
	for (size_t g = 0; g < N_GROUPS; g++) {
		fprintf(to, "\n%s%s%s\n", paint(BOLD), groups[g].title, paint(PLAIN));
		for (size_t i = 0; groups[g].command[i]; i++) {
			const struct command *cmd = groups[g].command[i];

			if (!cmd->hidden)
				fprintf(to, "  %-10s %s\n", cmd->name, cmd->brief);
		}
	}
	fputs("\n'pmpt help COMMAND' tells more.  Numbers may be 0x..., or end in k, M, G or T.\n"
	      "NO_COLOR in the environment turns colors off.\n",
	      to);
}

static const struct command *find(const char *name)
{
	for (size_t g = 0; g < N_GROUPS; g++) {
		for (size_t i = 0; groups[g].command[i]; i++) {
			if (!strcmp(groups[g].command[i]->name, name))
				return groups[g].command[i];
		}
	}
	return NULL;
}

/* Levenshtein's distance of two short words. */
static size_t distance(const char *a, const char *b)
{
	size_t row[32], n = strlen(b);

	if (n >= sizeof(row) / sizeof(row[0]))
		return n;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[n];
}

static int unknown(const char *name)
{
	const char *nearest = NULL;
	size_t best = 3, n = strlen(name); /* further away is no typing mistake */

	for (size_t g = 0; g < N_GROUPS; g++) {
		for (size_t i = 0; groups[g].command[i]; i++) {
			const struct command *cmd = groups[g].command[i];
			bool begins = n > 1 && !strncmp(name, cmd->name, n);
			size_t d = begins ? 0 : distance(name, cmd->name);

			if (!cmd->hidden && d < best) {
				best = d;
				nearest = cmd->name;
			}
		}
	}
	fprintf(stderr, "pmpt: '%s' is not a command", name);
	if (nearest)
		fprintf(stderr, "; did you mean '%s'?\n", nearest);
	else
		fputs("; 'pmpt help' lists them\n", stderr);
	return EXIT_USAGE;
}

static int run_help(int argc, char **argv)
{
	const struct command *cmd;
	char option[] = "--help";

	if (argc < 2) {
		help(stdout);
		return EXIT_OK;
	}
	cmd = find(argv[1]);
	return cmd ? cmd->run(cmd, 2, (char *[]){ argv[1], option, NULL }) : unknown(argv[1]);
}

/* Where a standard descriptor is closed, a pool that is opened would become it, and what we print
 * would go into the pool.  Opened the wrong way round: using it is still an error. */
static void occupy_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(EXIT_ERROR);
	}
}

static int run(int argc, char **argv)
{
	const struct command *cmd;

	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V") ||
	    !strcmp(argv[1], "version")) {
		printf("pmpt %s\n", pmpt_version());
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return run_help(argc - 1, argv + 1);
	cmd = find(argv[1]);
	return cmd ? cmd->run(cmd, argc - 1, argv + 1) : unknown(argv[1]);
}

int main(int argc, char **argv)
{
	int code;

	occupy_standard_descriptors();
	setlocale(LC_CTYPE, "");
	output_init();
	if (argc < 2) {
		help(stderr);
		return EXIT_USAGE;
	}
	code = run(argc, argv);
	return code ? code : output_done(stdout, "standard output");
}
