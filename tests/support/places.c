/* SPDX-License-Identifier: BSD-3-Clause */
/* places -- see places.h. */
#include "places.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cmocka.h>

static bool on_tmpfs(const char *dir)
{
	struct statfs fs;

	return !statfs(dir, &fs) && fs.f_type == TMPFS_MAGIC;
}

static bool make(char dir[PLACE_BYTES], const char *const *where, bool tmpfs)
{
	for (; *where; where++) {
		char real[PATH_MAX];

		if (access(*where, W_OK) || on_tmpfs(*where) != tmpfs || !realpath(*where, real) ||
		    strlen(real) > PLACE_BYTES - 16)
			continue;
		(void)snprintf(dir, PLACE_BYTES, "%.*s/pmpt-XXXXXX", PLACE_BYTES - 16, real);
		if (mkdtemp(dir))
			return true;
	}
	print_message("no directory %s here to write in\n",
		      tmpfs ? "on tmpfs" : "on an ordinary file system");
	return false;
}

bool place_tmpfs(char dir[PLACE_BYTES])
{
	static const char *const where[] = { "/dev/shm", "/run/shm", "/tmp", NULL };

	return make(dir, where, true);
}

bool place_file(char dir[PLACE_BYTES])
{
	const char *build = getenv("BUILD");
	const char *const where[] = { build ? build : "build", "/var/tmp", "/tmp", NULL };

	return make(dir, where, false);
}

static bool memory_has(uint64_t bytes)
{
	FILE *info = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (info && fgets(line, sizeof(line), info)) {
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			break;
	}
	if (info)
		(void)fclose(info);
	if (kib << 10 > bytes + (256u << 20))
		return true;
	print_message("%llu MiB of memory are free, %lu and some are needed\n", kib >> 10,
		      bytes >> 20);
	return false;
}

bool place_small(char dir[PLACE_BYTES], uint64_t bytes)
{
	static bool apart;
	char options[64];

	(void)snprintf(dir, PLACE_BYTES, "/tmp/pmpt-XXXXXX");
	(void)snprintf(options, sizeof(options), "size=%lu", bytes);
	if (!apart && !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		apart = true;
	if (!apart) {
		print_message("no file system of our own: %s\n", strerror(errno));
		return false;
	}
	if (!memory_has(bytes) || !mkdtemp(dir))
		return false;
	if (!mount("pmpt-test", dir, "tmpfs", 0, options))
		return true;
	print_message("no tmpfs of our own: %s\n", strerror(errno));
	(void)rmdir(dir);
	return false;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	(void)remove(path);
	return 0;
}

void place_remove(const char *dir)
{
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (!umount2(dir, MNT_DETACH))
		(void)rmdir(dir);
}

static uint64_t place_free(const char *dir)
{
	struct statvfs fs;

	assert_return_code(statvfs(dir, &fs), errno);
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

bool place_has(const char *dir, uint64_t bytes)
{
	if (place_free(dir) >= bytes)
		return !on_tmpfs(dir) || memory_has(bytes);
	print_message("%lu MiB are free in %s, %lu are needed\n", place_free(dir) >> 20, dir,
		      bytes >> 20);
	return false;
}

void place_fill(const char *dir, uint64_t left)
{
	uint64_t free = place_free(dir);
	char path[PLACE_BYTES + 16];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/ballast", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_return_code(fd, errno);
	if (free > left)
		assert_int_equal(posix_fallocate(fd, lseek(fd, 0, SEEK_END), (off_t)(free - left)),
				 0);
	(void)close(fd);
}
