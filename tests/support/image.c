/* SPDX-License-Identifier: BSD-3-Clause */
/* image -- see image.h. */
#include "image.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "extent.h"

#define EXTENT_1 ((uint64_t)8 << 20)

static const struct region_shape shape = { .n_lanes = 2,
					   .half_lines = 16,
					   .bulk_lines = 16,
					   .n_spaces = 8,
					   .uuid = { 1, 2, 3 },
					   .salt = IMAGE_SALT };

uint64_t image_entry(uint64_t pfn, unsigned index)
{
	return (pfn << FRAME_SHIFT) + 8 * (uint64_t)index;
}

uint64_t image_desc(const struct image *im, uint64_t pfn)
{
	const struct extent_head *head = region_extent(&im->rg, pfn >= EXTENT_1 >> FRAME_SHIFT);

	return extent_desc_off(&(struct extent){ head->first, head->frames, head->reserved_frames },
			       pfn);
}

uint64_t image_line(const struct image *im, unsigned lane, unsigned slot)
{
	return im->sb->lanes + (2 * (uint64_t)lane * shape.half_lines + slot) * LINE_BYTES;
}

uint64_t image_bulk(const struct image *im, unsigned slot)
{
	return im->sb->bulk + (uint64_t)slot * LINE_BYTES;
}

void image_poke(struct image *im, uint64_t off, uint64_t value)
{
	atomic_store(image_word(im, off), value);
}

void image_log(struct image *im, uint64_t off, uint64_t lsn, unsigned flags, unsigned count,
	       const struct line_word word[2])
{
	struct line *line = region_at(&im->rg, off);

	memset(line, 0, sizeof(*line));
	line->lsn = lsn;
	line->kind = LINE_WORDS;
	line->flags = (uint8_t)flags;
	line->count = (uint16_t)count;
	memcpy(line->word, word, sizeof(line->word));
	line->crc = line_crc(wal_crc_seed(im->sb->salt), line, off);
}

void image_seal(struct image *im) { im->sb->crc = crc32c(~0u, im->sb, offsetof(struct sb, crc)); }

uint64_t image_hash(const struct image *im)
{
	const uint64_t *word = (const uint64_t *)(const void *)im->rg.base;
	uint64_t hash = 1;

	for (uint64_t i = 0; i < im->rg.bytes / 8; i++)
		hash = (hash ^ word[i]) * 0x9e3779b97f4a7c15u;
	return hash;
}

/* ---- making one ----------------------------------------------------------------------------- */

static void map_buffer(struct image *im)
{
	char *map = mmap(NULL, IMAGE_BYTES + 2 * FRAME_BYTES, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || mprotect(map + FRAME_BYTES, IMAGE_BYTES, PROT_READ | PROT_WRITE))
		abort();
	im->rg = (struct region){ .base = map + FRAME_BYTES,
				  .bytes = IMAGE_BYTES,
				  .sb_off = FRAME_BYTES };
	pm_medium_init(&im->rg.medium, im->rg.base, im->rg.bytes, PM_CACHE_LINE);
	im->sb = region_sb(&im->rg);
}

void image_free(struct image *im)
{
	if (im->rg.base)
		(void)munmap(im->rg.base - FRAME_BYTES, IMAGE_BYTES + 2 * FRAME_BYTES);
	im->rg.base = NULL;
}

/* The second extent ends 8 frames before the region, so that descriptors of no frame are there. */
static void format(struct image *im)
{
	uint64_t frames;
	struct pm pm;

	pm_init(&pm, &im->rg.medium);
	atomic_store(&im->sb->extent[0].off, (uint64_t)32 << 10);
	atomic_store(&im->sb->extent[1].off, EXTENT_1);
	if (region_format(&im->rg, &shape, EXTENT_1 - ((uint64_t)32 << 10)) ||
	    region_format_extent(&im->rg, &pm, &shape, 1, EXTENT_1,
				 IMAGE_BYTES - EXTENT_1 - 8 * FRAME_BYTES, &frames))
		abort();
	atomic_store(&im->sb->n_extents, 2);
	atomic_store(&im->sb->checkpoint_lsn, IMAGE_CHECKPOINT);
	atomic_store(&im->sb->lsn_limit, IMAGE_LIMIT);
	im->record = region_at(&im->rg, im->sb->directory);
	im->next = region_extent(&im->rg, 0)->first + region_extent(&im->rg, 0)->reserved_frames;
}

static uint64_t frame(struct image *im, enum desc_kind kind)
{
	image_poke(im, image_desc(im, im->next), desc_make(kind, 1));
	return im->next++;
}

/* Tables of levels 4 to 1 over the address whose indices are all `index`; table[4] is there already
 * or 0. */
