/* SPDX-License-Identifier: BSD-3-Clause */
/* swap_file -- see swap_file.h. */
#include "swap_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "low_fds.h"
#include "region.h"

/* ---- the kernel ------------------------------------------------------------------------------ */

/* A standard descriptor that is closed does not become the file: see low_fds.h. */
static int posix_open(const char *path, int flags, mode_t mode)
{
	struct low_fds low;
	int fd, error;

	if (low_fds_hold(&low)) {
		errno = EMFILE;
		return -1;
	}
	fd = open(path, flags, mode);
	error = errno;
	low_fds_release(&low);
	errno = error;
	return fd;
}

static int posix_lock(int fd) { return flock(fd, LOCK_EX | LOCK_NB); }

static int posix_size(int fd, uint64_t *bytes)
{
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	*bytes = (uint64_t)st.st_size;
	return 0;
}

static int posix_sync_name(const char *path)
{
	char dir[4096];
	const char *slash = strrchr(path, '/');
	int fd, rc, error;

	(void)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1,
		       slash ? path : ".");
	fd = posix_open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	rc = fsync(fd);
	error = errno;
	(void)close(fd);
	errno = error;
	return rc;
}

const struct swap_io swap_io_posix = {
	.open = posix_open,
	.close = close,
	.lock = posix_lock,
	.pread = pread,
	.pwrite = pwrite,
	.fdatasync = fdatasync,
	.fallocate = posix_fallocate,
	.size = posix_size,
	.sync_name = posix_sync_name,
	.unlink = unlink,
};
const struct swap_io *swap_io = &swap_io_posix;

