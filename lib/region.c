/* SPDX-License-Identifier: BSD-3-Clause */
/* region -- see region.h: formatting and checking the superblock and the extents. */
#include "region.h"

#include <string.h>

#include "error.h"
#include "extent.h"

int crc32c_check(void)
{
	return __builtin_cpu_supports("sse4.2")
		       ? 0
		       : error_set(
				 PMPT_E_CPU,
				 "this processor lacks SSE4.2, whose crc32 instruction the log needs");
}

__attribute__((target("sse4.2"))) uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t word;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&word, p, 8);
		crc = (uint32_t)__builtin_ia32_crc32di(crc, word);
	}
	for (; len; len--, p++)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}

/* ---- format ---------------------------------------------------------------------------------- */

static uint64_t frames_of(uint64_t bytes) { return (bytes + FRAME_BYTES - 1) / FRAME_BYTES; }

/* Frames of directory, redo lanes and bulk lane. */
static uint64_t directory_frames(const struct region_shape *s)
{
	return frames_of(s->n_spaces * sizeof(struct space_record));
}
static uint64_t lanes_frames(const struct region_shape *s)
{
	return frames_of(2ull * s->n_lanes * s->half_lines * LINE_BYTES);
}
static uint64_t bulk_frames(const struct region_shape *s)
{
	return frames_of((uint64_t)s->bulk_lines * LINE_BYTES);
}

uint64_t region_reserved_frames(const struct region_shape *shape, uint64_t index, uint64_t frames)
{
	uint64_t n = 1 + extent_desc_frames(frames);

	return index ? n : n + directory_frames(shape) + lanes_frames(shape) + bulk_frames(shape);
}

/* Reserved frames count once; all others are free. */
static void format_descriptors(struct region *rg, struct pm *pm, const struct extent *e)
{
	pm_word *desc = region_at(rg, extent_desc_off(e, e->first));

	pm_stream_zero(pm, desc, extent_desc_frames(e->frames) * (FRAME_BYTES / LINE_BYTES));
	/* order: zeros before the stores over them, on the same lines; a failure shows at the
	 * next fence */
	(void)pm_fence(pm);
	for (uint64_t i = 0; i < e->reserved; i++)
		pm_store(pm, &desc[i], desc_make(DESC_RESERVED, 1));
	pm_flush(pm, desc, e->reserved * sizeof(*desc));
}

int region_format_extent(struct region *rg, struct pm *pm, const struct region_shape *shape,
			 uint64_t index, uint64_t off, uint64_t bytes, uint64_t *frames)
{
	uint64_t start = (off + GROUP_BYTES - 1) / GROUP_BYTES * GROUP_BYTES;
	struct extent e = { .first = start >> FRAME_SHIFT };
	_Alignas(LINE_BYTES) struct extent_head head = { .magic = EXTENT_MAGIC };

	if (!region_has(rg, off, bytes) || start - off >= bytes ||
	    (bytes - (start - off)) / FRAME_BYTES < 2)
		return error_set(PMPT_E_NO_FRAMES, "extent of %#lx bytes at %#lx is too small",
				 bytes, off);
	e.frames = (bytes - (start - off)) / FRAME_BYTES;
	e.reserved = region_reserved_frames(shape, index, e.frames);
	if (e.reserved >= e.frames)
		return error_set(
			PMPT_E_NO_FRAMES,
			"extent of %lu frames needs %lu for log, directory and descriptors",
			e.frames, e.reserved);
	format_descriptors(rg, pm, &e);
	head.first = e.first;
	head.frames = e.frames;
	head.reserved_frames = e.reserved;
	head.index = index;
	head.salt = shape->salt;
	head.crc = crc32c(~0u, &head, offsetof(struct extent_head, crc));
	pm_stream(pm, region_at(rg, start), &head, FRAME_BYTES / LINE_BYTES);
	*frames = e.frames;
	/* durability: header and descriptors before anything says that the extent is in use */
	return pm_fence(pm);
}

static void format_zero(struct region *rg, struct pm *pm, uint64_t off, uint64_t frames)
{
	pm_stream_zero(pm, region_at(rg, off), frames * (FRAME_BYTES / LINE_BYTES));
}