static void branch(struct image *im, uint64_t table[5], unsigned index)
{
	for (unsigned level = 4; level > 0; level--) {
		if (level < 4 || !table[4])
			table[level] = frame(im, DESC_TABLE);
		if (level < 4)
			image_poke(im, image_entry(table[level + 1], index),
				   table[level] << FRAME_SHIFT | ENTRY_LINK);
	}
}

static void space(struct image *im, unsigned i, uint64_t state, uint64_t root, const char *name)
{
	uint64_t word[8] = { 0 };

	memcpy(word, name, strlen(name));
	atomic_store(&im->record[i].state, state);
	atomic_store(&im->record[i].root, root << FRAME_SHIFT);
	for (unsigned k = 0; k < 8; k++)
		atomic_store(&im->record[i].name[k], word[k]);
}

static void leaves(struct image *im)
{
	const uint64_t attributes =
		ENTRY_P | ENTRY_W | ENTRY_NX | ENTRY_A | ENTRY_D | (uint64_t)5 << ENTRY_TAG_SHIFT;

	for (unsigned i = 0; i < 10; i++) {
		uint64_t pfn = frame(im, DESC_DATA);

		im->data = i ? im->data : pfn;
		image_poke(im, image_entry(im->a[1], i), pfn << FRAME_SHIFT | attributes);
	}
	im->shared = frame(im, DESC_DATA);
	image_poke(im, image_desc(im, im->shared), desc_make(DESC_DATA, 2) | DESC_ALIASED);
	image_poke(im, image_entry(im->a[1], 10), im->shared << FRAME_SHIFT | attributes);
	image_poke(im, image_entry(im->c[1], 0), im->shared << FRAME_SHIFT | ENTRY_P);
	image_poke(im, image_entry(im->b[1], 511),
		   frame(im, DESC_DATA) << FRAME_SHIFT | ENTRY_P | ENTRY_U);

	im->huge = (im->next + 511) & ~(uint64_t)511;
	im->next = im->huge;
	for (unsigned i = 0; i < 512; i++)
		(void)frame(im, DESC_DATA);
	image_poke(im, image_entry(im->a[2], 1), im->huge << FRAME_SHIFT | attributes | ENTRY_PS);

	image_poke(im, image_entry(im->a[1], 20),
		   (uint64_t)0xabcdef << FRAME_SHIFT | ENTRY_P | ENTRY_EXT);
	image_poke(im, image_entry(im->a[2], 2),
		   (uint64_t)3 << 21 | ENTRY_P | ENTRY_EXT | ENTRY_PS);
	image_poke(im, image_entry(im->a[3], 1),
		   (uint64_t)7 << 30 | ENTRY_P | ENTRY_EXT | ENTRY_PS | ENTRY_G);
}

/* Dead, then live transactions, each storing what is there; an ended one in the bulk lane. */
static void log_lines(struct image *im)
{
	uint64_t entry = image_entry(im->a[1], 0), value = atomic_load(image_word(im, entry));
	uint64_t desc = image_desc(im, im->data), count = atomic_load(image_word(im, desc));
	const struct line_word word[2] = { { entry | WHERE_ENTRY, 0, value },
					   { desc | WHERE_DESC, 0, count } };

	image_log(im, image_line(im, 0, 0), 3, 0, 0, word);
	image_log(im, image_line(im, 0, 1), 4, LINE_LAST, 2, word);
	image_log(im, image_line(im, 0, 2), 11, LINE_LAST, 1, word);
	image_log(im, image_line(im, 0, 3), 12, 0, 0, word);
	image_log(im, image_line(im, 0, 4), 13, LINE_LAST, 2, word);
	image_log(im, image_line(im, 0, 5), 15, LINE_LAST, 1, word);
	image_log(im, image_line(im, 1, 0), 14, LINE_LAST, 1, word);
	image_log(im, image_line(im, 1, 1), 2, LINE_LAST, 1, word);
	image_log(im, image_bulk(im, 0), 5, LINE_UNDO, 0, word);
	image_log(im, image_bulk(im, 1), 6, LINE_UNDO | LINE_LAST, 0, word);
}

void image_make(struct image *im)
{
	*im = (struct image){ 0 };
	map_buffer(im);
	format(im);
	branch(im, im->a, 0);
	im->b[4] = im->a[4];
	branch(im, im->b, 511);
	branch(im, im->c, 0);
	im->deleted = frame(im, DESC_TABLE);
	im->freed = frame(im, DESC_TABLE);
	image_poke(im, image_desc(im, im->freed), desc_make(DESC_TABLE, 0));
	leaves(im);
	space(im, 0, SPACE_LIVE, im->a[4], "alpha");
	space(im, 1, SPACE_LIVE, im->c[4], "b\xc3\xa9ta");
	space(im, 2, SPACE_DELETING, im->deleted, "");
	atomic_store(&im->record[0].user[3], ~(uint64_t)0);
	log_lines(im);
}
