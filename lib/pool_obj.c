/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_obj -- see pool_obj.h. */
#include "pool_obj.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "medium.h"
#include "obj_heap.h"
#include "pool_set.h"

/* Where libpmemobj keeps what we look at before it may open the file (its on-media header, layout
 * major 6). */
#define OBJ_SIGNATURE "PMEMOBJ"
#define OBJ_LAYOUT    4096
#define OBJ_ROOT      0x1800
/* What libpmemobj itself may store in where nothing is allocated yet: at the start of the file its
 * header, lanes and the root object; near each zone's start the chunk headers and the first chunk. */
#define OBJ_META_BYTES ((uint64_t)8 << 20)

/* ---- the file before libpmemobj sees it ------------------------------------------------------ */

static int sys_error(const char *path, const char *what)
{
	int error = errno;

	return error_set(-error, "%s: %s: %s", path, what, strerror(error));
}

/* The file that a pool begins in: is it one of ours, and, when it is all of it, whole?  libpmemobj
 * would fault on a short one. */
static int file_check(const char *path, int fd, bool all)
{
	char head[8] = { 0 }, layout[sizeof(SB_LAYOUT_NAME) + 1] = { 0 };
	uint64_t root = 0;
	struct sb sb = { 0 };
	struct stat st;

	if (fstat(fd, &st))
		return sys_error(path, "stat");
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return error_set(PMPT_E_NOT_POOL, "%s: neither a regular file nor a device", path);
	if (S_ISCHR(st.st_mode))
		return 0;
	if (pread(fd, head, sizeof(head), 0) != sizeof(head) ||
	    memcmp(head, OBJ_SIGNATURE, sizeof(head)))
		return error_set(PMPT_E_NOT_POOL, "%s: offset 0: '%.8s', expected '%s'", path, head,
				 OBJ_SIGNATURE);
	if (pread(fd, layout, sizeof(layout) - 1, OBJ_LAYOUT) != sizeof(layout) - 1 ||
	    pread(fd, &root, sizeof(root), OBJ_ROOT) != sizeof(root))
		return error_set(PMPT_E_TRUNCATED, "%s: %ld bytes are less than a pool's header",
				 path, (long)st.st_size);
	if (strcmp(layout, SB_LAYOUT_NAME))
		return error_set(strncmp(layout, "libpmpt-", 8) ? PMPT_E_NOT_POOL : PMPT_E_VERSION,
				 "%s: offset %#x: layout '%s', expected '%s'", path, OBJ_LAYOUT,
				 layout, SB_LAYOUT_NAME);
	if (root == 0)
		return error_set(
			PMPT_E_NOT_POOL,
			"%s: the creation of this pool was not finished; it may be deleted", path);
	root = (root + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
	if (root > (uint64_t)st.st_size || pread(fd, &sb, 4096, (off_t)root) != 4096)
		return error_set(PMPT_E_TRUNCATED,
				 "%s: %ld bytes, its superblock should be at offset %#lx", path,
				 (long)st.st_size, root);
	if (memcmp(sb.magic, SB_MAGIC, sizeof(sb.magic)))
		return error_set(
			PMPT_E_NOT_POOL,
			"%s: no superblock at offset %#lx; if its creation was cut short it may be deleted",
			path, root);
	if (all && sb.crc == crc32c(~0u, &sb, offsetof(struct sb, crc)) &&
	    sb.pool_bytes > (uint64_t)st.st_size)
		return error_set(PMPT_E_TRUNCATED,
				 "%s: %ld bytes, its superblock at offset %#lx says %lu", path,
				 (long)st.st_size, root, sb.pool_bytes);
	return 0;
}

/* ---- open ------------------------------------------------------------------------------------ */

/* What a failed call of libpmemobj means; `invalid` is what its EINVAL stands for. */
static int obj_error(const char *path, const char *what, int invalid)
{
	int error = errno;
	int rc = error == EAGAIN || error == EWOULDBLOCK ? PMPT_E_IN_USE
		 : error == EINVAL                       ? invalid
		 : error == ENOTSUP                      ? PMPT_E_MEDIUM
							 : -error;

	return error_set(rc, "%s: %s: %.300s", path, what, pmemobj_errormsg());
}

/* Fill the region from the mapping that libpmemobj made.  fresh: the root object is ours to make. */
static int region_fill(const char *path, struct obj_pool *obj, bool fresh)
{
	struct region *rg = &obj->region;
	PMEMoid root = { 0, 0 };
	int rc;

	rg->base = (char *)obj->pop;
	rc = medium_of_mapping(rg->base, obj_heap_end(rg->base), &obj->medium, &rg->bytes);
	if (rc)
		return error_in(rc, path);
	if (fresh || pmemobj_root_size(obj->pop) >= sizeof(struct sb) + LINE_BYTES)
		root = pmemobj_root(obj->pop, sizeof(struct sb) + LINE_BYTES);
	if (root.off == 0)
		return error_set(fresh ? -ENOSPC : PMPT_E_NOT_POOL, "%s: no root object: %.300s",
				 path, pmemobj_errormsg());
	rg->sb_off = (root.off + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
	pm_medium_init(&rg->medium, rg->base, rg->bytes,
		       obj->medium == PMPT_MEDIUM_FILE ? PM_PAGE : PM_CACHE_LINE);
	return 0;
}

void obj_close(struct obj_pool *obj)
{
	struct stat st;

	if (obj->pop && obj->fd >= 0 && !fstat(obj->fd, &st) && st.st_nlink == 0)
		log_message(PMPT_LOG_WARNING,
			    "the pool's file was removed while it was open: its content is gone");
	if (obj->pop)
		pmemobj_close(obj->pop);
	if (obj->fd >= 0)
		(void)close(obj->fd);
}

/* The first part of a set. */
static int first_check(void *ctx, unsigned i, const char *part)
{
	int fd, rc;

	(void)ctx;
	if (i)
		return 0;
	fd = open(part, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return sys_error(part, "open");
	rc = file_check(part, fd, false);
	(void)close(fd);
	return rc;
}

int obj_open(const char *path, struct obj_pool *obj)
{
	int set = set_is(path), rc = set < 0 ? set : 0;

	*obj = (struct obj_pool){ .fd = -1 };
	if (set == 1)
		rc = set_parts(path, first_check, NULL);
	if (set == 0) {
		obj->fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		rc = obj->fd < 0 ? sys_error(path, "open") : file_check(path, obj->fd, true);
	}
	if (!rc) {
		obj->pop = pmemobj_open(path, SB_LAYOUT_NAME);
		rc = obj->pop ? region_fill(path, obj, false)
			      : obj_error(path, "pmemobj_open", PMPT_E_CORRUPT);
	}
	if (!rc) {
		rc = region_check(&obj->region);
		if (rc)
			(void)error_in(rc, path);
	}
	if (rc)
		obj_close(obj);
	return rc;
}

/* ---- extents --------------------------------------------------------------------------------- */

/* Make the blocks of [off, off + len) of the file exist. */
static int blocks_make(const struct obj_pool *obj, uint64_t off, uint64_t len)
{
	int error = obj->fd < 0 ? 0 : posix_fallocate(obj->fd, (off_t)off, (off_t)len);

	if (error)
		return error_set(-error, "blocks at offset %#lx, %lu bytes: %s", off, len,
				 strerror(error));
	return 0;
}

/* Allocate the next extent.  The frame behind it comes along: libpmemobj keeps notes at the start
 * of what is still free. */
static int object_make(struct obj_pool *obj, PMEMoid *oid)
{
	const struct region *rg = &obj->region;
	struct obj_place place = { 0, 0, 0 };
	uint64_t from, end;
	int rc;

	if (!obj_heap_next(rg->base, rg->bytes, OBJ_EXTENT_MIN, &place))
		return error_set(PMPT_E_NO_FRAMES,
				 "the pool file of %lu bytes has no room for another extent",
				 rg->bytes);
	from = place.off - OBJ_OBJECT_BYTES;
	end = rg->bytes - place.end < FRAME_BYTES ? rg->bytes : place.end + FRAME_BYTES;
	rc = blocks_make(obj, from, end - from);
	if (rc)
		return rc;
	if (pmemobj_xalloc(obj->pop, oid, place.bytes, 1, 0, NULL, NULL))
		return error_set(PMPT_E_NO_FRAMES, "no extent of %lu bytes: %.300s", place.bytes,
				 pmemobj_errormsg());
	return oid->off == place.off ? 0
				     : blocks_make(obj, oid->off, pmemobj_alloc_usable_size(*oid));
}

/* A crash has left an object there; what is there is trusted only if libpmemobj knows it too. */
static int object_left(struct obj_pool *obj, uint64_t index, PMEMoid oid)
{
	const struct sb *sb = region_sb(&obj->region);
	PMEMoid known = pmemobj_first(obj->pop);
	bool taken = false;

	for (uint64_t i = 0; i < index; i++)
		taken = taken || word_load(&sb->extent[i].off) == oid.off;
	while (!OID_IS_NULL(known) && !OID_EQUALS(known, oid))
		known = pmemobj_next(known);
	if (taken || OID_IS_NULL(known))
		return error_set(
			PMPT_E_CORRUPT,
			"superblock at offset %#lx: extent %lu, not in use, at %#lx: no object of its own",
			obj->region.sb_off, index, oid.off);
	return blocks_make(obj, oid.off, pmemobj_alloc_usable_size(oid));
}

int obj_extent_take(void *ctx, uint64_t index, uint64_t *off, uint64_t *bytes)
{
	struct obj_pool *obj = ctx;
	PMEMoid *oid = (PMEMoid *)(void *)&region_sb(&obj->region)->extent[index];
	int rc = OID_IS_NULL(*oid) ? object_make(obj, oid) : object_left(obj, index, *oid);

	if (rc)
		return rc;
	*off = oid->off;
	*bytes = pmemobj_alloc_usable_size(*oid);
	return 0;
}

/* ---- create ---------------------------------------------------------------------------------- */

/* A new, sparse file of that size; blocks that libpmemobj itself is going to store in exist. */
static int file_make(const char *path, const struct pmpt_config *config, struct obj_pool *obj)
{
	int rc = 0;

	obj->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, config->mode);
	if (obj->fd < 0)
		return sys_error(path, "create");
	obj->made = 1;
	if (ftruncate(obj->fd, (off_t)config->pool_bytes))
		rc = sys_error(path, "set the size of");
	for (uint64_t zone = 0; zone < config->pool_bytes && !rc; zone += OBJ_ZONE_BYTES) {
		uint64_t left = config->pool_bytes - zone;

		rc = blocks_make(obj, zone, left < OBJ_META_BYTES ? left : OBJ_META_BYTES);
		if (rc)
			(void)error_in(rc, path);
	}
	return rc;
}

static int part_missing(void *ctx, unsigned i, const char *part)
{
	uint64_t *missing = ctx;

	if (access(part, F_OK))
		*missing |= (uint64_t)1 << i;
	return 0;
}

static int part_remove(void *ctx, unsigned i, const char *part)
{
	const uint64_t *made = ctx;

	if (*made >> i & 1)
		(void)unlink(part);
	return 0;
}

/* whole: with all its blocks.  The setting is libpmemobj's for the whole process; it is as before
 * afterwards. */
static PMEMobjpool *create(const char *path, mode_t mode, bool whole)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	int before = 1, now = whole, error;
	PMEMobjpool *pop;

	pthread_mutex_lock(&one);
	(void)pmemobj_ctl_get(NULL, "fallocate.at_create", &before);
	(void)pmemobj_ctl_set(NULL, "fallocate.at_create", &now);
	pop = pmemobj_create(path, SB_LAYOUT_NAME, 0, mode);
	error = errno;
	(void)pmemobj_ctl_set(NULL, "fallocate.at_create", &before);
	pthread_mutex_unlock(&one);
	errno = error;
	return pop;
}

int obj_create(const char *path, const struct pmpt_config *config, struct obj_pool *obj)
{
	int set = access(path, F_OK) ? 0 : set_is(path), rc;

	*obj = (struct obj_pool){ .fd = -1 };
	if (set < 0)
		return set;
	rc = set ? set_parts(path, part_missing, &obj->made) : file_make(path, config, obj);
	if (!rc) {
		obj->pop = create(path, config->mode, set);
		rc = obj->pop ? region_fill(path, obj, true)
			      : obj_error(path, "pmemobj_create", PMPT_E_MEDIUM);
	}
	if (!rc && obj->region.bytes < PMPT_POOL_MIN_BYTES)
		rc = error_set(PMPT_E_MEDIUM, "%s: %lu bytes, at least %llu are expected", path,
			       obj->region.bytes, PMPT_POOL_MIN_BYTES);
	if (rc)
		obj_discard(path, obj);
	return rc;
}

void obj_discard(const char *path, struct obj_pool *obj)
{
	bool set = obj->fd < 0;

	obj_close(obj);
	if (!set && obj->made)
		(void)unlink(path);
	if (set && obj->made)
		(void)set_parts(path, part_remove, &obj->made);
}

static int shape_random(struct region_shape *shape)
{
	if (getrandom(shape->uuid, sizeof(shape->uuid), 0) != sizeof(shape->uuid) ||
	    getrandom(&shape->salt, sizeof(shape->salt), 0) != sizeof(shape->salt))
		return error_set(-errno, "getrandom: %s", strerror(errno));
	return 0;
}

int obj_format(const char *path, const struct pmpt_config *config, struct obj_pool *obj)
{
	struct region_shape shape = { .n_lanes = config->lanes,
				      .half_lines = config->lane_bytes / (2 * LINE_BYTES),
				      .bulk_lines = config->bulk_bytes / LINE_BYTES,
				      .n_spaces = config->spaces };
	uint64_t off = 0, bytes = 0;
	int rc = shape_random(&shape);

	if (!rc)
		rc = obj_extent_take(obj, 0, &off, &bytes);
	if (!rc)
		rc = region_format(&obj->region, &shape, bytes);
	if (rc == PMPT_E_NO_FRAMES)
		rc = -EINVAL; /* the configuration asks for more log than there is room */
	return rc ? error_in(rc, path) : 0;
}
