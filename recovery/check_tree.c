/* SPDX-License-Identifier: BSD-3-Clause */
/* check_tree -- the verifier's walk: directory, tables, and whether every count is what
 * was reached.
 *
 * The walk enters each table once, however often and from wherever it is linked, and keeps its
 * place in an array of four: loops and garbage cannot lead it astray.  Each word is read once.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "error.h"

/* ---- frames reached ------------------------------------------------------------------------- */

/* The frame is usable, so the group exists.  NULL: no memory. */
struct check_group *check_group(struct check *c, uint64_t pfn)
{
	struct check_group **g = &c->group[pfn >> 9];

	if (!*g)
		*g = mem_zalloc(c->mem, sizeof(**g));
	if (!*g)
		(void)error_set(-ENOMEM, "no memory to count references");
	return *g;
}

static void ref_add(struct check_group *g, uint64_t pfn)
{
	uint32_t *refs = &g->refs[pfn % GROUP_FRAMES];

	*refs += *refs != UINT32_MAX;
}

uint64_t check_descriptor(const struct check *c, uint64_t pfn)
{
	return word_load(region_at(c->rg, extent_desc_off(extents_find(&c->extents, pfn), pfn)));
}

/* All frames of a leaf's run are usable. */
static bool run_usable(const struct check *c, uint64_t pfn, uint64_t n)
{
	for (uint64_t i = 0; i < n; i += GROUP_FRAMES) {
		uint64_t last = pfn + (n - i < GROUP_FRAMES ? n : i + GROUP_FRAMES) - 1;

		if (!check_frame_usable(c, pfn + i) || !check_frame_usable(c, last))
			return false;
	}
	return true;
}

/* ---- entries -------------------------------------------------------------------------------- */

/* What is wrong with the bits of a reservation, or NULL. */
static const char *reservation_wrong(uint64_t entry, unsigned level)
{
	if (entry_kind(entry) != KIND_ZERO)
		return "is not present and of no known kind, expected 0";
	if (level == 4)
		return "reserves pages at level 4";
	if (entry & (ENTRY_PFN | ENTRY_PS | ENTRY_AD | ENTRY_EXT | ENTRY_SHARED))
		return "is demand-zero and names a frame, or has bits of a leaf that is there";
	if ((entry & (ENTRY_W | ENTRY_COW)) == (ENTRY_W | ENTRY_COW))
		return "has W and COW";
	return NULL;
}

/* What is wrong with the bits of an entry, or NULL. */
static const char *entry_wrong(uint64_t entry, unsigned level)
{
	if (!(entry & ENTRY_P) && entry_kind(entry) == KIND_SWAP)
		return NULL; /* check_swap_entry() will say */
	if (!(entry & ENTRY_P))
		return entry ? reservation_wrong(entry, level) : NULL;
	if (level == 4 && (entry & ENTRY_PS))
		return "has PS at level 4";
	if (entry_is_table(entry, level)) {
		uint64_t bits = entry & ~(ENTRY_PFN | ENTRY_A);

		if (bits == ENTRY_LINK || entry_unshare(bits) == ENTRY_LINK)
			return NULL;
		if (level == 2 &&
		    !(bits & ~(ENTRY_P | ENTRY_W | ENTRY_U | ENTRY_SHARED | ENTRY_NX)))
			return NULL;
		return "links a table, expected P, W or COW, U and a frame";
	}
	if (level == 1 && (entry & ENTRY_PS))
		return "has PAT";
	if (entry & (ENTRY_SHARED | ENTRY_KIND))
		return "has bits that format 1 leaves zero";
	if (entry & ENTRY_COW && entry & (ENTRY_W | ENTRY_EXT))
		return "is copied on write, expected neither W nor EXT";
	if (entry_pfn(entry) & ((level_bytes(level) >> FRAME_SHIFT) - 1))
		return "maps a huge page that is not aligned";
	return NULL;
}

/* A frame whose descriptor says data: would it pass for a table all the same? */
static bool resembles_table(const struct check *c, uint64_t pfn, unsigned level)
{
	const pm_word *word = region_at(c->rg, pfn << FRAME_SHIFT);
	bool any = false;

	for (unsigned i = 0; i < FRAME_WORDS; i++) {
		uint64_t entry = word_load(&word[i]);

		if (entry_wrong(entry, level))
			return false;
		any |= entry != 0;
	}
	return any;
}

