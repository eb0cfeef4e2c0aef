/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_bench -- bench: hand over to pmpt-bench, the one beside this program or else in PATH. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static int run_bench(const struct command *cmd, int argc, char **argv)
{
	char path[4096], name[] = "pmpt-bench";
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("-bench"));

	(void)argc;
	(void)cmd;
	argv[0] = name;
	if (n > 0) {
		path[n] = '\0';
		strcat(path, "-bench");
		execv(path, argv);
	}
	execvp(name, argv);
	warn("%s: %s", name, strerror(errno));
	return EXIT_ERROR;
}

const struct command command_bench = {
	.name = "bench",
	.synopsis = "pmpt bench [OPTION]... [NAME]...",
	.brief = "measure the library on this machine",
	.text = "Run pmpt-bench with these operands; 'pmpt bench --help' is its help.\n",
	.example = "pmpt bench --quick update lookup",
	.run = run_bench,
};
