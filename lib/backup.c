/* SPDX-License-Identifier: BSD-3-Clause */
/* backup -- a copy of a pool's file while others go on writing: the pool as a read view sees it,
 * with its log ended.
 *
 * ORDER	growth held off (S1) -> view -> what lies outside of extents: libpmemobj's own, which
 *		growth alone changes -> growth goes on -> blocks of the extents -> their frames, as the
 *		view sees them -> slots of the swap file, to one beside the copy, which is durable then
 *		-> the superblock's words -> fsync -> the name, then its directory.
 *		Until then the copy has another name, and goes when anything fails.
 * FORMAT of the copy: the pool's, as recovery would leave it: checkpoint_lsn = lsn_limit - 1 as it
 *		was, a higher lsn_limit, bulk_from 0.  No log: lines of zeros are no lines.
 *		libpmemobj's notes of unclean shutdowns of its device are zeroed: the copy may lie on
 *		another one.
 * Home words need not be durable, nor a checkpoint run: what is copied is what the caches hold.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup_swap.h"
#include "error.h"
#include "obj_file.h"
#include "pool_obj.h"
#include "rcu.h"
#include "view.h"

#define BATCH 64u /* frames in a write */

struct backup {
	struct pmpt_pool *pool;
	const struct obj_pool *obj;
	pmpt_view *view;
	struct extents extents;
	int fd; /* of the copy */
	const char *path;
	char temp[PATH_MAX]; /* its name until it is whole; "": there is none */
	uint64_t *batch;     /* frames from `first` on, waiting to be written; one more */
	uint64_t first;
	unsigned n;
	struct backup_swap swap;
	void (*progress)(void *ctx, unsigned permille);
	void *ctx;
	unsigned told;
};

/* ---- writing --------------------------------------------------------------------------------- */

