/* SPDX-License-Identifier: BSD-3-Clause */
/* check -- see check.h: superblock, extents, and the order of the whole. */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

void check_found(struct check *c, const char *rule, uint64_t off, const char *format, ...)
{
	char text[256];
	va_list args;

	c->summary->findings++;
	if (!c->o->finding)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	c->o->finding(c->o->ctx, &(struct pmpt_finding){ rule, off, text });
}

void check_progress(struct check *c, unsigned permille)
{
	if (!c->o->progress || permille <= c->permille)
		return;
	c->permille = permille;
	c->o->progress(c->o->ctx, permille);
}

/* ---- superblock and extents ----------------------------------------------------------------- */

static void zeros(struct check *c, const uint8_t *field, size_t len, const char *name)
{
	if (!field[0] && !memcmp(field, field + 1, len - 1))
		return;
	for (size_t i = 0; i < len; i++) {
		if (!field[i])
			continue;
		check_found(c, "superblock", region_off(c->rg, field + i), "%s is %#x, expected 0",
			    name, field[i]);
		return;
	}
}

/* Slots of extents not in use.  The first of them may be taken: growth allocates before it logs. */
static void spare_extents(struct check *c, uint64_t n)
{
	for (uint64_t i = n; i < PMPT_EXTENTS_MAX; i++) {
		const struct sb_extent *e = &c->sb->extent[i];
		uint64_t off = word_load(&e->off);

		if (off && (i > n || off >= c->rg->bytes))
			check_found(c, "superblock", region_off(c->rg, &e->off),
				    "extent %lu is at %#lx, expected none: %lu are in use", i, off,
				    n);
	}
}

static void extent_headers(struct check *c, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t off = word_load(&c->sb->extent[i].off);
		struct extent_head *head = NULL;

		if (!region_check_extent(c->rg, i, &head))
			continue;
		off = (off + GROUP_BYTES - 1) & ~(GROUP_BYTES - 1);
		check_found(c, "extent",
			    region_has(c->rg, off, FRAME_BYTES)
				    ? off
				    : region_off(c->rg, &c->sb->extent[i].off),
			    "%s", pmpt_errormsg());
	}
}

/* *readable: out, what they say can be followed.
 * Returns 0, or the error of what is no pool at all. */
static int superblock(struct check *c, bool *readable)
{
	int rc = region_check(c->rg);
	uint64_t before = c->summary->findings, n;
	char message[256];

	if (rc && rc != PMPT_E_CORRUPT)
		return rc;
	(void)snprintf(message, sizeof(message), "%s", pmpt_errormsg());
	n = word_load(&c->sb->n_extents);
	*readable = !rc;
	if (c->sb->crc != crc32c(~0u, c->sb, offsetof(struct sb, crc))) {
		check_found(c, "superblock", region_off(c->rg, &c->sb->crc), "%s", message);
		return 0; /* nothing in it can be trusted */
	}
	zeros(c, c->sb->reserved0, sizeof(c->sb->reserved0), "reserved byte");
	zeros(c, (const uint8_t *)c->sb->reserved1, sizeof(c->sb->reserved1), "reserved byte");
	zeros(c, c->sb->reserved2, sizeof(c->sb->reserved2), "reserved byte");
	if (n < 1 || n > PMPT_EXTENTS_MAX) {
		check_found(c, "superblock", region_off(c->rg, &c->sb->n_extents),
			    "%lu extents in use, expected 1 to %u", n, PMPT_EXTENTS_MAX);
	} else {
		spare_extents(c, n);
		extent_headers(c, n);
	}
	if (rc && c->summary->findings == before)
		check_found(c, "superblock", c->rg->sb_off, "%s", message);
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* The extents in use; an overlap is a finding. */
static int extents(struct check *c, bool *readable)
{
	int rc = extents_load(&c->extents, c->rg, c->mem, word_load(&c->sb->n_extents));

	if (rc == PMPT_E_CORRUPT) {
		check_found(c, "extent", c->rg->sb_off, "%s", pmpt_errormsg());
		*readable = false;
		return 0;
	}
	return rc;
}

static int run(struct region *rg, struct mem *mem, const struct check_options *o,
	       struct pmpt_check *summary, bool log, bool tree)
{
	struct check c = { .rg = rg, .mem = mem, .o = o, .summary = summary, .sb = region_sb(rg) };
	bool readable = !log;
	int rc = log ? superblock(&c, &readable) : 0;

	if (!rc && readable)
		rc = extents(&c, &readable);
	if (!rc && readable && log)
		rc = check_log(&c);
	if (!rc && readable && tree)
		rc = check_tree(&c);
	extents_free(&c.extents, mem);
	return rc;
}

int check_region(struct region *rg, struct mem *mem, const struct check_options *o,
		 struct pmpt_check *summary)
{
	return run(rg, mem, o, summary, true, true);
}

int check_region_log(struct region *rg, struct mem *mem, const struct check_options *o,
		     struct pmpt_check *summary)
{
	return run(rg, mem, o, summary, true, false);
}

int check_region_tree(struct region *rg, struct mem *mem, const struct check_options *o,
		      struct pmpt_check *summary)
{
	return run(rg, mem, o, summary, false, true);
}
