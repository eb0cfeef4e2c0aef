/* SPDX-License-Identifier: BSD-3-Clause */
/* check_swap -- the verifier's look at the swap tier: its record, its area, its entries, and whether
 * every slot's count is what was reached.  The file is not looked at: a page that is damaged there is
 * found when it is read. */
#include "check.h"
#include "error.h"

static const struct space_record *record(const struct check *c, uint32_t index)
{
	return (const struct space_record *)region_at(c->rg, c->sb->directory) + index;
}

int check_swap_begin(struct check *c)
{
	uint64_t pfn, end;

	swap_area_find(c->rg, &c->extents, &c->swap);
	if (!c->swap.off)
		return 0;
	c->slot_refs = mem_zalloc(c->mem, c->swap.slots * sizeof(*c->slot_refs));
	if (!c->slot_refs)
		return error_set(-ENOMEM, "no memory for %lu slots", c->swap.slots);
	pfn = c->swap.off >> FRAME_SHIFT;
	for (end = pfn + swap_area_frames(c->swap.slots); pfn < end; pfn++) {
		struct check_group *g = check_group(c, pfn);

		if (!g)
			return -ENOMEM;
		g->level[pfn % GROUP_FRAMES] = CHECK_AREA;
		g->refs[pfn % GROUP_FRAMES] = 1;
	}
	return 0;
}

void check_swap_entry(struct check *c, uint64_t off, uint64_t entry, unsigned level)
{
	uint64_t slot = entry_pfn(entry) - SLOT_FIRST;

	if (level != 1 || entry & (ENTRY_AD | ENTRY_PS | ENTRY_EXT | ENTRY_SHARED) ||
	    (entry & (ENTRY_W | ENTRY_COW)) == (ENTRY_W | ENTRY_COW))
		check_found(c, "entry", off,
			    "entry %#lx at level %u of a page in the swap file has other bits",
			    entry, level);
	else if (!c->slot_refs || slot >= c->swap.slots)
		check_found(c, "entry", off,
			    "entry %#lx names slot %#lx of the swap file, expected below %#lx",
			    entry, slot, c->slot_refs ? c->swap.slots : 0);
	else
		c->slot_refs[slot] += c->slot_refs[slot] != UINT32_MAX;
}

/* Words of a record that is no space's are 0 but for those of the tier. */
static void check_words(struct check *c, const struct space_record *r,
			const struct swap_area_head *head)
{
	for (unsigned i = 0; i < PMPT_USER_WORDS; i++) {
		uint64_t expected = i == 0 ? head->slots : i == 1 ? head->id : 0;

		if (word_load(&r->user[i]) != expected)
			check_found(c, "swap", region_off(c->rg, &r->user[i]),
				    "word %u of the swap tier's record is %#lx, expected %#lx", i,
				    word_load(&r->user[i]), expected);
	}
	for (unsigned i = 0; i < sizeof(r->name) / sizeof(r->name[0]); i++) {
		if (word_load(&r->name[i]))
			check_found(c, "swap", region_off(c->rg, &r->name[i]),
				    "the swap tier's record has a name");
	}
}

bool check_swap_record(struct check *c, uint32_t index)
{
	const struct space_record *r = record(c, index);
	uint64_t off = region_off(c->rg, r);

	if (word_load(&r->state) != RECORD_IS_SWAP)
		return false;
	if (!(word_load(&c->sb->features) & SB_FEATURE_SWAP))
		check_found(c, "swap", off, "a swap tier, and the superblock does not say so");
	else if (c->swap.off && c->swap.record != index)
		check_found(c, "swap", off, "a second swap tier, record %u has one",
			    c->swap.record);
	else if (swap_area_check(c->rg, &c->extents, word_load(&r->root)))
		check_found(c, "swap", region_off(c->rg, &r->root), "%s", pmpt_errormsg());
	else
		check_words(c, r, region_at(c->rg, c->swap.off));
	return true;
}

static void check_slot(struct check *c, uint64_t slot)
{
	uint64_t off = swap_area_descs(&c->swap) + slot * sizeof(pm_word),
		 desc = word_load(region_at(c->rg, off)), count = desc_count(desc),
		 refs = c->slot_refs[slot];

	if (desc && (desc_kind(desc) != DESC_SLOT || desc & (DESC_WX | DESC_ALIASED)))
		check_found(c, "descriptor", off, "descriptor %#lx of slot %lu, expected kind %u",
			    desc, slot, DESC_SLOT);
	if (count && !refs)
		check_found(c, "F3", off, "slot %lu has count %lu, nothing refers to it", slot,
			    count);
	else if (!count && refs)
		check_found(c, "F3", off, "slot %lu is free, %lu entries refer to it", slot, refs);
	else if (count != refs)
		check_found(c, "F4", off, "slot %lu has count %lu, expected %lu", slot, count,
			    refs);
}

void check_swap_counts(struct check *c)
{
	uint64_t end, off;

	if (!c->slot_refs)
		return;
	for (uint64_t i = 0; i < c->swap.slots; i++)
		check_slot(c, i);
	off = swap_area_end(&c->swap);
	end = c->swap.off + swap_area_frames(c->swap.slots) * FRAME_BYTES;
	for (; off < end; off += sizeof(pm_word)) {
		if (word_load(region_at(c->rg, off)))
			check_found(c, "descriptor", off,
				    "descriptor %#lx, expected 0: there is no such slot",
				    word_load(region_at(c->rg, off)));
	}
	mem_free(c->mem, c->slot_refs, c->swap.slots * sizeof(*c->slot_refs));
	c->slot_refs = NULL;
}