int region_format(struct region *rg, const struct region_shape *shape, uint64_t extent_bytes)
{
	struct sb *home = region_sb(rg);
	/* but for the extents, which are not ours to write */
	struct sb block = { 0 }, *sb = &block;
	struct pm pm;
	uint64_t frames, first, at;
	int rc;

	pm_init(&pm, &rg->medium);
	rc = region_format_extent(rg, &pm, shape, 0, word_load(&home->extent[0].off), extent_bytes,
				  &frames);
	if (rc)
		return rc;
	first = (word_load(&home->extent[0].off) + GROUP_BYTES - 1) / GROUP_BYTES * GROUP_BYTES;
	at = first + (1 + extent_desc_frames(frames)) * FRAME_BYTES;
	memcpy(sb->magic, SB_MAGIC, sizeof(sb->magic));
	sb->major = SB_MAJOR;
	memcpy(sb->uuid, shape->uuid, sizeof(sb->uuid));
	sb->salt = shape->salt;
	sb->pool_bytes = rg->bytes;
	sb->n_spaces = shape->n_spaces;
	sb->n_lanes = shape->n_lanes;
	sb->half_lines = shape->half_lines;
	sb->bulk_lines = shape->bulk_lines;
	sb->directory = at;
	sb->lanes = at += directory_frames(shape) * FRAME_BYTES;
	sb->bulk = at + lanes_frames(shape) * FRAME_BYTES;
	sb->crc = crc32c(~0u, sb, offsetof(struct sb, crc));
	atomic_init(&sb->lsn_limit, 1);
	atomic_init(&sb->n_extents, 1);
	atomic_init(&sb->features, SB_FEATURE_ALIASES);
	/* lanes are not zeroed: the salt makes what is there no lines */
	format_zero(rg, &pm, sb->directory, directory_frames(shape));
	/* durability: the directory before the superblock says that this is a pool */
	rc = pm_fence(&pm);
	if (rc)
		return rc;
	pm_stream(&pm, (char *)home + LINE_BYTES, (char *)sb + LINE_BYTES,
		  offsetof(struct sb, extent) / LINE_BYTES - 1);
	rc = pm_fence(&pm); /* order: the first line, with the magic, comes last */
	if (rc)
		return rc;
	pm_stream(&pm, home, sb, 1);
	return pm_fence(&pm); /* durability: it is a pool */
}

/* ---- check ----------------------------------------------------------------------------------- */

struct extent_head *region_extent(const struct region *rg, uint64_t index)
{
	uint64_t off = word_load(&region_sb(rg)->extent[index].off);

	return region_at(rg, (off + GROUP_BYTES - 1) / GROUP_BYTES * GROUP_BYTES);
}

static bool all_zero(const void *data, size_t len)
{
	const unsigned char *p = data;

	/* each byte is as the one before it */
	return len == 0 || (!*p && !memcmp(p, p + 1, len - 1));
}

int region_check_extent(const struct region *rg, uint64_t index, struct extent_head **out)
{
	const struct sb *sb = region_sb(rg);
	uint64_t off = word_load(&sb->extent[index].off), start;
	struct extent_head *head;

	if (off == 0 || off > rg->bytes || rg->bytes - off < GROUP_BYTES)
		return error_set(
			PMPT_E_CORRUPT,
			"superblock at offset %#lx: extent %lu at %#lx, expected inside the pool of %#lx bytes",
			rg->sb_off, index, off, rg->bytes);
	start = (off + GROUP_BYTES - 1) / GROUP_BYTES * GROUP_BYTES;
	if (!region_has(rg, start, FRAME_BYTES))
		return error_set(PMPT_E_CORRUPT, "extent %lu at %#lx begins outside the pool",
				 index, off);
	head = region_at(rg, start);
	if (head->magic != EXTENT_MAGIC ||
	    head->crc != crc32c(~0u, head, offsetof(struct extent_head, crc)))
		return error_set(
			PMPT_E_CORRUPT,
			"extent header at offset %#lx: magic %#lx, crc %#x, expected magic %#lx, crc %#x",
			start, head->magic, head->crc, (uint64_t)EXTENT_MAGIC,
			crc32c(~0u, head, offsetof(struct extent_head, crc)));
	if (head->salt != sb->salt || head->index != index || head->first != start >> FRAME_SHIFT ||
	    head->reserved || !all_zero(head->zero, sizeof(head->zero)))
		return error_set(
			PMPT_E_CORRUPT,
			"extent header at offset %#lx: index %lu, first frame %#lx, expected %lu, %#lx, this pool's salt and zeros",
			start, head->index, head->first, index, start >> FRAME_SHIFT);
	if (head->frames < 2 || head->frames > (rg->bytes - start) / FRAME_BYTES ||
	    head->reserved_frames >= head->frames ||
	    head->reserved_frames < 1 + extent_desc_frames(head->frames))
		return error_set(
			PMPT_E_CORRUPT,
			"extent header at offset %#lx: %lu frames, %lu reserved, in %lu bytes",
			start, head->frames, head->reserved_frames, rg->bytes - start);
	*out = head;
	return 0;
}

static int sb_bad(const struct region *rg, size_t field, const char *what, uint64_t found,
		  uint64_t expected)
{
	return error_set(PMPT_E_CORRUPT, "superblock at offset %#lx: %s %#lx, expected %#lx",
			 rg->sb_off + field, what, found, expected);
}

