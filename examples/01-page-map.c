/* SPDX-License-Identifier: BSD-3-Clause */
/* 01-page-map -- a storage engine's map from logical page to frame.
 *
 * The engine never overwrites a page.  It takes a new frame, fills it in place, and in one
 * transaction maps it where the old one was and moves its root word on.  After a crash the next open
 * finds the old page with the old root, or the new page with the new root, and nothing in between.
 *
 * Run it several times: each run goes on where the last one ended.
 *	usage: 01-page-map POOL
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpmpt.h>

/* User words of the space: what they mean is the engine's business. */
enum { ROOT_PAGE, VERSIONS };

/* Where logical page n lies in the space. */
static uint64_t va_of(uint64_t page) { return page * PMPT_PAGE_BYTES; }

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, pmpt_strerror(rc), pmpt_errormsg());
	exit(1);
}

static void open_map(const char *path, pmpt_pool **pool, pmpt_space **map)
{
	int rc = pmpt_open(path, 0, pool);

	if (rc == -ENOENT)
		rc = pmpt_create(path, NULL, pool);
	check(rc, "open");
	rc = pmpt_space_open(*pool, "pages", map);
	if (rc == PMPT_E_NO_SPACE)
		rc = pmpt_space_create(*pool, "pages", map);
	check(rc, "space");
}

/* The page's content, or NULL if it was never written. */
static const char *read_page(pmpt_space *map, uint64_t page)
{
	struct pmpt_mapping m;
	int rc = pmpt_query(map, va_of(page), &m);

	if (rc == PMPT_E_NOT_MAPPED)
		return NULL;
	check(rc, "query");
	return pmpt_frame_ptr(pmpt_space_pool(map), m.pfn);
}

/* A new version of a page, which becomes the root.  Returns the LSN of the commit. */
static uint64_t write_page(pmpt_space *map, uint64_t page, uint64_t version)
{
	pmpt_pool *pool = pmpt_space_pool(map);
	uint64_t pfn, lsn;
	pmpt_tx *tx;
	char *frame;

	check(pmpt_begin(pool, 0, &tx), "begin");
	check(pmpt_frame_alloc(tx, 1, 1, &pfn), "frame");

	/* Nobody else sees the frame yet, so it is filled without a lock ... */
	frame = pmpt_frame_ptr(pool, pfn);
	memset(frame, 0, PMPT_PAGE_BYTES);
	snprintf(frame, PMPT_PAGE_BYTES, "version %" PRIu64 " of page %" PRIu64, version, page);
	/* ... and this makes it durable no later than the commit. */
	check(pmpt_flush(tx, frame, PMPT_PAGE_BYTES), "flush");

	/* The frame that was mapped before is free again after the commit. */
	check(pmpt_map(tx, map, va_of(page), 1, pfn, PMPT_R | PMPT_W | PMPT_REPLACE), "map");
	check(pmpt_user_set(tx, map, ROOT_PAGE, page), "root");
	check(pmpt_user_set(tx, map, VERSIONS, version), "versions");
	check(pmpt_commit(tx, &lsn), "commit");
	return lsn;
}

int main(int argc, char **argv)
{
	uint64_t root = 0, versions = 0, next;
	pmpt_pool *pool;
	pmpt_space *map;

	if (argc != 2) {
		fprintf(stderr, "usage: %s POOL\n", argv[0]);
		return 2;
	}
	open_map(argv[1], &pool, &map);
	check(pmpt_user_get(map, ROOT_PAGE, &root), "root");
	check(pmpt_user_get(map, VERSIONS, &versions), "versions");
	if (versions)
		printf("found: page %" PRIu64 " is the root: \"%s\"\n", root, read_page(map, root));
	else
		printf("found: nothing\n");

	next = versions * 7 % 10; /* any page */
	printf("wrote: page %" PRIu64 ", LSN %" PRIu64 "\n", next,
	       write_page(map, next, versions + 1));
	printf("now:   page %" PRIu64 ": \"%s\"\n", next, read_page(map, next));

	pmpt_space_close(map);
	check(pmpt_close(pool), "close");
	return 0;
}
