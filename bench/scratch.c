/* SPDX-License-Identifier: BSD-3-Clause */
/* scratch -- a directory of our own on the medium under test, gone afterwards.
 *
 * Mapped files are unlinked as soon as they are open.  The pool needs its name; a signal handler
 * unlinks it, and the directory, with calls that a handler may make, and then dies of the signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define FILES 64

static char directory[4096], pool_path[4096 + 8];
static char swap_directory[4096], swap_path[4096 + 8]; /* "": none */
static char file_path[FILES][4096 + 64];               /* "": none */
static size_t n_files;
static pid_t owner;

static void remove_all(void)
{
	if (owner != getpid())
		return; /* a child that was forked to make or to recover a pool */
	unlink(pool_path);
	for (size_t i = 0; i < n_files; i++)
		unlink(file_path[i]);
	rmdir(directory);
	if (*swap_path) {
		unlink(swap_path);
		rmdir(swap_directory);
	}
}

static void on_signal(int sig)
{
	remove_all();
	signal(sig, SIG_DFL);
	raise(sig);
}

void scratch_open(const char *dir)
{
	static const int ends[] = { SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
				    SIGPIPE, SIGABRT, SIGSEGV, SIGBUS };
	struct sigaction action = { .sa_handler = on_signal };

	if ((size_t)snprintf(directory, sizeof(directory), "%s/pmpt-bench.XXXXXX", dir) >=
	    sizeof(directory))
		die("%s: path too long", dir);
	if (!mkdtemp(directory)) {
		fprintf(stderr, "pmpt-bench: %s: %s\n", dir, strerror(errno));
		exit(1);
	}
	snprintf(pool_path, sizeof(pool_path), "%s/pool", directory);
	owner = getpid();
	atexit(scratch_close);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaction(ends[i], &action, NULL);
}

void scratch_close(void) { remove_all(); }

const char *scratch_pool(void) { return pool_path; }

const char *scratch_file(const char *name)
{
	char path[sizeof(file_path[0])];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
		die("%s: name too long", name);
	for (size_t i = 0; i < n_files; i++) {
		if (!strcmp(file_path[i], path))
			return file_path[i];
	}
	if (n_files == FILES)
		die("%s: too many files", name);
	return strcpy(file_path[n_files++], path);
}

void scratch_drop_pool(void) { unlink(pool_path); }

void *scratch_map(uint64_t bytes)
{
	char path[sizeof(directory) + 16];
	int fd, rc;
	void *ptr;

	snprintf(path, sizeof(path), "%s/limit", directory);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	unlink(path);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	rc = posix_fallocate(fd, 0, (off_t)bytes);
	if (rc)
		die("%s: %s", directory, strerror(rc));
	ptr = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (ptr == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	close(fd);
	return ptr;
}

const char *scratch_swap(void)
{
	const char *dir = getenv("TMPDIR");

	if (*swap_path)
		return swap_path;
	snprintf(swap_directory, sizeof(swap_directory), "%s/pmpt-bench.XXXXXX",
		 dir && *dir ? dir : "/var/tmp");
	if (!mkdtemp(swap_directory))
		die("%s: %s", swap_directory, strerror(errno));
	snprintf(swap_path, sizeof(swap_path), "%s/swap", swap_directory);
	return swap_path;
}

int scratch_swap_limit(uint64_t bytes)
{
	char path[sizeof(swap_directory) + 16];
	int fd, rc;

	(void)scratch_swap();
	snprintf(path, sizeof(path), "%s/limit", swap_directory);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	unlink(path);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	rc = posix_fallocate(fd, 0, (off_t)bytes);
	if (rc)
		die("%s: %s", swap_directory, strerror(rc));
	return fd;
}

void scratch_unmap(void *ptr, uint64_t bytes) { munmap(ptr, bytes); }
