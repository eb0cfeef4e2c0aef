/* SPDX-License-Identifier: BSD-3-Clause */
/* check_file -- pmpt_check(): the verifier on a pool file.
 *
 * The file is mapped privately: recovery, run there, is what the next open would do, and not a byte
 * of the file changes.  A closed pool is locked meanwhile, so that nobody opens it.
 * A live pool is looked at in the same way.  Its superblock and lanes are copied first, and
 * compared with the file at the end of a pass: nothing was committed meanwhile iff they are the
 * same, and then what was checked is what a crash in that moment would have left.  Findings must
 * stand in two such passes in a row.  An open bulk transaction changes homes all the time:
 * inconclusive.
 */
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "error.h"
#include "obj_file.h"
#include "replay.h"
#include "vec.h"

#define PASSES       6
#define SEARCH_BYTES ((uint64_t)64 << 20) /* the superblock is looked for in these */

struct held {
	const char *rule;
	uint64_t off;
	char *text;
	size_t bytes;
};

struct job {
	struct check_image im;
	struct region rg;
	struct mem mem;
	struct check_options user, own;
	struct pmpt_check *sum;
	bool live, moved;  /* moved: something was committed during the pass */
	struct held *held; /* findings of the pass, until it is known that they stand */
	size_t n_held, room_held;
	int held_rc;
};

/* ---- where the superblock is ---------------------------------------------------------------- */

static bool is_sb(const struct region *rg, uint64_t off, bool crc)
{
	const struct sb *sb = region_at(rg, off);

	if (off % LINE_BYTES || !region_has(rg, off, sizeof(*sb)) ||
	    memcmp(sb->magic, SB_MAGIC, sizeof(sb->magic)) != 0)
		return false;
	return !crc || sb->crc == crc32c(~0u, sb, offsetof(struct sb, crc));
}

/* libpmemobj's root object, else the first whole superblock, else the first magic.  The search
 * reads the file: to fault in a hole of a tmpfs that is full would kill. */
static int find_sb(struct job *j)
{
	struct region *rg = &j->rg;
	uint64_t root = 0, magic = 0, step = (uint64_t)1 << 20;
	char *block;

	if (rg->bytes < OBJ_ROOT + sizeof(root))
		return error_set(PMPT_E_TRUNCATED, "%lu bytes are less than a pool's header",
				 j->im.file_bytes);
	memcpy(&root, rg->base + OBJ_ROOT, sizeof(root));
	rg->sb_off = (root + LINE_BYTES - 1) & ~(uint64_t)(LINE_BYTES - 1);
	if (root && is_sb(rg, rg->sb_off, false))
		return 0;
	block = mem_alloc(&j->mem, step);
	if (!block)
		return error_set(-ENOMEM, "no memory to search for a superblock");
	for (uint64_t off = 0; off < SEARCH_BYTES && !is_sb(rg, magic, true); off += step) {
		ssize_t n = pread(j->im.part[0].fd, block, step, (off_t)off);

		for (uint64_t at = 0; (ssize_t)(at + LINE_BYTES) <= n; at += LINE_BYTES) {
			if (!memcmp(block + at, SB_MAGIC, 8) && is_sb(rg, off + at, magic != 0))
				magic = off + at;
		}
	}
	mem_free(&j->mem, block, step);
	if (!magic && root >= rg->bytes)
		return error_set(PMPT_E_TRUNCATED,
				 "%lu bytes, the superblock should be at offset %#lx",
				 j->im.file_bytes, root);
	rg->sb_off = magic;
	return magic ? 0
		     : error_set(PMPT_E_NOT_POOL, "no libpmpt superblock in the first %#lx bytes",
				 SEARCH_BYTES);
}

/* ---- a pool that changes -------------------------------------------------------------------- */

/* The lanes, and the first line of the bulk lane, which every bulk transaction writes. */
static uint64_t log_bytes(const struct sb *sb)
{
	return 2 * (uint64_t)sb->n_lanes * sb->half_lines * LINE_BYTES;
}

/* Make the pages private, so that they stay as they are. */
static void hold(struct region *rg, uint64_t off, uint64_t bytes)
{
	for (uint64_t at = off & ~(FRAME_BYTES - 1); at < off + bytes; at += FRAME_BYTES) {
		volatile char *page = rg->base + at;
		char byte = *page;

		*page = byte;
	}
}

/* Superblock and lanes in the file are as they were held.  Recovery has changed the words of the
 * superblock: `words` are the ones from before. */
static bool unmoved(const struct job *j, const char words[4 * LINE_BYTES])
{
	const struct sb *sb = region_sb(&j->rg);
	const char *shared = j->im.shared;

	return !memcmp(shared + j->rg.sb_off + offsetof(struct sb, checkpoint_lsn), words,
		       4 * LINE_BYTES) &&
	       !memcmp(shared + sb->lanes, region_at(&j->rg, sb->lanes), log_bytes(sb)) &&
	       !memcmp(shared + sb->bulk, region_at(&j->rg, sb->bulk), LINE_BYTES);
}

/* ---- findings ------------------------------------------------------------------------------- */