static int put_bytes(const struct backup *b, uint64_t off, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t n = pwrite(b->fd, at, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_sys(b->path, "write");
		at += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int batch_put(struct backup *b)
{
	int rc = b->n ? put_bytes(b, b->first << FRAME_SHIFT, b->batch, b->n * FRAME_BYTES) : 0;

	b->n = 0;
	return rc;
}

/* Where the next page to be copied goes. */
static uint64_t *page_next(const struct backup *b) { return b->batch + b->n * FRAME_WORDS; }

static bool page_is_zero(const uint64_t *word)
{
	uint64_t any = 0;

	for (unsigned i = 0; i < FRAME_WORDS; i++)
		any |= word[i];
	return !any;
}

/* page_next() holds the page of this number; zeros are there already. */
static int page_put(struct backup *b, uint64_t page)
{
	uint64_t *from = page_next(b);
	int rc = 0;

	if (page_is_zero(from))
		return 0;
	if (b->n && (page != b->first + b->n || b->n == BATCH)) {
		rc = batch_put(b);
		memcpy(b->batch, from, FRAME_BYTES);
	}
	if (!b->n)
		b->first = page;
	b->n++;
	return rc;
}

static void tell(struct backup *b, unsigned permille)
{
	if (!b->progress || permille <= b->told)
		return;
	b->told = permille;
	b->progress(b->ctx, permille);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void page_words(const struct backup *b, uint64_t page)
{
	const pm_word *from = region_at(b->pool->rg, page << FRAME_SHIFT);
	uint64_t *to = page_next(b);

	for (unsigned i = 0; i < FRAME_WORDS; i++)
		to[i] = view_load(b->view, &from[i]);
}

static bool is_log(const struct sb *sb, uint64_t off)
{
	uint64_t lanes = 2ull * sb->n_lanes * sb->half_lines * LINE_BYTES,
		 bulk = (uint64_t)sb->bulk_lines * LINE_BYTES;

	return (off >= sb->lanes && off + FRAME_BYTES <= sb->lanes + lanes) ||
	       (off >= sb->bulk && off + FRAME_BYTES <= sb->bulk + bulk);
}

/* A frame of an extent, as the view sees it; nothing of one that is free there. */
static int frame_copy(struct backup *b, const struct extent *e, uint64_t pfn)
{
	const pm_word *desc = region_at(b->pool->rg, extent_desc_off(e, pfn));
	bool reserved = pfn < e->first + e->reserved, copied = true;
	uint64_t d;
	int stale;

	if (reserved && is_log(b->pool->sb, pfn << FRAME_SHIFT))
		return 0;
	reader_begin();
	d = view_load(b->view, desc);
	if (!reserved && !desc_count(d))
		copied = false;
	else if (!reserved && desc_kind(d) == DESC_DATA) /* nobody else writes in it */
		memcpy(page_next(b), region_at(b->pool->rg, pfn << FRAME_SHIFT), FRAME_BYTES);
	else
		page_words(b, pfn);
	stale = view_stale(b->view);
	reader_end();
	return stale ? stale : copied ? page_put(b, pfn) : 0;
}

static int extents_copy(struct backup *b)
{
	uint64_t step = b->pool->rg->bytes / 1000 + 1;
	int rc = 0;

	for (size_t i = 0; i < b->extents.n && !rc; i++) {
		const struct extent *e = &b->extents.extent[i];

		for (uint64_t k = 0; k < e->frames && !rc; k++) {
			rc = frame_copy(b, e, e->first + k);
			if (!rc && k % BATCH == 0)
				tell(b, (unsigned)(((e->first + k) << FRAME_SHIFT) / step));
		}
	}
	return rc ? rc : batch_put(b);
}

/* The next page at or behind this one that has blocks in the file; a load from a hole would make
 * some. */
static uint64_t data_next(const struct backup *b, uint64_t page)
{
	off_t at = lseek(b->obj->fd, (off_t)(page << FRAME_SHIFT), SEEK_DATA);

	if (at < 0)
		return errno == ENXIO ? UINT64_MAX : page; /* behind the last; or it cannot tell */
	return (uint64_t)at >> FRAME_SHIFT;
}

static int outside_copy(struct backup *b)
{
	uint64_t end = b->pool->rg->bytes >> FRAME_SHIFT, page = 0;
	int rc = 0;

	while (!rc && (page = data_next(b, page)) < end) {
		const struct extent *e = extents_find(&b->extents, page);

		if (e) {
			page = e->first + e->frames;
			continue;
		}
		reader_begin();
		page_words(b, page);
		reader_end();
		if (page == 0)
			memset((char *)page_next(b) + OBJ_SHUTDOWN, 0, OBJ_SHUTDOWN_BYTES);
		rc = page_put(b, page++);
	}
	return rc ? rc : batch_put(b);
}

/* ---- the copy -------------------------------------------------------------------------------- */

/* What changes under growth alone, and a view that fits it. */
static int begin_copy(struct backup *b)
{
	struct pmpt_pool *pool = b->pool;
	int rc;

	pthread_mutex_lock(&pool->swap.clock); /* nobody turns it on or off */
	pthread_mutex_lock(&pool->grow);
	rc = backup_swap_begin(&b->swap, pool, b->path);
	if (!rc)
		rc = extents_load(&b->extents, pool->rg, &pool->mem,
				  word_load(&pool->sb->n_extents));
	if (!rc)
		rc = pmpt_view_open(pool, &b->view);
	pthread_mutex_unlock(&pool->swap.clock);
	if (!rc && b->view->ranges)
		rc = error_set(PMPT_E_BUSY, "a bulk transaction is open");
	if (!rc)
		rc = outside_copy(b);
	pthread_mutex_unlock(&pool->grow);
	return rc;
}

/* The log ends at the view, as at the end of a recovery. */
static int log_end(const struct backup *b)
{
	const struct sb *sb = b->pool->sb;
	uint64_t limit = atomic_load(&b->pool->wal.limit),
		 word[3] = { limit - 1, limit + LSN_STEP, 0 };
	const pm_word *at[3] = { &sb->checkpoint_lsn, &sb->lsn_limit, &sb->bulk_from };
	int rc = 0;

	for (unsigned i = 0; i < 3 && !rc; i++)
		rc = put_bytes(b, region_off(b->pool->rg, at[i]), &word[i], sizeof(word[i]));
	return rc;
}

static int file_make(struct backup *b)
{
	struct stat st;

	if (fstat(b->obj->fd, &st))
		return error_sys(b->pool->path, "stat");
	if (!S_ISREG(st.st_mode))
		return error_set(PMPT_E_MEDIUM, "%s: only a regular file can be copied",
				 b->pool->path);
	if (!access(b->path, F_OK))
		return error_set(-EEXIST, "%s: exists", b->path);
	if (snprintf(b->temp, sizeof(b->temp), "%s.XXXXXX", b->path) >= (int)sizeof(b->temp)) {
		b->temp[0] = '\0';
		return error_set(-ENAMETOOLONG, "%s: the name is too long", b->path);
	}
	b->fd = mkostemp(b->temp, O_CLOEXEC);
	if (b->fd < 0) {
		b->temp[0] = '\0';
		return error_sys(b->path, "create");
	}
	if (fchmod(b->fd, st.st_mode & 0777) || ftruncate(b->fd, st.st_size))
		return error_sys(b->path, "set the size of");
	return 0;
}

/* The copy is whole and durable: now it has its name. */
static int file_name(struct backup *b)
{
	if (fsync(b->fd))
		return error_sys(b->path, "fsync");
	if (renameat2(AT_FDCWD, b->temp, AT_FDCWD, b->path, RENAME_NOREPLACE)) {
		/* not every file system can */
		if (errno == EEXIST || link(b->temp, b->path))
			return error_sys(b->path, "rename");
		(void)unlink(b->temp);
	}
	b->temp[0] = '\0';
	return obj_name_sync(b->path);
}

/* The file of its own, and what the copy says of it. */
static int swap_copy(struct backup *b)
{
	struct swap_area_head head;
	int rc = backup_swap_copy(&b->swap, b->view);

	if (!rc && b->swap.area.off) {
		backup_swap_head(&b->swap, &head);
		rc = put_bytes(b, b->swap.area.off, &head, sizeof(head));
	}
	if (!rc)
		rc = backup_swap_still(&b->swap);
	return rc ? rc : view_stale(b->view);
}

static int copy(struct backup *b)
{
	int rc = file_make(b);

	if (!rc)
		rc = begin_copy(b);
	if (!rc)
		rc = obj_blocks_copy(b->obj, b->extents.n, b->fd);
	if (!rc)
		rc = extents_copy(b);
	if (!rc)
		rc = swap_copy(b);
	if (!rc)
		rc = log_end(b);
	return rc ? rc : file_name(b);
}

int pmpt_backup(pmpt_pool *pool, const char *path, void (*progress)(void *ctx, unsigned permille),
		void *ctx)
{
	struct backup b = { .pool = pool,
			    .path = path,
			    .progress = progress,
			    .ctx = ctx,
			    .fd = -1,
			    .swap.file.fd = -1 };
	size_t bytes = (BATCH + 1) * FRAME_BYTES;
	int rc = pool_ours(pool);

	if (rc)
		return rc;
	b.obj = pool->ctx_bytes ? pool->ctx : NULL;
	if (!b.obj || b.obj->fd < 0)
		return error_set(PMPT_E_MEDIUM, "%s: a pool of several files cannot be copied",
				 pool->path ? pool->path : "the pool");
	b.batch = mem_alloc(&pool->mem, bytes);
	rc = b.batch ? copy(&b) : error_set(-ENOMEM, "no memory for a copy");
	pmpt_view_close(b.view);
	backup_swap_end(&b.swap, !rc);
	extents_free(&b.extents, &pool->mem);
	mem_free(&pool->mem, b.batch, bytes);
	if (b.temp[0])
		(void)unlink(b.temp);
	if (b.fd >= 0)
		(void)close(b.fd);
	if (!rc)
		tell(&b, 1000);
	return rc;
}
