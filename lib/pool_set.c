/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_set -- see pool_set.h. */
#include "pool_set.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

#define SET_SIGNATURE "PMEMPOOLSET"
#define SPACES        " \t\r\n"

int set_is(const char *path)
{
	char head[sizeof(SET_SIGNATURE) - 1] = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
	ssize_t n;

	if (fd < 0)
		return error_sys(path, "open");
	n = pread(fd, head, sizeof(head), 0);
	(void)close(fd);
	return n == (ssize_t)sizeof(head) && !memcmp(head, SET_SIGNATURE, sizeof(head));
}

/* The path of the part that a line names; NULL: it names none.  Changes the line. */
static int line_part(const char *path, unsigned number, char *line, char **part)
{
	char *save = NULL, *first = strtok_r(line, SPACES, &save), text[128];

	*part = NULL;
	if (!first || *first == '#' || !strcmp(first, "OPTION") || !strcmp(first, SET_SIGNATURE))
		return 0;
	if (!strcmp(first, "REPLICA"))
		return error_set(PMPT_E_MEDIUM, "%s:%u: pool sets with replicas are not supported",
				 path, number);
	*part = strtok_r(NULL, SPACES, &save);
	if (!*part || **part != '/')
		return error_set(PMPT_E_MEDIUM,
				 "%s:%u: '%s', expected a size and the absolute path of a part",
				 path, number, error_text(text, sizeof(text), first));
	return 0;
}

int set_parts(const char *path, int (*fn)(void *ctx, unsigned i, const char *part), void *ctx)
{
	FILE *set = fopen(path, "re");
	unsigned n = 0;
	char line[8192], *part;
	int rc = 0;

	if (!set)
		return error_sys(path, "open");
	for (unsigned number = 1; !rc && fgets(line, sizeof(line), set); number++) {
		rc = line_part(path, number, line, &part);
		if (rc || !part)
			continue;
		if (n == SET_PARTS_MAX)
			rc = error_set(PMPT_E_MEDIUM, "%s:%u: more than %u parts", path, number,
				       SET_PARTS_MAX);
		else
			rc = fn(ctx, n++, part);
	}
	(void)fclose(set);
	return rc || n ? rc : error_set(PMPT_E_MEDIUM, "%s: a pool set without parts", path);
}
