/* SPDX-License-Identifier: BSD-3-Clause */
/* chance -- random numbers and the time of a program that maps files (workload.bytes 0), the same
 * in each execution: pool libraries put a UUID and the time into the files that they make, and a
 * recording that is not the same twice is refused.
 *
 * Random bytes are those of a generator that starts anew for each execution; the time stands at
 * CHANCE_TIME.  The generator of rand() and the like is the program's own affair.
 */
#include "chance.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "files.h"

#define CHANCE_TIME  1700000000 /* of November 2023 */
#define CHANCE_BYTES 4096u      /* of a file of random bytes */

static uint64_t state;

void chance_begin(void) { state = 0x9e3779b97f4a7c15u; }

static uint64_t draw(void) /* xorshift64* */
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1du;
}

static void fill(void *to, size_t bytes)
{
	unsigned char *p = to;

	for (size_t i = 0; i < bytes; i++)
		p[i] = (unsigned char)(draw() >> 56);
}

int chance_open(const char *path)
{
	unsigned char bytes[CHANCE_BYTES];
	char uuid[64];
	size_t n = sizeof(bytes);
	int fd;

	if (!strcmp(path, "/proc/sys/kernel/random/uuid")) {
		n = (size_t)snprintf(uuid, sizeof(uuid), "%08x-%04x-4%03x-8%03x-%012llx\n",
				     (unsigned)(draw() >> 32), (unsigned)(draw() >> 48),
				     (unsigned)(draw() >> 52), (unsigned)(draw() >> 52),
				     (unsigned long long)(draw() >> 16));
		memcpy(bytes, uuid, n);
	} else if (!strcmp(path, "/dev/urandom") || !strcmp(path, "/dev/random")) {
		fill(bytes, n);
	} else {
		return -1;
	}
	fd = memfd_create("chance", MFD_CLOEXEC);
	if (fd >= 0 && (write(fd, bytes, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET))) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

ssize_t getrandom(void *to, size_t bytes, unsigned flags)
{
	if (!files_on())
		return syscall(SYS_getrandom, to, bytes, flags);
	fill(to, bytes);
	return (ssize_t)bytes;
}

int getentropy(void *to, size_t bytes)
{
	return getrandom(to, bytes, 0) == (ssize_t)bytes ? 0 : -1;
}

time_t time(time_t *to)
{
	struct timespec now = { .tv_sec = CHANCE_TIME };

	if (!files_on())
		(void)clock_gettime(CLOCK_REALTIME, &now);
	if (to)
		*to = now.tv_sec;
	return now.tv_sec;
}
