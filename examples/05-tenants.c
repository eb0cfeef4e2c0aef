/* SPDX-License-Identifier: BSD-3-Clause */
/* 05-tenants -- two tenants share a segment: one may write, the other may only read.
 *
 * A segment is a named run of pages.  Each space maps it where it likes, with permissions of its own;
 * there is one entry for each page, so a page that one tenant writes has changed for all of them, at
 * once and durably.  What a tenant may do, his own mapping says.
 *
 *	usage: 05-tenants POOL
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpmpt.h>

#define SEGMENT_BYTES (4u << 20)
#define WRITER_AT     (1ull << 30) /* where each has it: addresses are private */
#define READER_AT     (7ull << 30)

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, pmpt_strerror(rc), pmpt_errormsg());
	exit(1);
}

static void say(pmpt_space *space, uint64_t va, const char *text)
{
	check(pmpt_write(NULL, space, va, text, strlen(text) + 1), "write");
}

static void hear(const pmpt_space *space, uint64_t va)
{
	char text[64] = "";

	check(pmpt_read(NULL, space, va, text, sizeof(text) - 1), "read");
	printf("%s reads at %#" PRIx64 ": \"%s\"\n", pmpt_space_name(space), va, text);
}

static int on_segment(void *ctx, const struct pmpt_segment *segment)
{
	(void)ctx;
	printf("segment %s: %" PRIu64 " KiB, mapped %" PRIu64 " times\n", segment->name,
	       segment->bytes >> 10, segment->mappings);
	return 0;
}

int main(int argc, char **argv)
{
	pmpt_space *writer, *reader;
	pmpt_pool *pool;
	pmpt_tx *tx;
	int rc;

	if (argc != 2) {
		fprintf(stderr, "usage: %s POOL\n", argv[0]);
		return 2;
	}
	check(pmpt_create(argv[1], NULL, &pool), "create");
	check(pmpt_space_create(pool, "writer", &writer), "space");
	check(pmpt_space_create(pool, "reader", &reader), "space");
	check(pmpt_segment_create(pool, "board", SEGMENT_BYTES), "segment");

	/* Both tenants have it, or none: one transaction. */
	check(pmpt_begin(pool, 0, &tx), "begin");
	check(pmpt_segment_map(tx, writer, WRITER_AT, "board", PMPT_R | PMPT_W), "map");
	check(pmpt_segment_map(tx, reader, READER_AT, "board", PMPT_R), "map");
	check(pmpt_commit(tx, NULL), "commit");
	check(pmpt_segment_list(pool, on_segment, NULL), "list");

	hear(reader, READER_AT); /* nothing was written yet: zeros, which take no frame */
	say(writer, WRITER_AT, "the first notice");
	hear(reader, READER_AT);

	/* The reader may not: the message names the entry that forbids it. */
	rc = pmpt_write(NULL, reader, READER_AT, "graffiti", 9);
	printf("reader writes: %s (%s)\n", pmpt_strerror(rc), pmpt_errormsg());
	rc = pmpt_access(reader, READER_AT, PMPT_W);
	printf("an MMU would say: %s\n", pmpt_strerror(rc));

	/* Without its name the segment lives on as long as somebody maps it. */
	check(pmpt_segment_delete(pool, "board"), "delete");
	check(pmpt_unmap(NULL, writer, WRITER_AT, SEGMENT_BYTES), "unmap");
	hear(reader, READER_AT);
	check(pmpt_unmap(NULL, reader, READER_AT, SEGMENT_BYTES), "unmap");
	hear(reader, READER_AT);

	pmpt_space_close(writer);
	pmpt_space_close(reader);
	check(pmpt_close(pool), "close");
	return 0;
}
