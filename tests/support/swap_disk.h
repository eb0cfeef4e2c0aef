/* SPDX-License-Identifier: BSD-3-Clause */
/* swap_disk -- a file on a disk that loses power, behind lib/swap_file.h's table of calls: what was
 * written since the last sync is there, not there, or there in part, sector by sector; calls fail
 * when they are told to.  One file, one user: all of it is static here.
 */
#ifndef SWAP_DISK_H
#define SWAP_DISK_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "swap_file.h"

#ifndef DISK_BYTES /* a user with less to write may say so before */
#define DISK_BYTES   (96u * 4096u)
#define DISK_PENDING 1024
#endif

struct disk_write { /* a sector's new content */
	unsigned sector;
	char data[SWAP_SECTOR_BYTES];
};

static struct swap_disk {
	bool there;
	uint64_t bytes;
	char durable[DISK_BYTES], now[DISK_BYTES];
	struct disk_write pending[DISK_PENDING];
	unsigned n_pending;
	/* the nth call from now fails with that errno, once; negative: none */
	int fail_write, fail_sync, fail_read, error;
	unsigned long writes, syncs;
	/* called when a write or a sync has been done */
	void (*done)(void);
} disk;

static inline bool disk_fails(int *countdown)
{
	if (*countdown < 0 || (*countdown)--)
		return false;
	errno = disk.error;
	return true;
}

static inline int disk_open(const char *name, int flags, mode_t mode)
{
	(void)name, (void)mode;
	if (!disk.there && !(flags & O_CREAT)) {
		errno = ENOENT;
		return -1;
	}
	if (disk.there && (flags & O_EXCL)) {
		errno = EEXIST;
		return -1;
	}
	disk.there = true;
	return 1000;
}
static inline int disk_close(int fd)
{
	(void)fd;
	return 0;
}
static inline int disk_lock(int fd)
{
	(void)fd;
	return 0;
}
static inline ssize_t disk_pread(int fd, void *buf, size_t len, off_t off)
{
	(void)fd;
	if (disk_fails(&disk.fail_read))
		return -1;
	if ((uint64_t)off >= disk.bytes)
		return 0;
	len = len < disk.bytes - (uint64_t)off ? len : disk.bytes - (uint64_t)off;
	memcpy(buf, disk.now + off, len);
	return (ssize_t)len;
}
static inline ssize_t disk_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	unsigned first = (unsigned)((uint64_t)off / SWAP_SECTOR_BYTES),
		 end = (unsigned)(((uint64_t)off + len + SWAP_SECTOR_BYTES - 1) /
				  SWAP_SECTOR_BYTES);

	(void)fd;
	if (disk_fails(&disk.fail_write))
		return -1;
	if ((uint64_t)off + len > DISK_BYTES) {
		errno = ENOSPC;
		return -1;
	}
	memcpy(disk.now + off, buf, len);
	if ((uint64_t)off + len > disk.bytes)
		disk.bytes = (uint64_t)off + len;
	for (unsigned s = first; s < end; s++) {
		if (disk.n_pending == DISK_PENDING)
			abort();
		disk.pending[disk.n_pending].sector = s;
		memcpy(disk.pending[disk.n_pending++].data,
		       disk.now + (size_t)s * SWAP_SECTOR_BYTES, SWAP_SECTOR_BYTES);
	}
	disk.writes++;
	if (disk.done)
		disk.done();
	return (ssize_t)len;
}
static inline int disk_fdatasync(int fd)
{
	(void)fd;
	if (disk_fails(&disk.fail_sync))
		return -1;
	memcpy(disk.durable, disk.now, sizeof(disk.now));
	disk.n_pending = 0;
	disk.syncs++;
	if (disk.done)
		disk.done();
	return 0;
}
static inline int disk_fallocate(int fd, off_t off, off_t len)
{
	(void)fd;
	if ((uint64_t)off + (uint64_t)len > DISK_BYTES)
		return ENOSPC;
	if ((uint64_t)off + (uint64_t)len > disk.bytes)
		disk.bytes = (uint64_t)off + (uint64_t)len;
	return 0;
}
static inline int disk_size(int fd, uint64_t *bytes)
{
	(void)fd;
	*bytes = disk.bytes;
	return 0;
}
static inline int disk_sync_name(const char *name)
{
	(void)name;
	return 0;
}
static inline int disk_unlink(const char *name)
{
	(void)name;
	disk.there = false;
	return 0;
}

static const struct swap_io disk_io = {
	.open = disk_open,
	.close = disk_close,
	.lock = disk_lock,
	.pread = disk_pread,
	.pwrite = disk_pwrite,
	.fdatasync = disk_fdatasync,
	.fallocate = disk_fallocate,
	.size = disk_size,
	.sync_name = disk_sync_name,
	.unlink = disk_unlink,
};

/* An empty disk, and the library uses it. */
static inline void disk_begin(void)
{
	memset(&disk, 0, sizeof(disk));
	disk.fail_write = disk.fail_sync = disk.fail_read = -1;
	disk.error = EIO;
	swap_io = &disk_io;
}

/* The power fails: of the pending sectors those whose bit is set in kept[] have landed, in order. */
static inline void disk_crash(const bool *kept)
{
	for (unsigned i = 0; i < disk.n_pending; i++) {
		if (kept[i])
			memcpy(disk.durable + (size_t)disk.pending[i].sector * SWAP_SECTOR_BYTES,
			       disk.pending[i].data, SWAP_SECTOR_BYTES);
	}
	disk.n_pending = 0;
	memcpy(disk.now, disk.durable, sizeof(disk.now));
}

#endif