/* What a chain of W reaches is one space's alone, or was mapped by its number [F6]. */
static void check_own(struct check *c, uint64_t off, uint64_t entry, uint64_t pfn)
{
	uint64_t desc = check_descriptor(c, pfn);

	if (desc_count(desc) > 1 && !(desc & DESC_ALIASED))
		check_found(
			c, "F6", off,
			"entry %#lx, and all links above it, permit writing in frame %#lx, whose count is %lu",
			entry, pfn, desc_count(desc));
}

struct place {
	uint64_t pfn, link; /* the table, and the offset of what names it */
	unsigned next;      /* entry to look at next */
	bool used;          /* an entry was not 0 */
	bool own;           /* every link above has W, and is no segment's */
	bool segment;       /* the link above is a segment's: it may be empty */
	struct check_wx wx;
};

/* Count the frames of a leaf in a table. */
static int leaf(struct check *c, uint64_t off, uint64_t entry, unsigned level,
		const struct place *in)
{
	uint64_t pfn = entry_pfn(entry), n = level_bytes(level) >> FRAME_SHIFT;

	c->summary->leaves++;
	if (entry & ENTRY_EXT)
		return 0;
	if (!run_usable(c, pfn, n)) {
		check_found(c, "entry", off,
			    "entry %#lx maps %lu frames from %#lx, expected the pool's", entry, n,
			    pfn);
		return 0;
	}
	for (uint64_t i = 0; i < n; i++) {
		struct check_group *g = check_group(c, pfn + i);

		if (!g)
			return -ENOMEM;
		if (g->level[(pfn + i) % GROUP_FRAMES])
			check_found(c, "entry", off, "entry %#lx maps frame %#lx, which is a table",
				    entry, pfn + i);
		else
			ref_add(g, pfn + i);
		check_wx_frame(c, &in->wx, off, entry, pfn + i);
		if (in->own && entry & ENTRY_W && word_load(&c->sb->features) & SB_FEATURE_ALIASES)
			check_own(c, off, entry, pfn + i);
	}
	return 0;
}

/* A link, or a space's root, names a frame as a table of `level`.  *enter: out, its entries are
 * still to be looked at. */
static int link_table(struct check *c, const char *rule, uint64_t off, uint64_t pfn, unsigned level,
		      bool *enter)
{
	struct check_group *g;
	uint8_t *known;

	*enter = false;
	if (!check_frame_usable(c, pfn)) {
		check_found(c, rule, off,
			    "a level %u table in frame %#lx, expected a frame of the pool", level,
			    pfn);
		return 0;
	}
	g = check_group(c, pfn);
	if (!g)
		return -ENOMEM;
	known = &g->level[pfn % GROUP_FRAMES];
	if (*known && *known != level) {
		check_found(c, rule, off, "frame %#lx as a level %u table, it is one of level %u",
			    pfn, level, *known);
		return 0;
	}
	if (!*known &&
	    (g->refs[pfn % GROUP_FRAMES] || (desc_kind(check_descriptor(c, pfn)) == DESC_DATA &&
					     !resembles_table(c, pfn, level)))) {
		check_found(c, rule, off, "frame %#lx as a level %u table, it is a data frame", pfn,
			    level);
		return 0;
	}
	*enter = !*known;
	c->summary->tables += *enter;
	*known = (uint8_t)level;
	ref_add(g, pfn);
	return 0;
}

/* ---- the walk ------------------------------------------------------------------------------- */

