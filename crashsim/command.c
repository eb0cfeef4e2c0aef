/* SPDX-License-Identifier: BSD-3-Clause */
/* command -- crashsim_main(): the command line.
 *
 * The program starts itself again without randomised addresses, so that pointers which a workload
 * stores, and with them its recording and the ids of its failures, are the same in every run.
 */
#include "command.h"

#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <unistd.h>

int litmus_main(int argc, char **argv);

static int command_list(int argc, char **argv);

static const struct command commands[] = {
	{ "run", "[WORKLOAD...|./PROGRAM [ARG...]]",
	  "record workloads (default: all) and recover from every crash of them", command_run },
	{ "list", "", "the workloads of this program", command_list },
	{ "replay", "WORKLOAD:ID", "take the path of one failure again, in this process",
	  command_replay },
	{ "shrink", "WORKLOAD:ID", "find the smallest set of lost stores that still fails",
	  command_shrink },
	{ "merge", "FILE...", "join what `run --json --shard` wrote to the result of one run",
	  command_merge },
	{ "adequacy", "[--table FILE] [--sites FILE] [WORKLOAD...]",
	  "switch each flush, fence and streamed store off: does an oracle mind?",
	  command_adequacy },
	{ "litmus", "FILE...", "check small programs against the exact set of their images",
	  litmus_main },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
	fputs("usage: crashsim COMMAND [OPTION...] [OPERAND...]\n\n", to);
	for (size_t i = 0; i < COMMANDS; i++)
		(void)fprintf(to, "  %-7s %-34s %s\n", commands[i].name, commands[i].operands,
			      commands[i].about);
	fputs("\ncrashsim COMMAND --help lists the options of a command.\n"
	      "Exit status: 0 no failure, 1 failures, 2 the command line is wrong, 3 could not run.\n",
	      to);
}

static int command_list(int argc, char **argv)
{
	const struct crashsim_workload *const *list;
	size_t n = workloads(&list);
	int operands = options_parse("list", argc, argv);

	if (operands < 0)
		return EXIT_USAGE;
	if (operands) {
		(void)fprintf(stderr, "crashsim: list takes no operand, found '%s'\n", argv[1]);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < n; i++)
		(void)printf("%-24s %s\n", list[i]->name, list[i]->about ? list[i]->about : "");
	return EXIT_FINE;
}

static bool help_wanted(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	}
	return false;
}

static int help(const struct command *c)
{
	(void)printf("usage: crashsim %s [OPTION...] %s\n%s.\n\n", c->name, c->operands, c->about);
	options_help(stdout);
	return EXIT_FINE;
}

static void same_addresses(char **argv)
{
	int was = personality(0xffffffff);

	if (was < 0 || was & ADDR_NO_RANDOMIZE || getenv("CRASHSIM_STARTED"))
		return;
	if (personality((unsigned long)was | ADDR_NO_RANDOMIZE) < 0)
		return;
	(void)setenv("CRASHSIM_STARTED", "1", 1);
	(void)execv("/proc/self/exe", argv);
}

static const struct command *command_named(const char *name)
{
	const char *known[COMMANDS], *near;

	for (size_t i = 0; i < COMMANDS; i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
		known[i] = commands[i].name;
	}
	near = did_you_mean(name, known, COMMANDS);
	(void)fprintf(stderr, "crashsim: unknown command '%s'%s%s%s\n", name,
		      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	return NULL;
}

static const char *called = "crashsim";

const char *command_name(void) { return called; }

/* `crashsim run ./program` waits for this: see run.c. */
static void answer(void)
{
	const char *s = getenv(COMMAND_ANSWER);

	if (!s)
		return;
	(void)!write(atoi(s), "x", 1);
	(void)close(atoi(s));
	(void)unsetenv(COMMAND_ANSWER);
}

int crashsim_main(int argc, char **argv)
{
	static char run[] = "run";
	char *all[] = { run, NULL };
	const struct command *c;

	answer();
	same_addresses(argv);
	if (argc > 0)
		called = argv[0];
	(void)unsetenv("CRASHSIM_STARTED");
	if (argc < 2)
		return command_run(1, all);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_FINE;
	}
	if (argv[1][0] == '-') /* ./program --json: run is meant */
		return command_run(argc, argv);
	c = command_named(argv[1]);
	if (!c) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (help_wanted(argc - 1, argv + 1) && c->run != litmus_main)
		return help(c);
	return c->run(argc - 1, argv + 1);
}
