/* SPDX-License-Identifier: BSD-3-Clause */
/* layout -- every structure on the medium: superblock, extent, space record, log line.
 *
 * FORMAT 1, little-endian; offsets are from the start of the pool, never pointers; reserved bytes
 * are zero.
 *   superblock	the root object of libpmemobj, 4 KiB + 16 bytes per extent,
 *		64-byte aligned						struct sb
 *   extent	objects of libpmemobj; inside, from the first 2 MiB boundary:
 *	frame 0		extent header					struct extent_head
 *	frames 1..k	descriptors, 8 bytes a frame, k = frames / 512
 *			rounded up					entry.h DESCRIPTOR
 *	extent 0 only:	directory of spaces (256 bytes each), redo lanes, bulk lane
 *	the rest	tables and data
 * SOURCES: design.md sections 5 to 7; the Castagnoli polynomial of SSE4.2's crc32 instruction.
 */
#ifndef PMPT_LAYOUT_H
#define PMPT_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "libpmpt.h"

#define LINE_BYTES   64u
#define FRAME_SHIFT  12
#define FRAME_BYTES  ((uint64_t)1 << FRAME_SHIFT)
#define FRAME_WORDS  512u /* entries in a table, descriptors in a descriptor frame */
#define GROUP_FRAMES 512u /* frames whose descriptors share one frame */
#define GROUP_SHIFT  21
#define GROUP_BYTES  ((uint64_t)1 << GROUP_SHIFT)

/* A word on the medium that the log changes, or one that is persisted by itself. */
typedef _Atomic uint64_t pm_word;

/* ---- superblock ------------------------------------------------------------------------------ */

#define SB_MAGIC           "libpmpt" /* 8 bytes with the NUL */
#define SB_MAJOR           1u
#define SB_INCOMPAT_KNOWN  0u
#define SB_RO_COMPAT_KNOWN 0u
#define SB_LAYOUT_NAME     "libpmpt-1" /* libpmemobj's layout string */

/* What the pool has in it that not every library of this major knows.  Set while it is open, so they
 * are a word by themselves, outside the crc: an unknown one is PMPT_E_VERSION, and a library from
 * before there were any finds that a reserved byte is not zero. */
enum sb_feature {
	/* entries with COW or SHARED, reservations; descriptors with ALIASED, or of slots; flags of
	 * records */
	SB_FEATURE_SPACES = 1,
	/* a swap tier (swap_area.h), reservations of kind SWAP; it goes when the tier does */
	SB_FEATURE_SWAP = 2,
	/* since its creation: each frame that is mapped more than once by its number has ALIASED */
	SB_FEATURE_ALIASES = 4,
	/* records and descriptors with WX: the policy W^X */
	SB_FEATURE_WX = 8,
};
#define SB_FEATURES_KNOWN \
	((uint64_t)(SB_FEATURE_SPACES | SB_FEATURE_SWAP | SB_FEATURE_ALIASES | SB_FEATURE_WX))

struct sb_extent { /* has PMEMoid's shape: libpmemobj's atomic allocation writes it, nobody else */
	uint64_t uuid_lo;
	pm_word off;
};

/* VALID IF AND ONLY IF (1) magic, (2) crc over [0, offsetof crc), (3) major known, (4) no unknown
 * incompat bit and no unknown feature, (5) every offset and size inside the pool.  The words behind the crc change; each
 * has a cache line of its own, so that no order between them is implied. */
struct sb {
	char magic[8];
	uint32_t major;
	uint32_t compat, incompat, ro_compat;
	uint8_t uuid[16];
	/* in every line's CRC: lines of an older pool in the same blocks are no lines */
	uint64_t salt;
	uint64_t pool_bytes;
	uint64_t directory; /* offset of the space records */
	uint64_t lanes;     /* offset of redo lane 0 */
	uint64_t bulk;      /* offset of the bulk lane */
	uint32_t n_spaces;
	uint32_t n_lanes;
	uint32_t half_lines; /* lines in a half of a redo lane */
	uint32_t bulk_lines;
	uint8_t reserved0[3572 - 96];
	uint32_t crc;          /* at 3572: over everything before it */
	uint32_t reserved1[2]; /* zero, outside the crc, checked */

	/* at 3584, eight lines */

	/* all transactions up to here are durable at home [W4] */
	_Alignas(64) pm_word checkpoint_lsn;
	_Alignas(64) pm_word lsn_limit; /* no LSN at or above is drawn [W5] */
	/* not 0: the bulk lane's lines from this LSN on are live [W8] */
	_Alignas(64) pm_word bulk_from;
	_Alignas(64) pm_word n_extents; /* extents in use; logged (WHERE_SB) */
	/* sb_feature that entries, descriptors or records make use of; persisted before the first
	 * does */
	_Alignas(64) pm_word features;
	_Alignas(64) uint8_t reserved2[3 * 64];
	struct sb_extent extent[PMPT_EXTENTS_MAX];
};
_Static_assert(offsetof(struct sb, crc) == 3572 && offsetof(struct sb, checkpoint_lsn) == 3584,
	       "superblock");