/* Look at an entry of a table.  *below: out, a table to enter, or untouched. */
static int look(struct check *c, uint64_t off, uint64_t entry, unsigned level,
		const struct place *in, struct place *below, bool *enter)
{
	const char *wrong = entry_wrong(entry, level);

	*enter = false;
	if (!wrong && entry & (ENTRY_COW | ENTRY_SHARED | ENTRY_KIND) &&
	    !(word_load(&c->sb->features) & SB_FEATURE_SPACES))
		check_found(
			c, "superblock", region_off(c->rg, &c->sb->features),
			"features %#lx, expected %#x: entry %#lx at offset %#lx makes use of it",
			word_load(&c->sb->features), SB_FEATURE_SPACES, entry, off);
	if (wrong)
		check_found(c, "entry", off, "entry %#lx at level %u %s", entry, level, wrong);
	if (level == 4)
		entry &= ~ENTRY_PS; /* said; what it links is still there */
	if (entry_is_table(entry, level)) {
		*below = (struct place){ .pfn = entry_pfn(entry),
					 .link = off,
					 .own = in->own &&
						(entry & (ENTRY_W | ENTRY_SHARED)) == ENTRY_W,
					 .segment = entry & ENTRY_SHARED,
					 .wx = check_wx_link(c, &in->wx, off, entry, level) };
		if (below->own && check_frame_usable(c, entry_pfn(entry)))
			check_own(c, off, entry, entry_pfn(entry));
		return link_table(c, "entry", off, entry_pfn(entry), level - 1, enter);
	}
	check_wx_page(c, &in->wx, off, entry);
	if (entry_is_reservation(entry) && entry_kind(entry) == KIND_SWAP)
		check_swap_entry(c, off, entry, level);
	if (!entry_is_leaf(entry, level))
		return 0;
	if (level > 1 && (entry_pfn(entry) & ((level_bytes(level) >> FRAME_SHIFT) - 1)))
		return 0; /* said; which frames it means is unknown */
	return leaf(c, off, entry, level, in);
}

/* How far the walk is: spaces, and in each the part of the address space behind it. */
static void walked(struct check *c, uint32_t record, const struct place at[5])
{
	uint64_t part = (((uint64_t)at[4].next - 1) * FRAME_WORDS + at[3].next) * 700 >> 18;

	check_progress(c, (unsigned)((record * 700 + part) / c->sb->n_spaces));
}

static int walk(struct check *c, uint32_t record, uint64_t link, uint64_t root, uint64_t state)
{
	struct place at[5] = { [4] = { .pfn = root,
				       .link = link,
				       .own = true,
				       .wx = { .policy = state & RECORD_WX,
					       .names = state & RECORD_SEGMENT,
					       .may = WX_BOTH } } };
	unsigned level = 4;

	while (level <= 4) {
		struct place *p = &at[level];
		uint64_t off = (p->pfn << FRAME_SHIFT) + 8 * (uint64_t)p->next, entry;
		bool enter;
		int rc;

		if (p->next == FRAME_WORDS) {
			if (!p->used && level < 4 && !p->segment)
				check_found(c, "entry", p->link, "the table in frame %#lx is empty",
					    p->pfn);
			level++;
			continue;
		}
		p->next++;
		entry = word_load(region_at(c->rg, off));
		if (!entry)
			continue;
		p->used = true;
		rc = look(c, off, entry, level, p, &at[level - 1], &enter);
		if (rc)
			return rc;
		level -= enter;
		if (enter && level == 2)
			walked(c, record, at);
	}
	return 0;
}

/* ---- the directory -------------------------------------------------------------------------- */

/* Length of the UTF-8 character at s, or 0: none, or a control character. */
static size_t utf8(const unsigned char *s)
{
	static const uint32_t least[5] = { 0, 0x20, 0xa0, 0x800, 0x10000 };
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);

	if ((s[0] >= 0x80 && s[0] < 0xc0) || s[0] >= 0xf8 || s[0] == 0x7f)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 2) /* the NUL behind the name ends it too */
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c >= least[n] && c <= 0x10ffff && c >> 11 != 0x1b ? n : 0;
}

struct record {
	uint64_t state, root, name[8];
};

static void read_record(const struct space_record *home, struct record *r)
{
	r->state = word_load(&home->state);
	r->root = word_load(&home->root);
	for (unsigned i = 0; i < 8; i++)
		r->name[i] = word_load(&home->name[i]);
}

