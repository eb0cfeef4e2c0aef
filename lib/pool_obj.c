/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_obj -- see pool_obj.h. */
#include "pool_obj.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "medium.h"

/* Where libpmemobj keeps what we look at before it may open the file (its on-media header, layout
 * major 6). */
#define OBJ_SIGNATURE "PMEMOBJ"
#define OBJ_LAYOUT    4096
#define OBJ_ROOT      0x1800
#define OBJ_ZONE \
	((uint64_t)16 << 30) /* a zone and its header come again at most at this distance */
#define OBJ_META      \
	((uint64_t)16 \
	 << 20) /* what libpmemobj itself may store in, per zone: header, lanes, chunk headers */

#define SET_SIGNATURE "PMEMPOOLSET"

/* ---- the file before libpmemobj sees it ------------------------------------------------------ */

static int sys_error(const char *path, const char *what)
{
	int error = errno;

	return error_set(-error, "%s: %s: %s", path, what, strerror(error));
}

/* 1: a pool set; 0: not; else an error. */
static int is_set(const char *path)
{
	char head[sizeof(SET_SIGNATURE) - 1] = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return sys_error(path, "open");
	n = pread(fd, head, sizeof(head), 0);
	(void)close(fd);
	return n == (ssize_t)sizeof(head) && !memcmp(head, SET_SIGNATURE, sizeof(head));
}

/* Our stores are not copied to replicas: sets with one are refused. */
static int set_check(const char *path)
{
	FILE *set = fopen(path, "re");
	char line[4096];
	int rc = 0;

	if (!set)
		return sys_error(path, "open");
	for (unsigned n = 1; !rc && fgets(line, sizeof(line), set); n++) {
		if (!strncmp(line + strspn(line, " \t"), "REPLICA", 7))
			rc = error_set(PMPT_E_MEDIUM,
				       "%s:%u: pool sets with replicas are not supported", path, n);
	}
	(void)fclose(set);
	return rc;
}

/* A single file: is it a pool of ours, and whole?  libpmemobj would fault on a short one. */
static int file_check(const char *path, int fd)
{
	char head[8] = { 0 }, layout[sizeof(SB_LAYOUT_NAME)] = { 0 };
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
	if (sb.crc == crc32c(~0u, &sb, offsetof(struct sb, crc)) &&
	    sb.pool_bytes > (uint64_t)st.st_size)
		return error_set(PMPT_E_TRUNCATED,
				 "%s: %ld bytes, its superblock at offset %#lx says %lu", path,
				 (long)st.st_size, root, sb.pool_bytes);
	return 0;
}

/* ---- open ------------------------------------------------------------------------------------ */

static int obj_error(const char *path, const char *what)
{
	int error = errno;
	int rc = error == EAGAIN || error == EWOULDBLOCK ? PMPT_E_IN_USE
		 : error == EINVAL                       ? PMPT_E_CORRUPT
		 : error == ENOTSUP                      ? PMPT_E_MEDIUM
							 : -error;

	return error_set(rc, "%s: %s: %.300s", path, what, pmemobj_errormsg());
}