/* Directory and log lie where extent 0 has room for them, in the order of region_format. */
static int check_shape(const struct region *rg)
{
	const struct sb *sb = region_sb(rg);
	struct region_shape shape = { .n_lanes = sb->n_lanes,
				      .half_lines = sb->half_lines,
				      .bulk_lines = sb->bulk_lines,
				      .n_spaces = sb->n_spaces };
	struct extent_head *head = NULL;
	uint64_t directory, lanes, bulk;
	int rc = region_check_extent(rg, 0, &head);

	if (rc)
		return rc;
	if (!sb->n_lanes || sb->n_lanes > PMPT_LANES_MAX || sb->half_lines < 4 ||
	    sb->half_lines > UINT16_MAX || sb->bulk_lines < 4 || sb->bulk_lines > 1u << 24 ||
	    !sb->n_spaces || sb->n_spaces > PMPT_SPACES_MAX)
		return error_set(
			PMPT_E_CORRUPT,
			"superblock at offset %#lx: %u lanes of 2 x %u lines, %u bulk lines, %u spaces",
			rg->sb_off, sb->n_lanes, sb->half_lines, sb->bulk_lines, sb->n_spaces);
	directory = (head->first + 1 + extent_desc_frames(head->frames)) << FRAME_SHIFT;
	lanes = directory + directory_frames(&shape) * FRAME_BYTES;
	bulk = lanes + lanes_frames(&shape) * FRAME_BYTES;
	if (sb->directory != directory)
		return sb_bad(rg, offsetof(struct sb, directory), "directory", sb->directory,
			      directory);
	if (sb->lanes != lanes)
		return sb_bad(rg, offsetof(struct sb, lanes), "lanes", sb->lanes, lanes);
	if (sb->bulk != bulk)
		return sb_bad(rg, offsetof(struct sb, bulk), "bulk lane", sb->bulk, bulk);
	if (head->reserved_frames != region_reserved_frames(&shape, 0, head->frames))
		return error_set(PMPT_E_CORRUPT,
				 "extent header at offset %#lx: %lu reserved frames, expected %lu",
				 head->first << FRAME_SHIFT, head->reserved_frames,
				 region_reserved_frames(&shape, 0, head->frames));
	return 0;
}

int region_check(const struct region *rg)
{
	const struct sb *sb = region_sb(rg);
	uint64_t n;

	if (!region_has(rg, rg->sb_off, sizeof(*sb)))
		return error_set(PMPT_E_NOT_POOL,
				 "no room for a superblock at offset %#lx in %#lx bytes",
				 rg->sb_off, rg->bytes);
	if (memcmp(sb->magic, SB_MAGIC, sizeof(sb->magic)))
		return error_set(PMPT_E_NOT_POOL, "no libpmpt superblock at offset %#lx",
				 rg->sb_off);
	if (sb->crc != crc32c(~0u, sb, offsetof(struct sb, crc)))
		return sb_bad(rg, offsetof(struct sb, crc), "crc", sb->crc,
			      crc32c(~0u, sb, offsetof(struct sb, crc)));
	if (sb->major != SB_MAJOR)
		return error_set(PMPT_E_VERSION,
				 "superblock at offset %#lx: format %u, this library knows %u",
				 rg->sb_off, sb->major, SB_MAJOR);
	if (sb->incompat & ~SB_INCOMPAT_KNOWN)
		return error_set(
			PMPT_E_VERSION,
			"superblock at offset %#lx: incompatible features %#x, this library knows %#x",
			rg->sb_off, sb->incompat, SB_INCOMPAT_KNOWN);
	if (sb->ro_compat & ~SB_RO_COMPAT_KNOWN)
		return error_set(
			PMPT_E_VERSION,
			"superblock at offset %#lx: features %#x that forbid writing, this library knows %#x",
			rg->sb_off, sb->ro_compat, SB_RO_COMPAT_KNOWN);
	if (word_load(&sb->features) & ~SB_FEATURES_KNOWN)
		return error_set(
			PMPT_E_VERSION,
			"superblock at offset %#lx: features %#lx are in use, this library knows %#lx",
			rg->sb_off + offsetof(struct sb, features), word_load(&sb->features),
			SB_FEATURES_KNOWN);
	if (sb->pool_bytes > rg->bytes)
		return error_set(PMPT_E_TRUNCATED,
				 "the file has %#lx bytes, its superblock says %#lx", rg->bytes,
				 sb->pool_bytes);
	if (!all_zero(sb->reserved0, sizeof(sb->reserved0)) ||
	    !all_zero(sb->reserved1, sizeof(sb->reserved1)) ||
	    !all_zero(sb->reserved2, sizeof(sb->reserved2)))
		return error_set(PMPT_E_CORRUPT,
				 "superblock at offset %#lx: reserved bytes are not zero",
				 rg->sb_off);
	n = word_load(&sb->n_extents);
	if (n < 1 || n > PMPT_EXTENTS_MAX)
		return sb_bad(rg, offsetof(struct sb, n_extents), "number of extents", n, 1);
	for (uint64_t i = 1; i < n; i++) {
		struct extent_head *head;
		int rc = region_check_extent(rg, i, &head);

		if (rc)
			return rc;
	}
	return check_shape(rg);
}
