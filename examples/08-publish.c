/* SPDX-License-Identifier: BSD-3-Clause */
/* 08-publish -- code is written, then published: never writable and executable at once.
 *
 * A space with the W^X policy refuses every change that would make a page both, also by way of a second
 * mapping of its frame, in whatever space.  So a compiler writes its pages while they are RW, and flips
 * the whole range to RX in one transaction, together with the word that says which version is current:
 * after a crash the new code is published whole or not at all.
 *
 *	usage: 08-publish POOL
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpmpt.h>

#define CODE       (1ull << 30)
#define CODE_BYTES (64u << 10)

enum { VERSION }; /* user words */

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, pmpt_strerror(rc), pmpt_errormsg());
	exit(1);
}

static void refused(const char *what, int rc)
{
	printf("  %-38s %s\n", what, rc ? pmpt_strerror(rc) : "allowed");
}

/* What "code" of a version is, here: a pattern. */
static void compile(pmpt_space *space, unsigned version)
{
	static unsigned char code[CODE_BYTES];

	memset(code, (int)(0x90 + version), sizeof(code));
	check(pmpt_write(NULL, space, CODE, code, sizeof(code)), "write");
}

/* RW to RX, and the version: one transaction. */
static void publish(pmpt_space *space, unsigned version)
{
	uint64_t lsn;
	pmpt_tx *tx;

	check(pmpt_begin(pmpt_space_pool(space), 0, &tx), "begin");
	check(pmpt_protect(tx, space, CODE, CODE_BYTES, PMPT_R | PMPT_X), "protect");
	check(pmpt_user_set(tx, space, VERSION, version), "version");
	check(pmpt_commit(tx, &lsn), "commit");
	printf("published version %u at LSN %" PRIu64 "\n", version, lsn);
}

static void attacks(pmpt_space *space, pmpt_space *other)
{
	unsigned char nop = 0x90;
	struct pmpt_mapping page;

	check(pmpt_query(space, CODE, &page), "query");
	refused("write to the code:", pmpt_write(NULL, space, CODE, &nop, 1));
	refused("make it RWX:",
		pmpt_protect(NULL, space, CODE, CODE_BYTES, PMPT_R | PMPT_W | PMPT_X));
	refused("map its frame elsewhere, writable:",
		pmpt_map(NULL, space, 2 * CODE, 1, page.pfn, PMPT_R | PMPT_W));
	refused("the same in another space:",
		pmpt_map(NULL, other, 2 * CODE, 1, page.pfn, PMPT_R | PMPT_W));
	refused("map its frame elsewhere, read-only:",
		pmpt_map(NULL, other, 2 * CODE, 1, page.pfn, PMPT_R));
	check(pmpt_unmap(NULL, other, 2 * CODE, PMPT_PAGE_BYTES), "unmap");
}

int main(int argc, char **argv)
{
	pmpt_space *jit, *other;
	uint64_t version;
	pmpt_pool *pool;

	if (argc != 2) {
		fprintf(stderr, "usage: %s POOL\n", argv[0]);
		return 2;
	}
	check(pmpt_create(argv[1], NULL, &pool), "create");
	check(pmpt_space_create(pool, "jit", &jit), "space");
	check(pmpt_space_create(pool, "other", &other), "space");
	check(pmpt_space_policy_set(jit, PMPT_POLICY_WX), "policy"); /* while nothing is mapped */

	compile(jit, 1);
	refused("run it before it is published:", pmpt_access(jit, CODE, PMPT_X));
	publish(jit, 1);
	refused("run it:", pmpt_access(jit, CODE, PMPT_X));
	attacks(jit, other);

	/* The next version: back to RW, which takes X away, in one transaction, too. */
	check(pmpt_protect(NULL, jit, CODE, CODE_BYTES, PMPT_R | PMPT_W), "protect");
	compile(jit, 2);
	publish(jit, 2);
	check(pmpt_user_get(jit, VERSION, &version), "version");
	printf("version %" PRIu64 " is current\n", version);

	pmpt_space_close(jit);
	pmpt_space_close(other);
	check(pmpt_close(pool), "close");
	return 0;
}