static void keep(void *ctx, const struct pmpt_finding *f)
{
	struct job *j = ctx;
	size_t bytes = strlen(f->message) + 1;
	char *text = mem_alloc(&j->mem, bytes);

	if (!text ||
	    vec_reserve(&j->mem, &j->held, &j->room_held, j->n_held + 1, sizeof(*j->held))) {
		mem_free(&j->mem, text, bytes);
		j->held_rc = error_set(-ENOMEM, "no memory for %zu findings", j->n_held + 1);
		return;
	}
	memcpy(text, f->message, bytes);
	j->held[j->n_held++] = (struct held){ f->rule, f->offset, text, bytes };
}

static void tell(void *ctx, const struct pmpt_finding *f)
{
	struct job *j = ctx;

	if (j->user.finding)
		j->user.finding(j->user.ctx, f);
}

static void progress(void *ctx, unsigned permille)
{
	struct job *j = ctx;

	if (j->user.progress)
		j->user.progress(j->user.ctx, permille);
}

/* Forget what is held, telling it first or not. */
static void release(struct job *j, bool say)
{
	for (size_t i = 0; i < j->n_held; i++) {
		if (say)
			tell(j, &(struct pmpt_finding){ j->held[i].rule, j->held[i].off,
							j->held[i].text });
		mem_free(&j->mem, j->held[i].text, j->held[i].bytes);
	}
	j->n_held = 0;
}

/* ---- a pass --------------------------------------------------------------------------------- */

static int recover_and_check(struct job *j)
{
	int rc = replay(&j->rg, &j->mem, LSN_STEP, &j->sum->recovery);

	if (rc == PMPT_E_CORRUPT) {
		j->sum->findings++;
		j->own.finding(j, &(struct pmpt_finding){ "log", j->rg.sb_off, pmpt_errormsg() });
		return 0;
	}
	return rc ? rc : check_region_tree(&j->rg, &j->mem, &j->own, j->sum);
}

static int pass(struct job *j)
{
	char words[4 * LINE_BYTES]; /* of the superblock, as they were found */
	struct sb *sb;
	int rc = check_image_map(&j->im);

	j->rg = (struct region){ .base = j->im.base, .bytes = j->im.bytes };
	/* the copy need not be durable */
	pm_medium_init(&j->rg.medium, j->rg.base, j->rg.bytes, PM_CACHE_LINE);
	if (!rc)
		rc = find_sb(j);
	if (rc)
		return rc;
	sb = region_sb(&j->rg);
	*j->sum = (struct pmpt_check){ .live = j->live };
	if (j->live)
		hold(&j->rg, j->rg.sb_off, sizeof(*sb));
	memcpy(words, (const char *)sb + offsetof(struct sb, checkpoint_lsn), sizeof(words));
	rc = region_check(&j->rg);
	if (!rc && j->live) {
		hold(&j->rg, sb->lanes, log_bytes(sb));
		hold(&j->rg, sb->bulk, LINE_BYTES);
	}
	j->moved = !rc && j->live && word_load(&sb->bulk_from);
	if (!j->moved)
		rc = check_region_log(&j->rg, &j->mem, &j->own, j->sum);
	if (rc == PMPT_E_TRUNCATED) /* said again with bytes, where the region has pages */
		rc = error_set(rc, "%lu bytes, the superblock at offset %#lx says %lu",
			       j->im.file_bytes, j->rg.sb_off, sb->pool_bytes);
	if (!rc && !j->moved && !j->sum->findings)
		rc = recover_and_check(j);
	if (!rc && j->live && !j->moved && !region_check(&j->rg))
		j->moved = !unmoved(j, words);
	return rc ? rc : j->held_rc;
}

static int live_passes(struct job *j)
{
	bool found = false;
	int rc;

	for (unsigned i = 0; i < PASSES; i++) {
		rc = check_image_live(&j->im, &j->live);
		if (rc || !j->live)
			return rc; /* the other process is gone: look again, exactly */
		rc = pass(j);
		if (rc || (!j->moved && (!j->sum->findings || found))) {
			release(j, !rc);
			return rc;
		}
		found = !j->moved;
		release(j, false);
	}
	return error_set(PMPT_E_BUSY_CHECK, "the pool is open and changed in each of %u passes",
			 PASSES);
}

int pmpt_check(const char *path, void (*fn)(void *ctx, const struct pmpt_finding *f),
	       void (*progress_fn)(void *ctx, unsigned permille), void *ctx,
	       struct pmpt_check *summary)
{
	struct pmpt_check sum = { 0 };
	struct job j = { .user = { fn, progress_fn, ctx },
			 .own = { keep, progress, &j },
			 .sum = &sum };
	int rc;

	if (!path)
		return error_set(-EINVAL, "no path");
	rc = crc32c_check();
	if (rc)
		return rc;
	rc = mem_init(&j.mem);
	if (rc)
		return rc;
	rc = check_image_open(&j.im, path);
	if (!rc) {
		rc = live_passes(&j);
		if (!rc && !j.live) {
			j.own.finding = tell;
			rc = pass(&j);
		}
		if (rc)
			(void)error_in(rc, path);
	}
	check_image_close(&j.im);
	mem_free(&j.mem, j.held, j.room_held * sizeof(*j.held));
	mem_fini(&j.mem);
	if (!rc && summary)
		*summary = sum;
	return rc;
}