_Static_assert(offsetof(struct sb, extent) == 4096, "superblock");

/* ---- extent ---------------------------------------------------------------------------------- */

#define EXTENT_MAGIC 0x746e747874706d70ull /* "pmptxtnt" */

/* VALID IF AND ONLY IF magic, crc over [0, offsetof crc), first and frames inside the pool, 2 MiB
 * aligned start. */
struct extent_head {
	uint64_t magic;
	uint64_t first;  /* PFN of this frame, a multiple of 512 */
	uint64_t frames; /* in the extent, this one included */
	/* from the first: header, descriptors and, in extent 0, directory and log */
	uint64_t reserved_frames;
	uint64_t index; /* in sb.extent */
	uint64_t salt;  /* the pool's: an older pool's header is none */
	uint32_t reserved;
	uint32_t crc;
	uint8_t zero[4096 - 56];
};
_Static_assert(sizeof(struct extent_head) == 4096, "extent header is a frame");

/* ---- space record ---------------------------------------------------------------------------- */

enum space_state { SPACE_FREE = 0, SPACE_LIVE = 1, SPACE_DELETING = 2 };

/* Bits of a record's state above enum space_state. */
enum record_flag {
	RECORD_SNAPSHOT = 1 << 8, /* read-only */
	RECORD_WX = 1 << 9,       /* no page is writable and executable */
	RECORD_SEGMENT = 1 << 10, /* a segment: its tables of level 1 are linked by spaces */
	RECORD_SWAP = 1 << 11,    /* the swap tier: root is the offset of its slots' descriptors */
};
#define RECORD_FLAGS (RECORD_SNAPSHOT | RECORD_WX | RECORD_SEGMENT | RECORD_SWAP)

/* What a live record is: a space (none), a segment, the swap tier; each kind has its own names. */
#define RECORD_KINDS   ((uint64_t)(RECORD_SEGMENT | RECORD_SWAP))
#define RECORD_IS_SWAP ((uint64_t)SPACE_LIVE | RECORD_SWAP)

struct space_record {
	pm_word state; /* bits 0-7 enum space_state, record_flag */
	pm_word root;  /* PML4's PFN << 12, or 0 */
	pm_word user[PMPT_USER_WORDS];
	pm_word name[8]; /* UTF-8, NUL padded: 63 bytes and a NUL */
	pm_word reserved[14];
};
_Static_assert(sizeof(struct space_record) == 256, "space record");

/* ---- log line -------------------------------------------------------------------------------- */

/* `where` of a word: its pool offset (8-aligned) with its class in the low three bits. */
enum where_class {
	WHERE_ENTRY = 0, /* an entry in a table frame */
	WHERE_DESC = 1,  /* a frame descriptor */
	WHERE_DIR = 2,   /* a word of a space record */
	WHERE_SB = 3,    /* sb.n_extents */
	WHERE_CLASSES
};
#define WHERE_CLASS(w) ((unsigned)((w)&7))
#define WHERE_OFF(w)   ((w)&0x000ffffffffffff8ul) /* 52 bits, as a PFN has */
/* RUN packs its count, 1..512, as count - 1 in bits 52..60. */
#define RUN_WHERE(w, n) ((w) | (uint64_t)((n)-1) << 52)
#define RUN_FIRST(w)    ((w)&0x000ffffffffffffful)
#define RUN_COUNT(w)    ((unsigned)((w) >> 52 & 0x1ff) + 1)

enum line_kind { LINE_WORDS = 1, LINE_RUN = 2 };
enum line_flag { LINE_LAST = 1, LINE_UNDO = 2 };

struct line_word {
	uint64_t where, old, new; /* where 0: no word (the second of an odd count) */
};

struct line_run { /* for i < count: w[i] = (w[i] & ~mask) | ((new + i * new_stride) & mask) */
	uint64_t where, mask, old, old_stride, new, new_stride;
};

/* VALID IF AND ONLY IF lsn != 0, kind and flags known, and crc matches salt, the line's own pool
 * offset and its 60 other bytes. */
struct line {
	uint64_t lsn;
	union {
		struct {
			uint8_t kind;  /* enum line_kind */
			uint8_t flags; /* enum line_flag */
			/* LAST line of a redo lane: lines of the transaction, else 0 */
			uint16_t count;
			uint32_t crc;
		};
		uint64_t meta; /* the four, stored at once */
	};
	union {
		struct line_word word[2];
		struct line_run run;
		uint64_t payload[6];
	};
};
#define LINE_META(kind, flags, count) \
	((uint64_t)(kind) | (uint64_t)(flags) << 8 | (uint64_t)(count) << 16)
#define LINE_META_CRC_SHIFT 32
_Static_assert(sizeof(struct line) == LINE_BYTES, "a line is a cache line");

#endif
