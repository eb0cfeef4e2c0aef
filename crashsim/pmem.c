/* SPDX-License-Identifier: BSD-3-Clause */
/* pmem -- libpmem's functions: they do their work on the buffer and say what they do.
 *
 * A program that calls libpmem, and libpmemobj inside it, get these instead: the program comes
 * before the libraries when names are looked up.  What is not the buffer is memory for which a
 * flush means nothing; outside the buffer's files, mapping is left to libpmem, if it is linked.
 *
 * Copies are as libpmem 1.12 makes them: from 256 bytes on (or by flag) the 64-byte lines in the
 * middle are streamed, head and tail stored and flushed.
 * SOURCES: pmem_flush(3), pmem_memmove_persist(3), libpmem(7); PMDK src/libpmem2/x86_64.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libpmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "hooks.h"

#define STREAM_FROM 256u

#define CALLER ((uint64_t)(uintptr_t)__builtin_return_address(0))

static __thread char error[256];

/* libpmem's own, or NULL */
#define LIBPMEM(name)                                                      \
	({                                                                 \
		static __typeof__(&name) real;                             \
		static bool asked;                                         \
		if (!asked)                                                \
			real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
		asked = true;                                              \
		real;                                                      \
	})

/* ---- flush and drain ------------------------------------------------------------------------- */

static void flush(const void *addr, size_t len, uint64_t site)
{
	uintptr_t line = (uintptr_t)addr & ~(uintptr_t)(LINE_BYTES - 1);

	if (options.persist == PERSIST_CACHE)
		return; /* as with eADR: pmem_has_auto_flush() */
	for (; line < (uintptr_t)addr + len; line += LINE_BYTES)
		hook_flush((const void *)line, EV_CLWB, site);
}

void pmem_flush(const void *addr, size_t len) { flush(addr, len, CALLER); }
void pmem_deep_flush(const void *addr, size_t len) { flush(addr, len, CALLER); }
void pmem_drain(void) { hook_fence(EV_SFENCE, CALLER); }

void pmem_persist(const void *addr, size_t len)
{
	flush(addr, len, CALLER);
	hook_fence(EV_SFENCE, CALLER);
}

int pmem_deep_drain(const void *addr, size_t len)
{
	(void)addr, (void)len;
	hook_fence(EV_SFENCE, CALLER);
	return 0;
}

int pmem_deep_persist(const void *addr, size_t len)
{
	flush(addr, len, CALLER);
	hook_fence(EV_SFENCE, CALLER);
	return 0;
}

int pmem_msync(const void *addr, size_t len)
{
	uintptr_t page = (uintptr_t)addr & ~(uintptr_t)4095;

	if (!hook_ours(addr, len))
		return msync((void *)page, (uintptr_t)addr + len - page, MS_SYNC);
	hook_msync((void *)page, (uintptr_t)addr + len - page, CALLER);
	return 0;
}

int pmem_has_hw_drain(void) { return 0; }
int pmem_has_auto_flush(void) { return options.persist == PERSIST_CACHE; }

