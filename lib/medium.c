/* SPDX-License-Identifier: BSD-3-Clause */
/* medium -- see medium.h. */
#include "medium.h"

#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "error.h"

struct part { /* one mapping as /proc/self/smaps tells it */
	uint64_t first, end;
	char path[4096];
	bool sync;
};

/* Read the next mapping; its flags come some lines behind its head. */
static bool next_part(FILE *smaps, struct part *part)
{
	char line[4400];

	*part = (struct part){ 0 };
	while (fgets(line, sizeof(line), smaps)) {
		uint64_t first,
			end; /* of this line: other lines begin with hexadecimal digits too */
		int at = 0;

		/* NOLINTNEXTLINE(cert-err34-c): the kernel writes these, they fit */
		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &first, &end, &at) == 2) {
			part->first = first;
			part->end = end;
			(void)snprintf(part->path, sizeof(part->path), "%s", line + at);
			part->path[strcspn(part->path, "\n")] = 0;
		} else if (!strncmp(line, "VmFlags:", 8)) {
			part->sync = strstr(line, " sf") != NULL;
			return true;
		}
	}
	return false;
}

static enum pmpt_medium medium_of(const struct part *part)
{
	struct statfs fs;

	if (part->sync || !strncmp(part->path, "/dev/dax", 8))
		return PMPT_MEDIUM_PMEM;
	if (!statfs(part->path, &fs) && fs.f_type == TMPFS_MAGIC)
		return PMPT_MEDIUM_EMULATED;
	return PMPT_MEDIUM_FILE;
}

int medium_of_mapping(const void *base, enum pmpt_medium *medium, uint64_t *bytes)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	uint64_t end = (uint64_t)(uintptr_t)base;
	struct part part;
	int rc = 0;

	if (!smaps)
		return error_set(-errno, "/proc/self/smaps: %s", strerror(errno));
	while (!rc && next_part(smaps, &part)) {
		enum pmpt_medium found;

		if (part.first != end || part.path[0] != '/')
			continue;
		found = medium_of(&part);
		if (part.first != (uint64_t)(uintptr_t)base && found != *medium)
			rc = error_set(PMPT_E_MEDIUM,
				       "%s is on another kind of medium than the parts before it",
				       part.path);
		*medium = found;
		end = part.end;
	}
	(void)fclose(smaps);
	if (!rc && end == (uint64_t)(uintptr_t)base)
		return error_set(PMPT_E_MEDIUM, "the pool's mapping is not in /proc/self/smaps");
	*bytes = end - (uint64_t)(uintptr_t)base;
	return rc;
}
