/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_obj -- see pool_obj.h. */
#include "pool_obj.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "medium.h"
#include "obj_file.h"
#include "obj_heap.h"
#include "pool_set.h"

/* What libpmemobj itself may store in where nothing is allocated yet: at the start of the file
 * its header, lanes and the root object; near each zone's start the chunk headers and the
 * first chunk. */
#define OBJ_META_BYTES ((uint64_t)8 << 20)

/* ---- open ------------------------------------------------------------------------------------ */

/* libpmemobj's words for its last error; it does not have them for all. */
static const char *obj_words(int error)
{
	const char *words = pmemobj_errormsg();

	if (*words)
		return words;
	return error ? strerror(error) : "libpmemobj gives no reason";
}

/* What a failed call of libpmemobj means; `invalid` is what its EINVAL stands for. */
static int obj_error(const char *path, const char *what, int invalid)
{
	int error = errno;
	int rc = error == EAGAIN || error == EWOULDBLOCK ? PMPT_E_IN_USE
		 : error == EINVAL                       ? invalid
		 : error == ENOTSUP                      ? PMPT_E_MEDIUM
							 : -error;

	return error_set(rc, "%s: %s: %.300s", path, what, obj_words(error));
}

/* Fill the region from the mapping that libpmemobj made.  fresh: the root object is ours
 * to make. */
static int region_fill(const char *path, struct obj_pool *obj, bool fresh)
{
	struct region *rg = &obj->region;
	PMEMoid root = { 0, 0 };
	bool fits;
	int rc;

	rg->base = (char *)obj->pop;
	rc = medium_of_mapping(rg->base, obj_heap_end(rg->base), &obj->medium, &rg->bytes);
	if (rc)
		return error_in(rc, path);
	fits = fresh || pmemobj_root_size(obj->pop) >= sizeof(struct sb) + LINE_BYTES;
	if (fits)
		root = pmemobj_root(obj->pop, sizeof(struct sb) + LINE_BYTES);
	if (root.off == 0)
		return error_set(fresh ? -ENOSPC : PMPT_E_NOT_POOL, "%s: root object: %.300s", path,
				 fits ? obj_words(errno) : "it is smaller than a superblock");
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
		return error_sys(part, "open");
	rc = obj_file_check(part, fd, false);
	(void)close(fd);
	return rc;
}

int obj_open(const char *path, struct obj_pool *obj)
{
	struct stat st;
	int set = -1, rc;

	*obj = (struct obj_pool){ .fd = -1 };
	/* before it is opened: to open a device may do something */
	rc = stat(path, &st) ? error_sys(path, "open") : obj_kind_check(path, &st);
	if (!rc) {
		set = set_is(path);
		rc = set < 0 ? set : 0;
	}
	if (set == 1)
		rc = set_parts(path, first_check, NULL);
	if (set == 0) {
		obj->fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		rc = obj->fd < 0 ? error_sys(path, "open") : obj_file_check(path, obj->fd, true);
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
static int blocks_make(int fd, uint64_t off, uint64_t len)
{
	int error = fd < 0 ? 0 : posix_fallocate(fd, (off_t)off, (off_t)len);

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
	rc = blocks_make(obj->fd, from, end - from);
	if (rc)
		return rc;
	if (pmemobj_xalloc(obj->pop, oid, place.bytes, 1, 0, NULL, NULL))
		return error_set(PMPT_E_NO_FRAMES, "no extent of %lu bytes: %.300s", place.bytes,
				 obj_words(errno));
	return oid->off == place.off
		       ? 0
		       : blocks_make(obj->fd, oid->off, pmemobj_alloc_usable_size(*oid));
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
	return blocks_make(obj->fd, oid.off, pmemobj_alloc_usable_size(oid));
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

void obj_in_child(void *ctx)
{
	const struct obj_pool *obj = ctx;
	int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (obj->fd < 0 ? MAP_ANONYMOUS : 0);

	/* libpmemobj has closed the file that it locked: its mapping has the lock */
	(void)mmap(obj->region.base, obj->region.bytes, PROT_READ | PROT_WRITE, flags, obj->fd, 0);
}

/* ---- create ---------------------------------------------------------------------------------- */

/* Blocks of the file that libpmemobj itself may store in. */
static int meta_blocks_make(int fd, uint64_t bytes)
{
	int rc = 0;

	for (uint64_t zone = 0; zone < bytes && !rc; zone += OBJ_ZONE_BYTES) {
		uint64_t left = bytes - zone;

		rc = blocks_make(fd, zone, left < OBJ_META_BYTES ? left : OBJ_META_BYTES);
	}
	return rc;
}

int obj_blocks_copy(const struct obj_pool *obj, uint64_t n_extents, int fd)
{
	const struct region *rg = &obj->region;
	int rc = meta_blocks_make(fd, rg->bytes);

	for (uint64_t i = 0; i < n_extents && !rc; i++) {
		PMEMoid oid = *(const PMEMoid *)(const void *)&region_sb(rg)->extent[i];
		uint64_t from = oid.off - OBJ_OBJECT_BYTES,
			 end = oid.off + pmemobj_alloc_usable_size(oid) + FRAME_BYTES;

		rc = blocks_make(fd, from, (end < rg->bytes ? end : rg->bytes) - from);
	}
	return rc;
}

/* A new, sparse file of that size; blocks that libpmemobj itself is going to store in exist. */
static int file_make(const char *path, const struct pmpt_config *config, struct obj_pool *obj)
{
	int rc = 0;

	obj->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, config->mode);
	if (obj->fd < 0)
		return error_sys(path, "create");
	obj->made = 1;
	if (ftruncate(obj->fd, (off_t)config->pool_bytes))
		rc = error_sys(path, "set the size of");
	if (!rc) {
		rc = meta_blocks_make(obj->fd, config->pool_bytes);
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

int obj_name_sync(const char *file)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(file, '/');
	int fd, rc = 0;

	if (snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - file) + 1 : 1,
		     slash ? file : ".") >= (int)sizeof(dir))
		return error_set(-ENAMETOOLONG, "%s: the name is too long", file);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		rc = error_sys(dir, fd < 0 ? "open" : "fsync");
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

static int name_sync(void *ctx, unsigned i, const char *part)
{
	(void)ctx, (void)i;
	return obj_name_sync(part);
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
	if (!rc)
		rc = set ? set_parts(path, name_sync, NULL) : obj_name_sync(path);
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