int pmem_is_pmem(const void *addr, size_t len)
{
	if (hook_ours(addr, len))
		return options.persist != PERSIST_PAGE;
	return LIBPMEM(pmem_is_pmem) ? LIBPMEM(pmem_is_pmem)(addr, len) : 0;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* [to, to + len) has been written through the cache. */
static void stored(const unsigned char *to, size_t len, bool flushed, uint64_t site)
{
	if (!len)
		return;
	hook_range_stored(to, len, false, site);
	if (flushed)
		flush(to, len, site);
}

static void written(const unsigned char *to, size_t len, unsigned flags, uint64_t site)
{
	bool stream = flags & (PMEM_F_MEM_NONTEMPORAL | PMEM_F_MEM_WC) ? true
		      : flags & (PMEM_F_MEM_TEMPORAL | PMEM_F_MEM_WB)  ? false
								       : len >= STREAM_FROM;
	size_t head = -(uintptr_t)to & (LINE_BYTES - 1), body;

	if (flags & PMEM_F_MEM_NOFLUSH) {
		stored(to, len, false, site);
		return;
	}
	if (!stream) {
		stored(to, len, true, site);
	} else {
		head = head < len ? head : len;
		body = (len - head) & ~(size_t)7;
		stored(to, head, true, site);
		hook_range_stored(to + head, body, true, site);
		stored(to + head + body, len - head - body, true, site);
	}
	if (!(flags & PMEM_F_MEM_NODRAIN))
		hook_fence(EV_SFENCE, site);
}

static void *move(void *to, const void *from, size_t len, unsigned flags, uint64_t site)
{
	hook_loads(from, len);
	hook_before_store(to, len, site);
	memmove(to, from, len);
	written(to, len, flags, site);
	return to;
}

static void *set(void *to, int c, size_t len, unsigned flags, uint64_t site)
{
	hook_before_store(to, len, site);
	memset(to, c, len);
	written(to, len, flags, site);
	return to;
}

void *pmem_memmove(void *to, const void *from, size_t len, unsigned flags)
{
	return move(to, from, len, flags, CALLER);
}
void *pmem_memcpy(void *to, const void *from, size_t len, unsigned flags)
{
	return move(to, from, len, flags, CALLER);
}
void *pmem_memset(void *to, int c, size_t len, unsigned flags)
{
	return set(to, c, len, flags, CALLER);
}
void *pmem_memmove_persist(void *to, const void *from, size_t len)
{
	return move(to, from, len, 0, CALLER);
}
void *pmem_memcpy_persist(void *to, const void *from, size_t len)
{
	return move(to, from, len, 0, CALLER);
}
void *pmem_memset_persist(void *to, int c, size_t len) { return set(to, c, len, 0, CALLER); }
void *pmem_memmove_nodrain(void *to, const void *from, size_t len)
{
	return move(to, from, len, PMEM_F_MEM_NODRAIN, CALLER);
}
void *pmem_memcpy_nodrain(void *to, const void *from, size_t len)
{
	return move(to, from, len, PMEM_F_MEM_NODRAIN, CALLER);
}
void *pmem_memset_nodrain(void *to, int c, size_t len)
{
	return set(to, c, len, PMEM_F_MEM_NODRAIN, CALLER);
}

/* ---- mapping --------------------------------------------------------------------------------- */

static void *map_failed(const char *path, const char *what)
{
	(void)snprintf(error, sizeof(error), "%.100s: %s: %s", path, what, strerror(errno));
	return NULL;
}

static int map_open(const char *path, size_t len, int flags, mode_t mode)
{
	int how = O_RDWR | (flags & PMEM_FILE_CREATE ? O_CREAT : 0) |
		  (flags & PMEM_FILE_EXCL ? O_EXCL : 0);

	if (flags & PMEM_FILE_TMPFILE)
		how = O_RDWR | O_TMPFILE;
	if ((len != 0) != !!(flags & (PMEM_FILE_CREATE | PMEM_FILE_TMPFILE))) {
		errno = EINVAL;
		return -1;
	}
	return open(path, how, mode);
}

void *pmem_map_file(const char *path, size_t len, int flags, mode_t mode, size_t *mapped,
		    int *is_pmem)
{
	struct stat st;
	void *at;
	int fd, rc = 0;

	if (!files_on() && LIBPMEM(pmem_map_file))
		return LIBPMEM(pmem_map_file)(path, len, flags, mode, mapped, is_pmem);
	fd = map_open(path, len, flags, mode);
	if (fd < 0)
		return map_failed(path, "open");
	if (len && ftruncate(fd, (off_t)len))
		rc = errno;
	if (len && !rc && !(flags & PMEM_FILE_SPARSE))
		rc = posix_fallocate(fd, 0, (off_t)len);
	if (!rc && fstat(fd, &st))
		rc = errno;
	if (!rc && st.st_size == 0)
		rc = EINVAL;
	at = rc ? MAP_FAILED
		: mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rc = rc ? rc : at == MAP_FAILED ? errno : 0;
	(void)close(fd);
	errno = rc;
	if (rc)
		return map_failed(path, "mapping");
	if (mapped)
		*mapped = (size_t)st.st_size;
	if (is_pmem)
		*is_pmem = pmem_is_pmem(at, (size_t)st.st_size);
	return at;
}

int pmem_unmap(void *addr, size_t len) { return munmap(addr, len); }

const char *pmem_errormsg(void)
{
	if (!error[0] && LIBPMEM(pmem_errormsg))
		return LIBPMEM(pmem_errormsg)();
	return error;
}

const char *pmem_check_version(unsigned major, unsigned minor)
{
	if (LIBPMEM(pmem_check_version))
		return LIBPMEM(pmem_check_version)(major, minor);
	return major == PMEM_MAJOR_VERSION ? NULL : "libpmem major version mismatch";
}
