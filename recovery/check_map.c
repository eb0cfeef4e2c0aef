/* SPDX-License-Identifier: BSD-3-Clause */
/* check_map -- a pool file, or the parts of a pool set one behind the other as libpmemobj maps
 * them, without libpmemobj: each part in whole pages, later parts without their 4 KiB header.
 * SOURCES: poolset(5); flock(2), by which libpmemobj keeps a second opener out.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "error.h"
#include "low_fds.h"
#include "obj_file.h"

#define SET_SIGNATURE  "PMEMPOOLSET"
#define SET_LINE_BYTES 8192

/* ---- open ----------------------------------------------------------------------------------- */

/* Add a part; its first `header` bytes are not the pool's. */
static int part_open(struct check_image *im, const char *path, uint64_t header)
{
	unsigned i = im->n_parts;
	struct stat st;
	int fd;

	if (i == CHECK_PARTS_MAX)
		return error_set(PMPT_E_MEDIUM, "a pool set of more than %u parts",
				 CHECK_PARTS_MAX);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_set(-errno, "%s: %s", path, strerror(errno));
	im->part[i].fd = fd;
	im->n_parts++;
	if (fstat(fd, &st))
		return error_set(-errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(PMPT_E_MEDIUM, "%s: no regular file", path);
	im->part[i].from = header;
	im->part[i].bytes = (uint64_t)st.st_size & ~(FRAME_BYTES - 1);
	im->part[i].bytes -= im->part[i].bytes < header ? im->part[i].bytes : header;
	im->bytes += im->part[i].bytes;
	im->file_bytes += (uint64_t)st.st_size < header ? 0 : (uint64_t)st.st_size - header;
	return 0;
}

/* One line of a pool set file, in words: a comment, an option, or a size and a path. */
static int set_line(struct check_image *im, char *line, uint64_t *header)
{
	char *save = NULL, *first = strtok_r(line, " \t\r\n", &save),
	     *second = strtok_r(NULL, " \t\r\n", &save), text[128];
	int rc;

	if (!first || *first == '#')
		return 0;
	if (!strcmp(first, "REPLICA"))
		return error_set(PMPT_E_MEDIUM, "the pool set has replicas");
	if (!strcmp(first, "OPTION") && second) {
		if (!strcmp(second, "SINGLEHDR") || !strcmp(second, "NOHDRS"))
			*header = 0;
		return 0;
	}
	if (!second || *second != '/')
		return error_set(
			PMPT_E_MEDIUM,
			"the pool set has the line '%s', expected a size and an absolute path",
			error_text(text, sizeof(text), first));
	rc = part_open(im, second, im->n_parts ? *header : 0);
	return rc || im->n_parts > 1 ? rc : obj_signature_check(second, im->part[0].fd);
}

static int set_open(struct check_image *im, const char *path)
{
	uint64_t header = FRAME_BYTES;
	FILE *set = fopen(path, "re");
	char line[SET_LINE_BYTES];
	int rc = 0;

	if (!set)
		return error_set(-errno, "%s: %s", path, strerror(errno));
	(void)fgets(line, sizeof(line), set); /* the signature */
	while (!rc && fgets(line, sizeof(line), set))
		rc = set_line(im, line, &header);
	(void)fclose(set);
	return rc;
}

/* Where a standard descriptor is closed, a part must not become it: see low_fds.h. */
int check_image_open(struct check_image *im, const char *path)
{
	char signature[sizeof(SET_SIGNATURE)] = "";
	struct low_fds low;
	int rc = low_fds_hold(&low);

	*im = (struct check_image){ 0 };
	if (rc)
		return rc;
	rc = part_open(im, path, 0);
	if (!rc && pread(im->part[0].fd, signature, sizeof(signature) - 1, 0) > 0 &&
	    !strcmp(signature, SET_SIGNATURE)) {
		check_image_close(im);
		*im = (struct check_image){ 0 };
		rc = set_open(im, path);
	} else if (!rc) {
		rc = obj_signature_check(path, im->part[0].fd);
	}
	low_fds_release(&low);
	if (!rc && im->n_parts == 0)
		rc = error_set(PMPT_E_NOT_POOL, "%s: a pool set without parts", path);
	if (!rc && im->bytes == 0)
		rc = error_set(PMPT_E_TRUNCATED, "%s: %lu bytes are less than a pool's header",
			       path, im->file_bytes);
	if (rc)
		check_image_close(im);
	return rc;
}

int check_image_live(struct check_image *im, bool *live)
{
	*live = false;
	for (unsigned i = 0; i < im->n_parts; i++) {
		if (!flock(im->part[i].fd, LOCK_SH | LOCK_NB))
			continue;
		if (errno != EWOULDBLOCK)
			return error_set(-errno, "flock: %s", strerror(errno));
		*live = true;
	}
	return 0;
}

/* ---- map ------------------------------------------------------------------------------------ */

static void unmap(struct check_image *im)
{
	if (im->base)
		(void)munmap(im->base, im->bytes);
	if (im->shared)
		(void)munmap((void *)(uintptr_t)im->shared, im->bytes);
	im->base = NULL;
	im->shared = NULL;
}

void check_image_close(struct check_image *im)
{
	unmap(im);
	for (unsigned i = 0; i < im->n_parts; i++)
		(void)close(im->part[i].fd);
	im->n_parts = 0;
}

/* All parts, one behind the other; NULL: errno. */
static char *map_parts(const struct check_image *im, int prot, int flags)
{
	char *base = mmap(NULL, im->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1, 0);
	uint64_t at = 0;

	if (base == MAP_FAILED)
		return NULL;
	for (unsigned i = 0; i < im->n_parts; i++) {
		if (im->part[i].bytes &&
		    mmap(base + at, im->part[i].bytes, prot, flags | MAP_FIXED, im->part[i].fd,
			 (off_t)im->part[i].from) == MAP_FAILED) {
			(void)munmap(base, im->bytes);
			return NULL;
		}
		at += im->part[i].bytes;
	}
	return base;
}

int check_image_map(struct check_image *im)
{
	unmap(im);
	im->base = map_parts(im, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE);
	im->shared = im->base ? map_parts(im, PROT_READ, MAP_SHARED) : NULL;
	if (im->shared)
		return 0;
	return error_set(-errno, "mapping %#lx bytes: %s", im->bytes, strerror(errno));
}
