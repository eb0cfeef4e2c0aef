/* A log in a file that libpmem maps.  crashsim stands in for libpmem: no buffer is named, and each
 * start of the program maps the file again. */
#include <crashsim.h>
#include <libpmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH "crashsim-example-log.pool"
#define ROOM 16

struct log {
	uint64_t lines;
	uint64_t unused[7];
	char line[ROOM][64];
};

static struct log *log_open(void)
{
	struct log *log = pmem_map_file(PATH, sizeof(*log), PMEM_FILE_CREATE, 0600, NULL, NULL);

	if (!log) {
		fprintf(stderr, "%s: %s\n", PATH, pmem_errormsg());
		exit(1);
	}
	return log;
}

static void log_close(struct log *log) { pmem_unmap(log, sizeof(*log)); }

static void append(struct log *log, const char *text)
{
	char line[64] = "";

	snprintf(line, sizeof(line), "%s", text);
	pmem_memcpy_nodrain(log->line[log->lines], line, sizeof(line));
	pmem_drain(); /* the line is durable before it counts: leave this out, and crashsim finds it */
	log->lines++;
	pmem_persist(&log->lines, sizeof(log->lines));
}

/* ---- what crashsim is to do with it ---- */

static void run(void *pm)
{
	struct log *log = log_open();

	(void)pm; /* NULL: nothing is mapped yet */
	for (unsigned i = 0; i < 3; i++) {
		char text[32];

		snprintf(text, sizeof(text), "line %u", i);
		crashsim_begin(i);
		append(log, text);
		crashsim_returned(i);
	}
	log_close(log);
}

static void check(void *pm)
{
	struct log *log = log_open();

	(void)pm; /* the file's contents; the same as `log` */
	for (unsigned i = 0; i < 3; i++) {
		char want[32];

		if (crashsim_state(i) == CRASHSIM_RETURNED && log->lines <= i)
			crashsim_fail("line %u was appended, and it is lost", i);
		snprintf(want, sizeof(want), "line %u", i);
		if (i < log->lines && strcmp(log->line[i], want))
			crashsim_fail("line %u counts, and is not what was appended", i);
	}
	log_close(log);
}

CRASHSIM_WORKLOAD(libpmem_log, .run = run, .check = check)
