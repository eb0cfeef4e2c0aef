/* SPDX-License-Identifier: BSD-3-Clause */
/* medium -- see medium.h. */
#include "medium.h"

#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "error.h"

struct part { /* one mapping as /proc/self/maps tells it */
	uint64_t first, end;
	char path[4096];
};

/* A line that heads a mapping, in maps and in smaps; others begin with hexadecimal digits too. */
static bool part_parse(const char *line, struct part *part)
{
	uint64_t first, end;
	int at = 0;

	/* NOLINTNEXTLINE(cert-err34-c): the kernel writes these, they fit */
	if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &first, &end, &at) != 2)
		return false;
	part->first = first;
	part->end = end;
	(void)snprintf(part->path, sizeof(part->path), "%s", line + at);
	part->path[strcspn(part->path, "\n")] = 0;
	return true;
}

/* Was it mapped with MAP_SYNC?  Its flags come some lines behind its head. */
static bool mapped_sync(uint64_t first)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	struct part part = { 0 };
	char line[4400];
	bool sync = false;

	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (!strncmp(line, "VmFlags:", 8) && part.first == first) {
			sync = strstr(line, " sf") != NULL;
			break;
		}
		(void)part_parse(line, &part);
	}
	if (smaps)
		(void)fclose(smaps);
	return sync;
}

/* smaps is read only where the file may be DAX: it costs time for each page this process has. */
static enum pmpt_medium medium_of(const struct part *part)
{
	struct statfs fs;
	struct statx st;

	if (!strncmp(part->path, "/dev/dax", 8))
		return PMPT_MEDIUM_PMEM;
	if (!statfs(part->path, &fs) && fs.f_type == TMPFS_MAGIC)
		return PMPT_MEDIUM_EMULATED;
	if (!statx(-1, part->path, 0, 0, &st) && st.stx_attributes_mask & STATX_ATTR_DAX &&
	    !(st.stx_attributes & STATX_ATTR_DAX))
		return PMPT_MEDIUM_FILE;
	return mapped_sync(part->first) ? PMPT_MEDIUM_PMEM : PMPT_MEDIUM_FILE;
}

int medium_of_mapping(const void *base, uint64_t limit, enum pmpt_medium *medium, uint64_t *bytes)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uint64_t first = (uint64_t)(uintptr_t)base, end = first;
	struct part part;
	char line[4400];
	int rc = 0;

	if (!maps)
		return error_set(-errno, "/proc/self/maps: %s", strerror(errno));
	while (!rc && end - first < limit && fgets(line, sizeof(line), maps)) {
		enum pmpt_medium found;

		if (!part_parse(line, &part) || part.first != end || part.path[0] != '/')
			continue;
		found = medium_of(&part);
		if (end != first && found != *medium)
			rc = error_set(PMPT_E_MEDIUM,
				       "%s is on another kind of medium than the parts before it",
				       part.path);
		*medium = found;
		end = part.end;
	}
	(void)fclose(maps);
	if (!rc && end == first)
		return error_set(PMPT_E_MEDIUM, "the pool's mapping is not in /proc/self/maps");
	*bytes = end - first < limit ? end - first : limit;
	return rc;
}
