/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_open -- the public create, open and close: a pool_obj with the core over it. */
#include <sys/stat.h>
#include <time.h>

#include "error.h"
#include "low_fds.h"
#include "pool.h"
#include "pool_obj.h"

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- configuration --------------------------------------------------------------------------- */

static uint32_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
	return (uint32_t)(value < least ? least : value > most ? most : value);
}

/* Fill in what the caller left 0, for a pool of that size: a log of at most an eighth of it. */
static void config_complete(struct pmpt_config *c, uint64_t bytes)
{
	if (!c->lanes)
		c->lanes = clamp(bytes >> 23, 2, PMPT_LANES_DEFAULT);
	if (!c->lane_bytes)
		c->lane_bytes = clamp((bytes / 16 / c->lanes) & ~(uint64_t)0x1fff, 64u << 10,
				      PMPT_LANE_DEFAULT_BYTES);
	if (!c->bulk_bytes)
		c->bulk_bytes =
			clamp((bytes / 16) & ~(uint64_t)0xfff, 256u << 10, PMPT_BULK_DEFAULT_BYTES);
	if (!c->spaces)
		c->spaces = clamp(bytes >> 18, 16, PMPT_SPACES_MAX);
}

/* What is 0 is chosen later. */
static int config_check(const struct pmpt_config *c)
{
	if (c->pool_bytes < PMPT_POOL_MIN_BYTES || c->pool_bytes > PMPT_POOL_MAX_BYTES ||
	    c->pool_bytes % PMPT_PAGE_BYTES)
		return error_set(
			-EINVAL,
			"pool of %lu bytes: a multiple of %u from %llu to %llu is expected",
			c->pool_bytes, PMPT_PAGE_BYTES, PMPT_POOL_MIN_BYTES, PMPT_POOL_MAX_BYTES);
	if (c->lanes > PMPT_LANES_MAX)
		return error_set(-EINVAL, "%u lanes: 1 to %u are expected", c->lanes,
				 PMPT_LANES_MAX);
	if (c->lane_bytes % 8192 || c->lane_bytes > 4u << 20)
		return error_set(-EINVAL,
				 "lanes of %u bytes: a multiple of 8192 up to 4 MiB is expected",
				 c->lane_bytes);
	if (c->bulk_bytes % 4096 || c->bulk_bytes > 1u << 30)
		return error_set(
			-EINVAL,
			"bulk lane of %u bytes: a multiple of 4096 up to 1 GiB is expected",
			c->bulk_bytes);
	if (c->spaces > PMPT_SPACES_MAX)
		return error_set(-EINVAL, "%u spaces: 1 to %u are expected", c->spaces,
				 PMPT_SPACES_MAX);
	if (c->mode & ~0777u)
		return error_set(-EINVAL, "mode %#o: permission bits are expected", c->mode);
	for (unsigned i = 0; i < sizeof(c->reserved) / sizeof(c->reserved[0]); i++) {
		if (c->reserved[i])
			return error_set(-EINVAL,
					 "reserved fields of the configuration are not zero");
	}
	return 0;
}

/* ---- open and close -------------------------------------------------------------------------- */

static _Atomic bool told_emulated;

static void say_medium(const char *path, enum pmpt_medium medium)
{
	if (medium == PMPT_MEDIUM_EMULATED && !atomic_exchange(&told_emulated, true))
		log_message(
			PMPT_LOG_INFO,
			"%s is on tmpfs: emulated persistent memory, it survives a killed process but no power failure",
			path);
}