static void check_name(struct check *c, uint64_t off, const struct record *r)
{
	char name[sizeof(r->name) + 4] = { 0 };
	const unsigned char *s = (const unsigned char *)name;
	size_t len, i = 0, n;

	memcpy(name, r->name, sizeof(r->name));
	len = strnlen(name, sizeof(name));
	for (n = 1; i < len && n; i += n)
		n = utf8(s + i);
	if (len == 0 && (r->state & 0xff) == SPACE_LIVE)
		check_found(c, "space", off, "the space has no name");
	else if (len && (r->state & 0xff) != SPACE_LIVE)
		check_found(c, "space", off,
			    "the name of a space that is not there, expected none");
	else if (len > PMPT_NAME_MAX)
		check_found(c, "space", off, "name of %zu bytes, expected at most %u", len,
			    PMPT_NAME_MAX);
	else if (!n)
		check_found(c, "space", off, "the name is not UTF-8 before byte %zu", i);
	for (i = len; i < sizeof(r->name) && !name[i]; i++)
		;
	if (i < sizeof(r->name))
		check_found(c, "space", off, "byte %zu behind the name is %#x, expected 0", i,
			    s[i]);
}

/* A live record of the same name before this one. */
static void check_unique(struct check *c, uint32_t index, uint64_t off, const struct record *r)
{
	const struct space_record *home = region_at(c->rg, c->sb->directory);

	for (uint32_t i = 0; i < index; i++) {
		struct record other;

		read_record(&home[i], &other);
		if ((other.state & 0xff) == SPACE_LIVE &&
		    !((other.state ^ r->state) & RECORD_KINDS) &&
		    !memcmp(other.name, r->name, sizeof(r->name)))
			check_found(c, "space", off, "record %u has the name of record %u", index,
				    i);
	}
}

static int check_record(struct check *c, uint32_t index)
{
	const struct space_record *home =
		(const struct space_record *)region_at(c->rg, c->sb->directory) + index;
	uint64_t root_off = region_off(c->rg, &home->root),
		 name_off = region_off(c->rg, home->name);
	struct record r;
	bool enter = false;
	int rc;

	read_record(home, &r);
	for (unsigned i = 0; i < sizeof(home->reserved) / sizeof(home->reserved[0]); i++) {
		if (word_load(&home->reserved[i]))
			check_found(c, "space", region_off(c->rg, &home->reserved[i]),
				    "reserved word is %#lx, expected 0",
				    word_load(&home->reserved[i]));
	}
	if (r.state & RECORD_SWAP && check_swap_record(c, index))
		return 0;
	if ((r.state & 0xff) > SPACE_DELETING || r.state & ~(uint64_t)(0xff | RECORD_FLAGS)) {
		check_found(c, "space", region_off(c->rg, &home->state),
			    "state %#lx, expected 0 to 2 and flags %#x", r.state, RECORD_FLAGS);
		if ((r.state & 0xff) > SPACE_DELETING)
			return 0;
	}
	if (r.state & RECORD_WX && !(word_load(&c->sb->features) & SB_FEATURE_WX))
		check_found(c, "superblock", region_off(c->rg, &c->sb->features),
			    "features %#lx, expected %#x: record %u makes use of it",
			    word_load(&c->sb->features), SB_FEATURE_WX, index);
	check_name(c, name_off, &r);
	if ((r.state & 0xff) == SPACE_FREE) {
		if (r.root)
			check_found(c, "space", root_off, "free record with root %#lx", r.root);
		return 0;
	}
	if ((r.state & 0xff) == SPACE_LIVE) {
		c->summary->spaces += !(r.state & RECORD_KINDS);
		check_unique(c, index, name_off, &r);
	}
	if (r.root & ~ENTRY_PFN)
		check_found(c, "space", root_off, "root %#lx, expected a frame's offset", r.root);
	rc = link_table(c, "space", root_off, entry_pfn(r.root), 4, &enter);
	return rc || !enter ? rc : walk(c, index, root_off, entry_pfn(r.root), r.state);
}

/* ---- counts --------------------------------------------------------------------------------- */

static const char *use_name(uint64_t refs, unsigned level)
{
	return level == CHECK_AREA ? "the swap area"
	       : level             ? "a table"
	       : refs              ? "data"
				   : "nothing";
}