/* Fill the region from the mapping that libpmemobj made.  fresh: the root object is ours to make. */
static int region_fill(const char *path, struct obj_pool *obj, bool fresh)
{
	struct region *rg = &obj->region;
	PMEMoid root = { 0, 0 };
	int rc = medium_of_mapping(obj->pop, &obj->medium, &rg->bytes);

	if (rc)
		return error_in(rc, path);
	if (fresh || pmemobj_root_size(obj->pop) >= sizeof(struct sb) + LINE_BYTES)
		root = pmemobj_root(obj->pop, sizeof(struct sb) + LINE_BYTES);
	if (root.off == 0)
		return error_set(fresh ? -ENOSPC : PMPT_E_NOT_POOL, "%s: no root object: %.300s",
				 path, pmemobj_errormsg());
	rg->base = (char *)obj->pop;
	rg->sb_off = (root.off + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
	pm_medium_init(&rg->medium, rg->base, rg->bytes,
		       obj->medium == PMPT_MEDIUM_FILE ? PM_PAGE : PM_CACHE_LINE);
	return 0;
}

void obj_close(struct obj_pool *obj)
{
	if (obj->pop)
		pmemobj_close(obj->pop);
	if (obj->fd >= 0)
		(void)close(obj->fd);
}

int obj_open(const char *path, struct obj_pool *obj)
{
	int set = is_set(path), rc = set < 0 ? set : 0;

	*obj = (struct obj_pool){ .fd = -1 };
	if (set == 1)
		rc = set_check(path);
	if (set == 0) {
		obj->fd = open(path, O_RDWR | O_CLOEXEC);
		rc = obj->fd < 0 ? sys_error(path, "open") : file_check(path, obj->fd);
	}
	if (!rc) {
		obj->pop = pmemobj_open(path, SB_LAYOUT_NAME);
		rc = obj->pop ? region_fill(path, obj, false) : obj_error(path, "pmemobj_open");
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

/* Allocate the largest object that the pool gives, up to an extent's size. */
static int object_make(struct obj_pool *obj, PMEMoid *oid)
{
	uint64_t most = PMPT_EXTENT_BYTES + GROUP_BYTES,
		 size = most < obj->region.bytes ? most : obj->region.bytes;

	while (size >= OBJ_EXTENT_MIN) {
		if (!pmemobj_xalloc(obj->pop, oid, size, 1, 0, NULL, NULL))
			return 0;
		size -= size > (uint64_t)256 << 20 ? GROUP_BYTES : GROUP_BYTES / 8;
	}
	return error_set(PMPT_E_NO_FRAMES,
			 "the pool file of %lu bytes has no room for another extent",
			 obj->region.bytes);
}

int obj_extent_take(void *ctx, uint64_t index, uint64_t *off, uint64_t *bytes)
{
	struct obj_pool *obj = ctx;
	PMEMoid *oid = (PMEMoid *)(void *)&region_sb(&obj->region)->extent[index];
	int rc = OID_IS_NULL(*oid) ? object_make(obj, oid) : 0;

	if (rc)
		return rc;
	*off = oid->off;
	*bytes = pmemobj_alloc_usable_size(*oid);
	return blocks_make(obj, *off, *bytes);
}

/* ---- create ---------------------------------------------------------------------------------- */

/* A new, sparse file of that size; blocks that libpmemobj itself is going to store in exist. */
static int file_make(const char *path, const struct pmpt_config *config, struct obj_pool *obj)
{
	int rc = 0;

	obj->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, config->mode);
	if (obj->fd < 0)
		return sys_error(path, "create");
	if (ftruncate(obj->fd, (off_t)config->pool_bytes))
		rc = sys_error(path, "set the size of");
	for (uint64_t zone = 0; zone < config->pool_bytes && !rc; zone += OBJ_ZONE) {
		uint64_t left = config->pool_bytes - zone;

		rc = blocks_make(obj, zone, left < OBJ_META ? left : OBJ_META);
	}
	return rc ? error_in(rc, path) : 0;
}

static int shape_random(struct region_shape *shape)
{
	if (getrandom(shape->uuid, sizeof(shape->uuid), 0) != sizeof(shape->uuid) ||
	    getrandom(&shape->salt, sizeof(shape->salt), 0) != sizeof(shape->salt))
		return error_set(-errno, "getrandom: %s", strerror(errno));
	return 0;
}

static int format(const char *path, const struct pmpt_config *config, struct obj_pool *obj)
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
	return rc ? error_in(rc, path) : 0;
}

int obj_create(const char *path, const struct pmpt_config *config, struct obj_pool *obj)
{
	int set = access(path, F_OK) ? 0 : is_set(path), sparse = 0, whole = 1, rc = 0;

	*obj = (struct obj_pool){ .fd = -1 };
	if (set < 0)
		return set;
	rc = set ? set_check(path) : file_make(path, config, obj);
	if (!rc) {
		(void)pmemobj_ctl_set(NULL, "fallocate.at_create", set ? &whole : &sparse);
		obj->pop = pmemobj_create(path, SB_LAYOUT_NAME, 0, config->mode);
		rc = obj->pop ? region_fill(path, obj, true) : obj_error(path, "pmemobj_create");
	}
	if (!rc)
		rc = format(path, config, obj);
	if (rc) {
		bool made = obj->fd >= 0;

		obj_close(obj);
		if (made)
			(void)unlink(path);
	}
	return rc;
}
