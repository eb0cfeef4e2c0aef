/* SPDX-License-Identifier: BSD-3-Clause */
/* check_policy -- the verifier's part about W^X [policy.h P1, P2, P3]. */
#include "check.h"

static const char *name(unsigned may)
{
	static const char *const text[] = { "untracked", "writable", "executable",
					    "writable and executable" };

	return text[may & WX_BOTH];
}

/* What is mapped so does not go with its state. */
static void check_state(struct check *c, const struct check_wx *wx, uint64_t off, uint64_t entry,
			uint64_t pfn, unsigned may, unsigned state)
{
	if (state && may & ~state)
		check_found(c, "WX", off,
			    "entry %#lx makes frame %#lx %s, whose descriptor says %s", entry, pfn,
			    name(may), name(state));
	else if (wx->policy && may && may != WX_BOTH && state != may)
		check_found(
			c, "WX", off,
			"entry %#lx of a space with the policy makes frame %#lx %s, its descriptor says %s",
			entry, pfn, name(may), name(state));
}

static void check_both(struct check *c, const struct check_wx *wx, uint64_t off, uint64_t entry,
		       unsigned may)
{
	if (wx->policy && may == WX_BOTH)
		check_found(
			c, "WX", off,
			"entry %#lx is writable and executable, the policy of its space forbids it",
			entry);
}

struct check_wx check_wx_link(struct check *c, const struct check_wx *wx, uint64_t off,
			      uint64_t entry, unsigned level)
{
	struct check_wx below = *wx;
	uint64_t pfn = entry_pfn(entry);

	below.may = wx->may & entry_wx(entry);
	if (level != 2 || !(entry & ENTRY_SHARED))
		return below;
	below.segment = true;
	below.state = check_frame_usable(c, pfn) ? desc_state(check_descriptor(c, pfn)) : 0;
	if (wx->names)
		return below;
	check_both(c, wx, off, entry, below.may);
	check_state(c, wx, off, entry, pfn, below.may, below.state);
	return below;
}

void check_wx_page(struct check *c, const struct check_wx *wx, uint64_t off, uint64_t entry)
{
	if (!wx->segment) /* the links to a segment's table restrict, and are checked */
		check_both(c, wx, off, entry, wx->may & entry_wx(entry));
}

void check_wx_frame(struct check *c, const struct check_wx *wx, uint64_t off, uint64_t entry,
		    uint64_t pfn)
{
	unsigned state = desc_state(check_descriptor(c, pfn));

	if (!wx->segment)
		check_state(c, wx, off, entry, pfn, wx->may & entry_wx(entry), state);
	else if (state != wx->state)
		check_found(c, "WX", off,
			    "entry %#lx maps frame %#lx, %s, in a segment's table, which is %s",
			    entry, pfn, name(state), name(wx->state));
}

bool check_wx_desc(const struct check *c, uint64_t desc, unsigned level)
{
	if (!(desc & DESC_WX))
		return true;
	return word_load(&c->sb->features) & SB_FEATURE_WX && desc_count(desc) &&
	       desc_state(desc) != WX_BOTH &&
	       (desc_kind(desc) == DESC_DATA || (desc_kind(desc) == DESC_TABLE && level == 1));
}
