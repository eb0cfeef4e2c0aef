/* SPDX-License-Identifier: BSD-3-Clause */
/* files -- a workload that names no buffer (bytes 0): the files that it maps shared and writable,
 * by mmap or pmem_map_file, are the buffer.
 *
 * The first one lies at FILES_AT, or where the program demands it by MAP_FIXED; the next ones
 * behind, in the order of their first mapping.  A file's contents are read when it is mapped first;
 * from then on they live in the buffer alone: a file mapped again lies at the same address, with
 * what the program has stored or, in recovery, with what a crash has left of it.  munmap changes
 * nothing. open, ftruncate, fallocate and the like do to the file what they always do; a crash
 * finds its name and its size as run has left them.  read() and write() of a mapped file do not see
 * the buffer.
 *
 * Locks of files (flock) are not taken in recovery.
 *
 * A file that did not exist before, and was mapped, is removed before the next recording and at the
 * end, so that each recording begins alike.
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "chance.h"
#include "hooks.h"
#include "unseen.h"

#define FILES_AT  0x100000000000u
#define FILES_MAX 16u
#define MADE_MAX  64u
#define BYTES_MAX ((size_t)1 << 30) /* of all files */

#define CALLER ((uint64_t)(uintptr_t)__builtin_return_address(0))

static struct file {
	dev_t dev;
	ino_t ino;
	size_t base, bytes; /* in the buffer */
	int fd;             /* our own, to read it again */
} file[FILES_MAX];
static unsigned n_files;
static bool on;

static struct made { /* by open(O_CREAT): did not exist before */
	char path[PATH_MAX];
	dev_t dev;
	ino_t ino;
} * made;
static unsigned n_made;
static pid_t parent;

static size_t pages(size_t bytes) { return (bytes + 4095) & ~(size_t)4095; }

bool files_on(void) { return on; }

static struct file *file_of(const struct stat *st)
{
	for (unsigned i = 0; i < n_files; i++) {
		if (file[i].dev == st->st_dev && file[i].ino == st->st_ino)
			return &file[i];
	}
	return NULL;
}

static void remove_made(void)
{
	/* by its name: a process that recorded once more has made it anew */
	for (unsigned i = 0; i < n_made; i++) {
		if (file_of(&(struct stat){ .st_dev = made[i].dev, .st_ino = made[i].ino }))
			(void)unlink(made[i].path);
	}
	n_made = 0;
}

void files_made_anew(void)
{
	for (unsigned i = 0; i < n_made; i++) {
		struct file *f =
			file_of(&(struct stat){ .st_dev = made[i].dev, .st_ino = made[i].ino });
		struct stat st;

		if (!f || stat(made[i].path, &st))
			continue;
		f->dev = made[i].dev = st.st_dev;
		f->ino = made[i].ino = st.st_ino;
	}
}

/* Not where a recovery has called exit(): others are still at work on the file. */
static void remove_at_exit(void)
{
	if (parent == getpid())
		remove_made();
}

void files_begin(bool now)
{
	if (!parent) {
		parent = getpid();
		(void)atexit(remove_at_exit);
	}
	remove_made();
	for (unsigned i = 0; i < n_files; i++)
		(void)close(file[i].fd);
	n_files = 0;
	on = now;
	chance_begin();
	if (on) {
		region_base = (unsigned char *)FILES_AT;
		region_bytes = 0;
	}
}

static _Noreturn void refuse(const char *what, size_t bytes)
{
	(void)fprintf(stderr, "crashsim: %s (%zu bytes)\n", what, bytes);
	exit(3);
}