/* A descriptor by its own bits, and its kind by what the frame is used as. */
static void check_kind(struct check *c, uint64_t off, uint64_t desc, uint64_t refs, unsigned level)
{
	enum desc_kind kind = desc_kind(desc), expected = level == CHECK_AREA ? DESC_RESERVED
							  : level             ? DESC_TABLE
									      : DESC_DATA;

	if (desc & DESC_ZERO || (desc & DESC_ALIASED && kind != DESC_DATA) ||
	    !check_wx_desc(c, desc, level))
		check_found(c, "descriptor", off,
			    "descriptor %#lx has bits that format 1 leaves zero", desc);
	else if (!desc_count(desc) && kind != DESC_NONE && kind != DESC_TABLE)
		check_found(c, "descriptor", off, "descriptor %#lx of a free frame has kind %u",
			    desc, kind);
	else if (desc_count(desc) &&
		 (refs ? kind != expected : kind != DESC_TABLE && kind != DESC_DATA))
		check_found(c, "descriptor", off,
			    "descriptor %#lx has kind %u, the frame is used as %s", desc, kind,
			    use_name(refs, level));
}

static void check_frame(struct check *c, uint64_t off, uint64_t pfn, uint64_t desc)
{
	const struct check_group *g = c->group[pfn >> 9];
	uint64_t refs = g ? g->refs[pfn % GROUP_FRAMES] : 0, count = desc_count(desc);
	unsigned level = g ? g->level[pfn % GROUP_FRAMES] : 0;

	c->summary->free_frames += !count;
	c->summary->data_frames += count && desc_kind(desc) == DESC_DATA;
	check_kind(c, off, desc, refs, level);
	if (count && !refs)
		check_found(c, "F3", off, "frame %#lx has count %lu, nothing refers to it", pfn,
			    count);
	else if (!count && refs)
		check_found(c, "F3", off, "frame %#lx is free, %lu entries use it as %s", pfn, refs,
			    use_name(refs, level));
	else if (count != refs)
		check_found(c, "F4", off, "frame %#lx has count %lu, expected %lu", pfn, count,
			    refs);
}

static void check_descriptors(struct check *c, const struct extent *e)
{
	uint64_t off = extent_desc_off(e, e->first);
	uint64_t words = extent_desc_frames(e->frames) * FRAME_WORDS;

	for (uint64_t i = 0; i < words; i++, off += sizeof(uint64_t)) {
		uint64_t desc = word_load(region_at(c->rg, off));

		if (i >= e->reserved && i < e->frames)
			check_frame(c, off, e->first + i, desc);
		else if (desc != (i < e->frames ? desc_make(DESC_RESERVED, 1) : 0))
			check_found(c, "descriptor", off, "descriptor %#lx, expected %#lx: %s",
				    desc, i < e->frames ? desc_make(DESC_RESERVED, 1) : 0,
				    i < e->frames ? "the frame is reserved"
						  : "there is no such frame");
	}
}

static bool has_policy(const struct check *c, uint32_t index)
{
	const struct space_record *home = region_at(c->rg, c->sb->directory);

	return word_load(&home[index].state) & RECORD_WX;
}

int check_tree(struct check *c)
{
	int rc = 0;

	c->n_groups = (c->rg->bytes >> GROUP_SHIFT) + 1;
	c->group = mem_zalloc(c->mem, c->n_groups * sizeof(struct check_group *));
	if (!c->group)
		return error_set(-ENOMEM, "no memory for %zu groups", c->n_groups);
	rc = check_swap_begin(c);
	/* those with the policy first: each table is entered once, by the strictest way to it */
	for (unsigned policy = 2; policy-- > 0;) {
		for (uint32_t i = 0; i < c->sb->n_spaces && !rc; i++) {
			if (has_policy(c, i) == policy)
				rc = check_record(c, i);
		}
	}
	for (size_t i = 0; i < c->extents.n && !rc; i++) {
		check_descriptors(c, &c->extents.extent[i]);
		check_progress(c, (unsigned)(700 + 300 * (i + 1) / c->extents.n));
	}
	check_swap_counts(c);
	for (size_t i = 0; i < c->n_groups; i++)
		mem_free(c->mem, c->group[i], sizeof(**c->group));
	mem_free(c->mem, c->group, c->n_groups * sizeof(struct check_group *));
	return rc;
}
