/* SPDX-License-Identifier: BSD-3-Clause */
/* obj_file -- see obj_file.h. */
#include "obj_file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "error.h"
#include "layout.h"
#include "obj_heap.h"

#define ROOT_ALIGN 16u

/* As libpmem tells them: the device's class, or bus, is "dax". */
static bool is_dax_device(const struct stat *st)
{
	char link[64], target[PATH_MAX];
	const char *last;

	(void)snprintf(link, sizeof(link), "/sys/dev/char/%u:%u/subsystem", major(st->st_rdev),
		       minor(st->st_rdev));
	if (!S_ISCHR(st->st_mode) || !realpath(link, target))
		return false;
	last = strrchr(target, '/');
	return last && !strcmp(last, "/dax");
}

int obj_kind_check(const char *path, const struct stat *st)
{
	if (S_ISREG(st->st_mode) || is_dax_device(st))
		return 0;
	return error_set(PMPT_E_MEDIUM, "%s: no regular file", path);
}

int obj_signature_check(const char *path, int fd)
{
	char head[sizeof(OBJ_SIGNATURE)] = { 0 }, found[3 * sizeof(head) + 1],
	     expected[sizeof(found)];
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (n < 0)
		return error_sys(path, "read");
	if (n == (ssize_t)sizeof(head) && !memcmp(head, OBJ_SIGNATURE, sizeof(head)))
		return 0;
	return error_set(PMPT_E_NOT_POOL, "%s: offset 0: found %s, expected %s (\"%s\")", path,
			 n ? error_hex(found, head, (size_t)n) : "the end of the file",
			 error_hex(expected, OBJ_SIGNATURE, sizeof(head)), OBJ_SIGNATURE);
}

/* The root object's offset, of which the superblock's follows. */
static int root_check(const char *path, int fd, const struct stat *st, uint64_t root)
{
	uint64_t heap = 0, heap_bytes = 0;

	if (root == 0)
		return error_set(
			PMPT_E_NOT_POOL,
			"%s: the creation of this pool was not finished; it may be deleted", path);
	if (pread(fd, &heap, sizeof(heap), OBJ_HEAP_OFF) != sizeof(heap) ||
	    pread(fd, &heap_bytes, sizeof(heap_bytes), OBJ_HEAP_BYTES) != sizeof(heap_bytes))
		return error_set(PMPT_E_TRUNCATED, "%s: %ld bytes are less than a pool's header",
				 path, (long)st->st_size);
	if (root % ROOT_ALIGN || root < heap || root - heap >= heap_bytes)
		return error_set(
			PMPT_E_CORRUPT,
			"%s: offset %#x: found %#lx, expected a multiple of %u in the heap, %#lx to %#lx",
			path, OBJ_ROOT, root, ROOT_ALIGN, heap, heap + heap_bytes);
	return 0;
}

static int superblock_check(const char *path, int fd, const struct stat *st, uint64_t off, bool all)
{
	struct sb sb = { 0 };

	if (off > (uint64_t)st->st_size || pread(fd, &sb, 4096, (off_t)off) != 4096)
		return error_set(PMPT_E_TRUNCATED,
				 "%s: %ld bytes, its superblock should be at offset %#lx", path,
				 (long)st->st_size, off);
	if (memcmp(sb.magic, SB_MAGIC, sizeof(sb.magic)))
		return error_set(
			PMPT_E_NOT_POOL,
			"%s: no superblock at offset %#lx; if its creation was cut short it may be deleted",
			path, off);
	if (all && sb.crc == crc32c(~0u, &sb, offsetof(struct sb, crc)) &&
	    sb.pool_bytes > (uint64_t)st->st_size)
		return error_set(PMPT_E_TRUNCATED,
				 "%s: %ld bytes, its superblock at offset %#lx says %lu", path,
				 (long)st->st_size, off, sb.pool_bytes);
	return 0;
}

int obj_file_check(const char *path, int fd, bool all)
{
	char layout[sizeof(SB_LAYOUT_NAME) + 1] = { 0 }, text[4 * sizeof(layout) + 1];
	uint64_t root = 0;
	struct stat st;
	int rc;

	if (fstat(fd, &st))
		return error_sys(path, "stat");
	rc = obj_kind_check(path, &st);
	if (rc || S_ISCHR(st.st_mode))
		return rc;
	rc = obj_signature_check(path, fd);
	if (rc)
		return rc;
	if (pread(fd, layout, sizeof(layout) - 1, OBJ_LAYOUT) != sizeof(layout) - 1 ||
	    pread(fd, &root, sizeof(root), OBJ_ROOT) != sizeof(root))
		return error_set(PMPT_E_TRUNCATED, "%s: %ld bytes are less than a pool's header",
				 path, (long)st.st_size);
	if (strcmp(layout, SB_LAYOUT_NAME))
		return error_set(strncmp(layout, "libpmpt-", 8) ? PMPT_E_NOT_POOL : PMPT_E_VERSION,
				 "%s: offset %#x: layout '%s', expected '%s'", path, OBJ_LAYOUT,
				 error_text(text, sizeof(text), layout), SB_LAYOUT_NAME);
	rc = root_check(path, fd, &st, root);
	if (rc)
		return rc;
	return superblock_check(path, fd, &st, (root + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES,
				all);
}