static void load(const struct file *f)
{
	unsigned char *to = region_base + f->base;
	size_t done = 0;

	memset(to, 0, f->bytes);
	while (done < f->bytes) {
		ssize_t n = pread(f->fd, to + done, f->bytes - done, (off_t)done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
}

void files_reload(void)
{
	for (unsigned i = 0; i < n_files; i++)
		load(&file[i]);
}

/* The buffer has grown by a file: so has what the recording began with. */
static void record_grown(void)
{
	size_t was = recording->bytes;

	if (stage != STAGE_RECORD)
		return;
	recording->first = must(realloc(recording->first, region_bytes));
	memcpy(recording->first + was, region_base + was, region_bytes - was);
	recording->bytes = region_bytes;
	unseen_grown(recording);
}

static void *map_here(void *at, size_t bytes)
{
	long rc = syscall(SYS_mmap, at, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0L);

	if (rc == -1)
		refuse("no memory for the buffer of a mapped file", bytes);
	return (void *)rc;
}

/* Not a duplicate: that would keep the program's lock on the file. */
static int open_again(int fd)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

/* The program maps a file for the first time.  NULL: it is none for us. */
static struct file *take(int fd, const struct stat *st, void *wanted, bool fixed, size_t end)
{
	struct file *f = &file[n_files];

	hook_settle();
	if (n_files == FILES_MAX)
		refuse("more than 16 files mapped", FILES_MAX);
	if (n_files == 0 && fixed)
		region_base = wanted;
	*f = (struct file){ .dev = st->st_dev,
			    .ino = st->st_ino,
			    .base = region_bytes,
			    .bytes = pages((size_t)st->st_size > end ? (size_t)st->st_size : end),
			    .fd = open_again(fd) };
	if (f->fd < 0)
		return NULL;
	if (region_bytes + f->bytes > BYTES_MAX)
		refuse("the files mapped are larger than 1 GiB; the workload wants a smaller file",
		       region_bytes + f->bytes);
	(void)map_here(region_base + f->base, f->bytes);
	n_files++;
	load(f);
	region_bytes += f->bytes;
	record_grown();
	return f;
}

/* It maps more of a file than there was: only the last file has room behind. */
static bool extend(struct file *f, size_t end)
{
	size_t more = pages(end) - f->bytes;

	if (pages(end) <= f->bytes)
		return true;
	if (stage == STAGE_RECOVER || f != &file[n_files - 1] || region_bytes + more > BYTES_MAX)
		return false;
	hook_settle();
	(void)map_here(region_base + f->base + f->bytes, more);
	f->bytes += more;
	region_bytes += more;
	record_grown();
	return true;
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	struct file *f = NULL;
	struct stat st;

	if (on && fd >= 0 && (flags & MAP_TYPE & MAP_SHARED) && !fstat(fd, &st) &&
	    S_ISREG(st.st_mode)) {
		f = file_of(&st);
		if (!f && (prot & PROT_WRITE) && stage != STAGE_RECOVER)
			f = take(fd, &st, (unsigned char *)addr - off, fixed, (size_t)off + len);
	}
	if (!f)
		return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
	if (!extend(f, (size_t)off + len) ||
	    (fixed && region_base + f->base + off != (unsigned char *)addr)) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return region_base + f->base + off;
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return mmap(addr, len, prot, flags, fd, off);
}

static bool in_buffer(const void *addr)
{
	return on && (uint64_t)((const unsigned char *)addr - region_base) < region_bytes;
}

int munmap(void *addr, size_t len)
{
	return in_buffer(addr) ? 0 : (int)syscall(SYS_munmap, addr, len);
}

/* ---- written back ---------------------------------------------------------------------------- */

static void synced(const void *addr, size_t len, uint64_t site)
{
	uint64_t off = (uint64_t)((const unsigned char *)addr - region_base) & ~(uint64_t)4095;
	uint64_t end = pages((uint64_t)((const unsigned char *)addr - region_base) + len);

	hook_msync(region_base + off, (end < region_bytes ? end : region_bytes) - off, site);
}

void files_synced(const void *addr, size_t len) { synced(addr, len, CALLER); }

int msync(void *addr, size_t len, int flags)
{
	if (!in_buffer(addr) && (uint64_t)((unsigned char *)addr - region_base) >= region_bytes)
		return (int)syscall(SYS_msync, addr, len, flags);
	if (((uintptr_t)addr & 4095) || (flags & (MS_SYNC | MS_ASYNC)) == (MS_SYNC | MS_ASYNC)) {
		errno = EINVAL;
		return -1;
	}
	if (flags & MS_SYNC)
		synced(addr, len, CALLER);
	return 0;
}

static bool fd_synced(int fd, uint64_t site)
{
	struct stat st;
	struct file *f = on && !fstat(fd, &st) ? file_of(&st) : NULL;

	if (f)
		synced(region_base + f->base, f->bytes, site);
	return f;
}

int fsync(int fd) { return fd_synced(fd, CALLER) ? 0 : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return fd_synced(fd, CALLER) ? 0 : (int)syscall(SYS_fdatasync, fd); }

/* Recoveries in several processes at a time are no second users of the file. */
int flock(int fd, int operation)
{
	struct stat st;

	if (on && stage == STAGE_RECOVER && !fstat(fd, &st) && file_of(&st))
		return 0;
	return (int)syscall(SYS_flock, fd, operation);
}

/* ---- files that the program makes ------------------------------------------------------------ */

static int opened(int dir, const char *path, int flags, mode_t mode)
{
	int chance = on ? chance_open(path) : -1;
	bool watch = on && stage != STAGE_RECOVER && (flags & O_CREAT) && n_made < MADE_MAX &&
		     syscall(SYS_faccessat, dir, path, F_OK) != 0;
	int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
	struct stat st;

	if (chance >= 0 && fd >= 0) {
		(void)close(fd);
		return chance;
	}
	if (!watch || fd < 0 || fstat(fd, &st))
		return fd;
	if (!made)
		made = must(calloc(MADE_MAX, sizeof(*made)));
	if (dir == AT_FDCWD && realpath(path, made[n_made].path)) {
		made[n_made].dev = st.st_dev;
		made[n_made++].ino = st.st_ino;
	}
	return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
	bool given = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;

	return given ? va_arg(ap, mode_t) : 0;
}

#define OPEN(...)                                        \
	do {                                             \
		va_list ap;                              \
		mode_t mode;                             \
                                                         \
		va_start(ap, flags);                     \
		mode = mode_of(flags, ap);               \
		va_end(ap);                              \
		return opened(__VA_ARGS__, flags, mode); \
	} while (0)

int open(const char *path, int flags, ...) { OPEN(AT_FDCWD, path); }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD, path); }
int openat(int dir, const char *path, int flags, ...) { OPEN(dir, path); }
int openat64(int dir, const char *path, int flags, ...) { OPEN(dir, path); }
int creat(const char *path, mode_t mode)
{
	return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