/* All of it, or -1 with errno; what cannot go on without an error is one of no space. */
static int write_all(int fd, const void *data, size_t len, uint64_t off)
{
	const char *p = data;

	while (len) {
		ssize_t n = swap_io->pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n ? errno : ENOSPC;
			return -1;
		}
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* How many bytes there are, up to len; -1: errno. */
static ssize_t read_all(int fd, void *data, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n =
			swap_io->pread(fd, (char *)data + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static bool all_zero(const void *data, size_t len)
{
	const unsigned char *p = data;

	return !*p && !memcmp(p, p + 1, len - 1);
}

/* ---- the header ------------------------------------------------------------------------------ */

static uint32_t head_crc(const struct swap_head *h)
{
	return crc32c(~0u, h, offsetof(struct swap_head, crc));
}

static bool head_good(const struct swap_head *h)
{
	return !memcmp(h->magic, SWAP_MAGIC, sizeof(h->magic)) && h->crc == head_crc(h);
}

/* What is at the beginning of the file is the header of f. */
static int head_check(const struct swap_file *f, const struct swap_head *h)
{
	if (memcmp(h->magic, SWAP_MAGIC, sizeof(h->magic)))
		return error_set(PMPT_E_SWAP, "%s: offset 0: no swap file of libpmpt", f->path);
	if (h->crc != head_crc(h))
		return error_set(PMPT_E_SWAP, "%s: offset %#zx: crc %#x, expected %#x", f->path,
				 offsetof(struct swap_head, crc), h->crc, head_crc(h));
	if (h->version != SWAP_VERSION || h->page_bytes != FRAME_BYTES ||
	    !all_zero(h->zero, sizeof(h->zero)))
		return error_set(PMPT_E_SWAP,
				 "%s: offset 8: version %u, pages of %u bytes, expected %u, %lu",
				 f->path, h->version, h->page_bytes, SWAP_VERSION, FRAME_BYTES);
	if (memcmp(h->uuid, f->uuid, sizeof(h->uuid)) || h->salt != f->salt)
		return error_set(
			PMPT_E_SWAP,
			"%s: offset 16: another pool's swap file: salt %#lx, expected %#lx",
			f->path, h->salt, f->salt);
	if (h->id != f->id || h->slots != f->slots)
		return error_set(
			PMPT_E_SWAP,
			"%s: offset 40: another swap file of this pool: id %#lx, %lu slots, expected %#lx, %lu",
			f->path, h->id, h->slots, f->id, f->slots);
	return 0;
}

static int head_write(const struct swap_file *f)
{
	union {
		struct swap_head head;
		char page[4096];
	} u = { .page = { 0 } };

	memcpy(u.head.magic, SWAP_MAGIC, sizeof(u.head.magic));
	u.head.version = SWAP_VERSION;
	u.head.page_bytes = (uint32_t)FRAME_BYTES;
	memcpy(u.head.uuid, f->uuid, sizeof(u.head.uuid));
	u.head.salt = f->salt;
	u.head.id = f->id;
	u.head.slots = f->slots;
	u.head.crc = head_crc(&u.head);
	return write_all(f->fd, &u, sizeof(u), 0);
}

/* ---- create, open, close --------------------------------------------------------------------- */

/* The file is there: is it one that this pool left, by a crash between making and using it? */
static int take_over(struct swap_file *f)
{
	struct swap_head h = { .magic = "" };
	uint64_t bytes;

	f->fd = swap_io->open(f->path, O_RDWR | O_CLOEXEC, 0);
	if (f->fd < 0)
		return error_sys(f->path, "open");
	if (!swap_io->size(f->fd, &bytes) && read_all(f->fd, &h, sizeof(h), 0) == sizeof(h) &&
	    head_good(&h) && !memcmp(h.uuid, f->uuid, sizeof(h.uuid)) && h.salt == f->salt)
		return 0;
	swap_file_close(f);
	return error_set(-EEXIST, "%s: it exists, and is no swap file of this pool", f->path);
}

/* A copy of the pool names the same file. */
static int lock(const struct swap_file *f)
{
	if (!swap_io->lock(f->fd))
		return 0;
	return errno == EWOULDBLOCK
		       ? error_set(PMPT_E_SWAP, "%s: another pool has it open: a copy of this one?",
				   f->path)
		       : error_sys(f->path, "lock");
}

static int create_rest(struct swap_file *f)
{
	int rc = lock(f);

	if (rc)
		return rc;
	rc = swap_io->fallocate(f->fd, 0, (off_t)swap_file_bytes(f));

	if (rc) {
		errno = rc;
		return error_sys(f->path, "allocating its blocks");
	}
	if (head_write(f))
		return error_sys(f->path, "writing its header");
	if (swap_io->fdatasync(f->fd))
		return error_sys(f->path, "fdatasync");
	return swap_io->sync_name(f->path) ? error_sys(f->path, "fsync of its directory") : 0;
}

int swap_file_create(struct swap_file *f)
{
	bool made = true;
	int rc;

	atomic_store(&f->failed, 0);
	f->fd = swap_io->open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (f->fd < 0 && errno == EEXIST) {
		made = false;
		rc = take_over(f);
	} else {
		rc = f->fd < 0 ? error_sys(f->path, "create") : 0;
	}
	if (rc)
		return rc;
	rc = create_rest(f);
	if (rc) {
		swap_file_close(f);
		if (made)
			(void)swap_io->unlink(f->path);
	}
	return rc;
}

static int open_check(const struct swap_file *f)
{
	struct swap_head h;
	uint64_t bytes = 0;
	ssize_t n;

	if (swap_io->size(f->fd, &bytes))
		return error_sys(f->path, "no regular file");
	n = read_all(f->fd, &h, sizeof(h), 0);
	if (n < 0)
		return error_sys(f->path, "reading its header");
	if (n == sizeof(h)) {
		int rc = head_check(f, &h);

		if (rc)
			return rc;
	}
	if (bytes < swap_file_bytes(f))
		return error_set(PMPT_E_SWAP, "%s: %#lx bytes, expected %#lx", f->path, bytes,
				 swap_file_bytes(f));
	return 0;
}

int swap_file_open(struct swap_file *f)
{
	int rc;

	atomic_store(&f->failed, 0);
	f->fd = swap_io->open(f->path, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
	if (f->fd < 0)
		return error_sys(f->path, "open");
	rc = lock(f);
	if (!rc)
		rc = open_check(f);
	if (rc)
		swap_file_close(f);
	return rc;
}

void swap_file_close(struct swap_file *f)
{
	if (f->fd >= 0)
		(void)swap_io->close(f->fd);
	f->fd = -1;
}

/* ---- slots ----------------------------------------------------------------------------------- */

static uint32_t slot_crc(const struct swap_slot *s, const void *page)
{
	return crc32c(crc32c(~0u, page, FRAME_BYTES), s, offsetof(struct swap_slot, crc));
}

/* errno says why. */
static int fail(struct swap_file *f, const char *what, uint64_t off)
{
	int error = errno, none = 0;

	atomic_compare_exchange_strong(&f->failed, &none, -error);
	return error_set(PMPT_E_SWAP, "%s: offset %#lx: %s: %s; no page goes there any more",
			 f->path, off, what, strerror(error));
}

static int failed_before(const struct swap_file *f)
{
	int error = atomic_load(&((struct swap_file *)f)->failed);

	return error ? error_set(PMPT_E_SWAP, "%s: the swap file has failed before: %s", f->path,
				 strerror(-error))
		     : 0;
}

int swap_file_write(struct swap_file *f, uint64_t slot, unsigned n, const uint32_t *generation,
		    const void *pages, struct swap_slot *room)
{
	int rc = failed_before(f);

	if (rc)
		return rc;
	for (unsigned i = 0; i < n; i++) {
		room[i] = (struct swap_slot){
			.salt = f->salt, .id = f->id, .slot = slot + i, .generation = generation[i]
		};
		room[i].crc = slot_crc(&room[i], (const char *)pages + i * FRAME_BYTES);
	}
	if (write_all(f->fd, pages, n * FRAME_BYTES, swap_file_page(f, slot)))
		return fail(f, "writing pages", swap_file_page(f, slot));
	if (write_all(f->fd, room, n * sizeof(*room), swap_file_headers(slot)))
		return fail(f, "writing slot headers", swap_file_headers(slot));
	return 0;
}

int swap_file_sync(struct swap_file *f)
{
	int rc = failed_before(f);

	if (rc)
		return rc;
	return swap_io->fdatasync(f->fd) ? fail(f, "fdatasync", 0) : 0;
}

/* The bytes at off are those that were asked for. */
static int got(const struct swap_file *f, uint64_t slot, uint64_t off, ssize_t n, size_t expected)
{
	if (n == (ssize_t)expected)
		return 0;
	if (n < 0)
		return error_set(PMPT_E_SLOT, "%s: slot %lu at offset %#lx: %s", f->path, slot, off,
				 strerror(errno));
	return error_set(PMPT_E_SLOT, "%s: slot %lu at offset %#lx: the file has %ld of %zu bytes",
			 f->path, slot, off, n, expected);
}

static int slot_check(const struct swap_file *f, uint64_t slot, uint32_t generation,
		      const struct swap_slot *s, const void *page)
{
	uint32_t crc;

	if (s->salt != f->salt || s->id != f->id || s->slot != slot || s->reserved ||
	    !all_zero(s->zero, sizeof(s->zero)))
		return error_set(
			PMPT_E_SLOT,
			"%s: slot %lu at offset %#lx: salt %#lx, id %#lx, slot %lu, expected %#lx, %#lx, %lu",
			f->path, slot, swap_file_headers(slot), s->salt, s->id, s->slot, f->salt,
			f->id, slot);
	if (s->generation != generation)
		return error_set(
			PMPT_E_SLOT,
			"%s: slot %lu at offset %#lx: generation %#lx, expected %#x: an older page",
			f->path, slot, swap_file_headers(slot), s->generation, generation);
	crc = slot_crc(s, page);
	if (s->crc != crc)
		return error_set(PMPT_E_SLOT,
				 "%s: slot %lu, its page at offset %#lx: crc %#x, expected %#x",
				 f->path, slot, swap_file_page(f, slot), crc, s->crc);
	return 0;
}

int swap_file_read_run(const struct swap_file *f, uint64_t slot, unsigned n,
		       const uint32_t *generation, void *pages, struct swap_slot *room)
{
	uint64_t head_off = swap_file_headers(slot), page_off = swap_file_page(f, slot);
	size_t head_bytes = n * sizeof(*room), page_bytes = n * (size_t)FRAME_BYTES;
	int rc;

	if (slot + n > f->slots)
		return error_set(PMPT_E_SLOT, "%s: slot %lu of %lu", f->path, slot + n - 1,
				 f->slots);
	rc = got(f, slot, head_off, read_all(f->fd, room, head_bytes, head_off), head_bytes);
	if (!rc)
		rc = got(f, slot, page_off, read_all(f->fd, pages, page_bytes, page_off),
			 page_bytes);
	for (unsigned i = 0; i < n && !rc; i++)
		rc = slot_check(f, slot + i, generation[i], &room[i],
				(const char *)pages + i * (size_t)FRAME_BYTES);
	return rc;
}