/* The core over an open object pool, which on error stays as it is. */
static int open_core(const char *path, unsigned flags, const struct obj_pool *opened,
		     uint64_t start, pmpt_pool **out)
{
	struct region rg = opened->region;
	struct pmpt_pool *pool = NULL;
	struct obj_pool *obj;
	int rc;

	rg.path = path;
	rc = core_open(&rg, flags, &pool);
	if (rc)
		return error_in(rc, path);
	obj = mem_alloc(&pool->mem, sizeof(*obj));
	if (!obj) {
		(void)core_close(pool, false);
		return error_set(-ENOMEM, "%s: no memory for a pool", path);
	}
	*obj = *opened;
	pool->medium = obj->medium;
	pool->take_extent = obj_extent_take;
	pool->in_child = obj_in_child;
	pool->ctx = obj;
	pool->ctx_bytes = sizeof(*obj);
	pool->recovery.open_ns = now_ns() - start;
	say_medium(path, obj->medium);
	*out = pool;
	return 0;
}

int pmpt_create(const char *path, const struct pmpt_config *config, pmpt_pool **pool)
{
	struct pmpt_config c = config ? *config : (struct pmpt_config){ 0 };
	uint64_t start = now_ns();
	struct low_fds low;
	struct obj_pool obj;
	int rc;

	if (!c.pool_bytes)
		c.pool_bytes = 64u << 20;
	if (!c.mode)
		c.mode = 0600;
	rc = config_check(&c);
	if (!rc)
		rc = crc32c_check();
	if (!rc)
		rc = low_fds_hold(&low);
	if (rc)
		return rc;
	rc = obj_create(path, &c, &obj);
	low_fds_release(&low);
	if (rc)
		return rc;
	config_complete(&c, obj.region.bytes);
	rc = obj_format(path, &c, &obj);
	if (!rc)
		rc = open_core(path, 0, &obj, start, pool);
	if (rc)
		obj_discard(path, &obj);
	return rc;
}

struct same_file {
	struct stat st;
	bool found;
};

static void same_file_look(struct pmpt_pool *pool, void *ctx)
{
	const struct obj_pool *obj = pool->ctx;
	struct same_file *same = ctx;
	struct stat st;

	same->found |= forked(pool) && pool->ctx_bytes && obj->fd >= 0 && !fstat(obj->fd, &st) &&
		       st.st_dev == same->st.st_dev && st.st_ino == same->st.st_ino;
}

/* libpmemobj, which knows nothing of fork(), takes a pool that the parent had open as open in the child. */
static int parent_had_it(const char *path, int rc)
{
	struct same_file same = { .found = false };

	if (rc == PMPT_E_IN_USE || stat(path, &same.st))
		return rc;
	pools_each(same_file_look, &same);
	return same.found ? error_set(PMPT_E_FORKED,
				      "%s: the parent process had it open before fork(): only "
				      "another program can open it here (exec)",
				      path)
			  : rc;
}

int pmpt_open(const char *path, unsigned flags, pmpt_pool **pool)
{
	uint64_t start = now_ns();
	struct low_fds low;
	struct obj_pool obj;
	int rc;

	if (flags & ~(unsigned)PMPT_OPEN_NO_GROW)
		return error_set(-EINVAL, "open flags %#x", flags);
	rc = crc32c_check();
	if (!rc)
		rc = low_fds_hold(&low);
	if (rc)
		return rc;
	rc = obj_open(path, &obj);
	low_fds_release(&low);
	if (rc)
		return parent_had_it(path, rc);
	rc = open_core(path, flags, &obj, start, pool);
	if (rc)
		obj_close(&obj);
	return rc;
}

int pmpt_close(pmpt_pool *pool)
{
	struct obj_pool obj;
	bool failed;
	int rc;

	if (forked(pool))
		return error_set(
			PMPT_E_FORKED,
			"the pool was opened by the parent process, which may go on with it");
	obj = *(struct obj_pool *)pool->ctx;
	failed = atomic_load(&pool->rg->medium.failed);
	rc = core_close(pool, !failed);
	if (rc != PMPT_E_BUSY)
		obj_close(&obj);
	return rc || !failed
		       ? rc
		       : error_set(PMPT_E_IO, "an msync had failed: the next open will tell what "
					      "was committed before");
}
