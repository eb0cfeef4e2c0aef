/* SPDX-License-Identifier: BSD-3-Clause */
/* swap_file -- the swap tier's file, an ordinary one: pages in slots that validate themselves.
 *
 * FORMAT 1, little-endian
 *	0		header: struct swap_head, zeros up to 4096
 *	4096		a struct swap_slot for each slot, in whole pages
 *	behind them	a page of 4096 bytes for each slot
 * Headers lie apart from pages, so that every page is a block of its own and pages of consecutive
 * slots are one write.
 * VALID IF AND ONLY IF (header) magic, version, crc over [0, offsetof crc), the pool's uuid and
 * salt, the id and number of slots that the pool knows, zeros behind it, the file as long as it has
 * to be; (slot) salt, id, its own number, the generation that its descriptor in the pool has, zeros,
 * crc over the page and the fields before crc.  So a slot whose write was lost, torn in sectors of
 * any size or came to the wrong place is none, and neither is what an earlier use left there.
 *
 * ORDER	write (any number of runs) -> sync -> only then may the pool refer to the slots.  Slots
 *		that the pool refers to are not written.  A sector of headers is shared by eight slots:
 *		old or new, it is the same for those that are not written.
 * STATES	good -> failed: a write or a sync did not succeed, for whatever reason; nothing is
 *		written any more, what validates is read.  Never back: after a failed fdatasync the
 *		kernel may have dropped what it could not write and report success for the rest.
 */
#ifndef PMPT_SWAP_FILE_H
#define PMPT_SWAP_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "layout.h"

#define SWAP_MAGIC        "pmptswap" /* 8 bytes without the NUL */
#define SWAP_VERSION      1u
#define SWAP_SECTOR_BYTES 512u

struct swap_head {
	char magic[8];
	uint32_t version, page_bytes;
	uint8_t uuid[16]; /* the pool's */
	uint64_t salt;    /* the pool's */
	uint64_t id;      /* of this file among the pool's */
	uint64_t slots;
	uint8_t zero[SWAP_SECTOR_BYTES - 60];
	uint32_t crc;
};
_Static_assert(sizeof(struct swap_head) == SWAP_SECTOR_BYTES, "the header is a sector");

struct swap_slot {
	uint64_t salt, id, slot, generation;
	uint64_t zero[3];
	uint32_t reserved, crc;
};
_Static_assert(sizeof(struct swap_slot) == 64, "8 slot headers are a sector");

/* The calls into the kernel; tests replace them.  As the functions of the same name. */
struct swap_io {
	int (*open)(const char *path, int flags, mode_t mode);
	int (*close)(int fd);
	int (*lock)(int fd); /* for this open alone; -1: errno */
	ssize_t (*pread)(int fd, void *buf, size_t len, off_t off);
	ssize_t (*pwrite)(int fd, const void *buf, size_t len, off_t off);
	int (*fdatasync)(int fd);
	int (*fallocate)(int fd, off_t off, off_t len); /* posix_fallocate: returns errno */
	int (*size)(int fd, uint64_t *bytes);           /* of a regular file; -1: errno */
	int (*sync_name)(const char *path);             /* its directory entry is durable */
	int (*unlink)(const char *path);
};
extern const struct swap_io swap_io_posix;
extern const struct swap_io *swap_io;

struct swap_file {
	const char *path; /* the owner's */
	int fd;           /* -1: not open */
	uint8_t uuid[16];
	uint64_t salt, id, slots;
	/* the first error of a write or a sync, negative; 0: none */
	_Atomic int failed;
};

static inline uint64_t swap_file_headers(uint64_t slot)
{
	return FRAME_BYTES + slot * sizeof(struct swap_slot);
}
static inline uint64_t swap_file_page(const struct swap_file *f, uint64_t slot)
{
	uint64_t table = f->slots * sizeof(struct swap_slot) + FRAME_BYTES - 1;

	return FRAME_BYTES + (table & ~(FRAME_BYTES - 1)) + slot * FRAME_BYTES;
}
static inline uint64_t swap_file_bytes(const struct swap_file *f)
{
	return swap_file_page(f, f->slots);
}

/* Make the file, its blocks and its header, durably.  All fields but fd and failed are filled in.
 * A file of that name is taken over only if it is a swap file of the same pool.
 * Returns 0; -EEXIST; -ENOSPC; other negated errnos.  On error a file made here is gone. */
int swap_file_create(struct swap_file *f);
/* Open it and check its header.
 * Returns 0; negated errno; PMPT_E_SWAP (also: a copy of the pool has it open).  On error fd is -1. */
int swap_file_open(struct swap_file *f);
void swap_file_close(struct swap_file *f);

/* Write n pages to consecutive slots.  Not durable before swap_file_sync().  generation: n.
 * room: for n headers, volatile.
 * Returns 0; PMPT_E_SWAP: now or before, the file has failed. */
int swap_file_write(struct swap_file *f, uint64_t slot, unsigned n, const uint32_t *generation,
		    const void *pages, struct swap_slot *room);
/* Returns 0: all that was written is durable; PMPT_E_SWAP. */
int swap_file_sync(struct swap_file *f);
/* Read the pages of n consecutive slots, which are all valid on 0.  generation: n.  room: for n headers.
 * Returns 0; PMPT_E_SLOT. */
int swap_file_read_run(const struct swap_file *f, uint64_t slot, unsigned n,
		       const uint32_t *generation, void *pages, struct swap_slot *room);
/* The same of one. */
static inline int swap_file_read(const struct swap_file *f, uint64_t slot, uint32_t generation,
				 void *page)
{
	struct swap_slot room;

	return swap_file_read_run(f, slot, 1, &generation, page, &room);
}

#endif
