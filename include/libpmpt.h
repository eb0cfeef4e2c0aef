/* SPDX-License-Identifier: BSD-3-Clause */
/* libpmpt -- crash-proof x86-64 page tables on persistent memory.
 *
 * The only public header.  Page-table entries change through a write-ahead log only; after any
 * power failure the next open redoes what was committed and undoes what was not.
 *
 * Conventions.  Functions return 0 or a negative error: a negated errno, or one of PMPT_E_* below;
 * pmpt_strerror() names it and pmpt_errormsg() tells the detail (file, offset, found, expected).
 * Results go through the last pointers, which are untouched on error.
 * Ranges are half open, [va, va + len).  Units are in names: _bytes, _pages, _lines, _ns.
 *
 * Durability words used below.  *Durable*: survives SIGKILL and a power failure (on an emulated
 * medium, tmpfs, there is no power failure to survive; SIGKILL it survives).
 * *Committed*: pmpt_commit() returned 0; always durable.
 *
 * Threads.  A pool and a space may be used by any number of threads at once; a transaction by the
 * one that began it.  One process opens a pool at a time.
 * After fork() every handle is dead in the child: PMPT_E_FORKED.  It can open pools of its own.
 */
#ifndef LIBPMPT_H
#define LIBPMPT_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PMPT_API __attribute__((visibility("default")))

#define PMPT_VERSION_MAJOR  0
#define PMPT_VERSION_MINOR  1
#define PMPT_VERSION_PATCH  0
#define PMPT_VERSION_STRING "0.1.0"

typedef struct pmpt_pool pmpt_pool;   /* an open pool */
typedef struct pmpt_space pmpt_space; /* an open address space of a pool */
typedef struct pmpt_tx pmpt_tx;       /* an open transaction */

/* ---- limits, all of them --------------------------------------------------------------------- */

#define PMPT_PAGE_BYTES     4096u         /* a frame, and the smallest page */
#define PMPT_VA_BITS        48            /* addresses are canonical: bits 63..47 are equal */
#define PMPT_POOL_MIN_BYTES (16ull << 20) /* smallest pool */
#define PMPT_POOL_MAX_BYTES (1ull << 40)  /* largest pool: 1 TiB */
#define PMPT_EXTENT_BYTES   (1ull << 30)  /* a pool takes its frames in extents of this size */
#define PMPT_EXTENTS_MAX    1024u         /* extents in a pool */
#define PMPT_SPACES_MAX     1024u /* spaces in a pool (fewer in small pools: see pmpt_config) */
#define PMPT_NAME_MAX       63u   /* bytes in a space's name, UTF-8, without the NUL */
#define PMPT_USER_WORDS     8u    /* user words of a space */
#define PMPT_LANES_MAX      64u   /* redo lanes of the log */
#define PMPT_LANES_DEFAULT  8u
/* a redo lane: two halves of 256 KiB; a transaction fits in a half */
#define PMPT_LANE_DEFAULT_BYTES (512u << 10)
#define PMPT_BULK_DEFAULT_BYTES (4u << 20) /* the bulk lane */
#define PMPT_TX_MAX             254u       /* transactions open at once in a pool, at least */
#define PMPT_RUN_MAX            512u       /* contiguous words that one log line can change */

/* ---- errors ---------------------------------------------------------------------------------- */

enum pmpt_error {
	PMPT_E_NOT_POOL = -1001, /* the file is not a libpmpt pool */
	/* another format major, or an incompat or ro_compat bit this library does not know */
	PMPT_E_VERSION = -1002,
	/* media content is damaged; the message names the offset; nothing was written */
	PMPT_E_CORRUPT = -1003,
	PMPT_E_TRUNCATED = -1004, /* the file is shorter than its superblock says */
	PMPT_E_IN_USE = -1005,    /* the pool is open: another process, or this one */
	/* the pool became read-only: an msync failed */
	PMPT_E_READ_ONLY = -1006,
	PMPT_E_NO_FRAMES = -1007, /* out of frames, and no room for another extent */
	/* the log lines of the transaction exceed a half (redo) or the bulk lane */
	PMPT_E_TX_TOO_LARGE = -1008,
	/* PMPT_TX_MAX transactions or more are open, or a second bulk transaction */
	PMPT_E_TX_LIMIT = -1009,
	PMPT_E_TX_STATE = -1010, /* the transaction has ended, or belongs to another thread */
	/* another open transaction changes the same table; abort or retry */
	PMPT_E_CONFLICT = -1011,
	/* an open bulk transaction is changing it; or a handle is open */
	PMPT_E_BUSY = -1012,
	PMPT_E_FORKED = -1013, /* the handle was made before fork() by the parent process */
	PMPT_E_MAPPED = -1014, /* a page of the range is mapped and PMPT_REPLACE was not given */
	PMPT_E_NOT_MAPPED = -1015, /* a page of the range is not mapped */
	PMPT_E_ADDRESS = -1016, /* address or range not canonical, not aligned, empty or wrapping */
	PMPT_E_FRAME = -1017,   /* the frame is outside the pool, free, reserved, or a table */
	PMPT_E_NAME = -1018,    /* name empty, too long, not UTF-8, or with a control character */
	PMPT_E_EXISTS = -1019,  /* the name exists */
	PMPT_E_NO_SPACE = -1020,    /* no space of that name */
	PMPT_E_SPACES_FULL = -1021, /* the pool's directory of spaces is full */
	PMPT_E_NOT_UNIFORM = -1022, /* collapse: not 512 contiguous pages of equal attributes */
	PMPT_E_COUNT = -1023,       /* a frame's reference count would overflow */
	/* this file system, device or pool set cannot hold a pool; the message says why */
	PMPT_E_MEDIUM = -1024,
	PMPT_E_IO = -1025,           /* msync failed: the pool is read-only from now on */
	PMPT_E_DENIED_READ = -1026,  /* access: not present */
	PMPT_E_DENIED_WRITE = -1027, /* access: a level lacks W */
	PMPT_E_DENIED_EXEC = -1028,  /* access: a level has NX */
	PMPT_E_DENIED_USER = -1029,  /* access: a level lacks U */
	PMPT_E_BUSY_CHECK = -1030,   /* check: the pool is live and kept changing: inconclusive */
	PMPT_E_CPU = -1031,          /* the processor lacks SSE4.2 */
};

/* Name of an error, a constant string, never NULL.  Takes 0, negated errno and PMPT_E_*. */
PMPT_API const char *pmpt_strerror(int error);

/* Detail of the last error in this thread, "" if none.
 * A call that succeeds leaves it as it is, and so does pmpt_lookup() with PMPT_E_NOT_MAPPED.
 * Valid until this thread's next libpmpt call. */
PMPT_API const char *pmpt_errormsg(void);

/* The library's version, "0.1.0". */
PMPT_API const char *pmpt_version(void);

enum pmpt_log_level { PMPT_LOG_ERROR, PMPT_LOG_WARNING, PMPT_LOG_INFO };
typedef void pmpt_log_fn(void *ctx, enum pmpt_log_level level, const char *message);

/* Where the library's messages go: fn may be NULL (nowhere, the default).  Process-wide.
 * Threads: set it before other threads use the library; fn is called from any thread and must not
 * call libpmpt. */
PMPT_API void pmpt_log_to(pmpt_log_fn *fn, void *ctx);

/* ---- pools ----------------------------------------------------------------------------------- */

enum pmpt_medium {
	PMPT_MEDIUM_PMEM = 1, /* DAX with MAP_SYNC: cache-line flushes */
	/* tmpfs: cache-line flushes; survives a killed process, not a power failure */
	PMPT_MEDIUM_EMULATED = 2,
	PMPT_MEDIUM_FILE = 3, /* ordinary file: msync of the touched pages at each fence */
};

struct pmpt_config {
	/* size of the file, a multiple of 4096; 0: 64 MiB.  Ignored for a pool set, whose file
	 * says it */
	uint64_t pool_bytes;
	uint32_t mode;  /* permission bits of the file; 0: 0600 */
	uint32_t lanes; /* redo lanes, 1..PMPT_LANES_MAX; 0: default, fewer in a small pool */
	/* bytes of a redo lane, a multiple of 8 KiB, at most 4 MiB; 0: default, less in a
	 * small pool */
	uint32_t lane_bytes;
	/* bytes of the bulk lane, a multiple of 4 KiB, at most 1 GiB; 0: default, less in a
	 * small pool */
	uint32_t bulk_bytes;
	uint32_t spaces; /* directory size, 1..PMPT_SPACES_MAX; 0: default, fewer in a small pool */
	uint32_t reserved[6]; /* zero */
};

enum pmpt_open_flags {
	/* never take a further extent by itself when frames run out: PMPT_E_NO_FRAMES */
	PMPT_OPEN_NO_GROW = 1u << 0,
};

/* Create a pool and open it.
 *
 * path: a new file, or an existing pool set file (a text file "PMEMPOOLSET ...", one or several
 * parts, no replicas).
 * config: may be NULL.
 * The file is sparse; blocks exist before anything is stored in them.
 *
 * Returns 0; -EEXIST; -ENOSPC; -EINVAL config; PMPT_E_MEDIUM; other negated errnos of open.
 * On error nothing is left behind.
 * Durability: on return the pool is durable.
 * Crash: before that, the file is no pool (PMPT_E_NOT_POOL) and may be deleted. */
PMPT_API int pmpt_create(const char *path, const struct pmpt_config *config, pmpt_pool **pool);

/* Open a pool; recovers it.
 *
 * flags: enum pmpt_open_flags.
 *
 * Returns 0; -ENOENT, -EACCES ...; -EINVAL flags; PMPT_E_NOT_POOL, _VERSION, _CORRUPT, _TRUNCATED,
 * _IN_USE, _MEDIUM, _CPU.
 * A deleted space whose tables are damaged, or whose rest cannot be freed for want of frames or
 * memory, is left for the next open and told by the log callback (PMPT_LOG_ERROR): it is no error.
 * Durability: recovery is durable on return.
 * Crash: in the middle of it is harmless, at any depth.
 * Time: libpmemobj's own open, plus the log; independent of what is mapped. */
PMPT_API int pmpt_open(const char *path, unsigned flags, pmpt_pool **pool);

/* Checkpoint and close.  All transactions are ended and all spaces closed, else PMPT_E_BUSY and the
 * pool stays open.
 * Returns 0; PMPT_E_BUSY; PMPT_E_IO (an msync failed, now or before; closed all the same).
 * In a forked child: PMPT_E_FORKED, nothing is done. */
PMPT_API int pmpt_close(pmpt_pool *pool);

/* Take further extents until the pool has at least `bytes` more in frames.
 * Returns 0; PMPT_E_NO_FRAMES (the pool file is full); -ENOSPC (the file system is full);
 * PMPT_E_READ_ONLY.  What was taken before the error stays.
 * Durable on return. */
PMPT_API int pmpt_grow(pmpt_pool *pool, uint64_t bytes);

/* Make every home word of every committed transaction durable and free the log behind them.
 * Never needed for durability of a transaction; it bounds the work of the next recovery.
 * Returns 0; PMPT_E_IO; PMPT_E_READ_ONLY. */
PMPT_API int pmpt_checkpoint(pmpt_pool *pool);

/* what the open found in the log */
struct pmpt_recovery {
	uint64_t lines_scanned; /* log lines read */
	uint64_t redone;        /* transactions redone */
	uint64_t undone;        /* bulk transactions undone, 0 or 1 */
	uint64_t torn;          /* transactions dropped: some lines there, not all */
	uint64_t words;         /* words stored */
	uint64_t pages;         /* distinct frames in which they lie */
	uint64_t recovery_ns;   /* our part */
	uint64_t open_ns;       /* the whole of pmpt_open, libpmemobj's part included */
};

/* Report of the recovery at the last open.  Returns 0; PMPT_E_FORKED. */
PMPT_API int pmpt_recovery_report(pmpt_pool *pool, struct pmpt_recovery *report);

struct pmpt_stats {
	enum pmpt_medium medium;
	uint64_t pool_bytes;      /* size of the file(s) */
	uint64_t extents;         /* extents taken */
	uint64_t frames;          /* frames in them */
	uint64_t frames_reserved; /* of these: log, directory, descriptors */
	uint64_t frames_free;     /* free now (reads all descriptors: 8 bytes a frame) */
	uint64_t frames_table;    /* page-table frames */
	uint64_t frames_data;     /* data frames */
	uint64_t spaces;
	uint64_t lanes, lane_lines, bulk_lines;           /* shape of the log, in 64-byte lines */
	uint64_t commits, aborts, conflicts, checkpoints; /* since open */
	uint64_t lines_streamed; /* lines written past the cache since open: log and fresh tables */
	uint64_t lines_flushed;  /* lines flushed from the cache since open: homes */
	uint64_t fences;         /* since open */
	uint64_t log_lines;      /* log lines since open */
	uint64_t lsn, checkpoint_lsn; /* last drawn; all up to here are home */
	uint64_t volatile_bytes;      /* DRAM of this pool */
};

/* Counters are exact when no other thread is in the library, else each is recent.
 * Returns 0; PMPT_E_FORKED. */
PMPT_API int pmpt_stats(pmpt_pool *pool, struct pmpt_stats *stats);

/* ---- spaces ---------------------------------------------------------------------------------- */

/* Create a named space, empty, and open it.
 * Returns 0; PMPT_E_NAME, _EXISTS, _SPACES_FULL, _NO_FRAMES, _READ_ONLY, _FORKED; -ENOMEM; -ENOSPC
 * (the pool grows).
 * Durable on return, atomic. */
PMPT_API int pmpt_space_create(pmpt_pool *pool, const char *name, pmpt_space **space);

/* Open a space.  Each open has its close; handles are shared and counted.
 * Returns 0; PMPT_E_NO_SPACE, _NAME, _CORRUPT, _FORKED; -ENOMEM. */
PMPT_API int pmpt_space_open(pmpt_pool *pool, const char *name, pmpt_space **space);
PMPT_API void pmpt_space_close(pmpt_space *space);

/* Delete a space and free all its tables and frames.
 * The name is gone, durably, in one small transaction; the freeing goes on in bounded transactions
 * and is taken up again by the next open after a crash, or an error that left some of it.
 * Returns 0; PMPT_E_NAME, _NO_SPACE; PMPT_E_BUSY (a handle is open); PMPT_E_READ_ONLY, _FORKED;
 * and when the name is gone and the next open tries to free the rest: PMPT_E_CORRUPT (a table or a
 * leaf is damaged: the message names the entry's offset; the frames before it are free),
 * PMPT_E_CONFLICT (a transaction that changed the space is still open), PMPT_E_NO_FRAMES and -ENOSPC
 * (a huge page has to be split). */
PMPT_API int pmpt_space_delete(pmpt_pool *pool, const char *name);

/* Rename, atomic and durable on return.
 * Returns 0; PMPT_E_NO_SPACE, _EXISTS (also for the name it has), _NAME, _READ_ONLY. */
PMPT_API int pmpt_space_rename(pmpt_pool *pool, const char *from, const char *to);

/* Call fn for each space in the order of the directory; a nonzero value of fn ends it and is
 * returned.  fn may not delete spaces. */
PMPT_API int pmpt_space_list(pmpt_pool *pool, int (*fn)(void *ctx, const char *name), void *ctx);

/* The space's name; valid until it is closed or renamed. */
PMPT_API const char *pmpt_space_name(const pmpt_space *space);
PMPT_API pmpt_pool *pmpt_space_pool(const pmpt_space *space);

/* ---- transactions ---------------------------------------------------------------------------- */

enum pmpt_tx_flags {
	/* undo: changes go home in batches before the commit; for what does not fit in a half.
	 * One at a time.  Readers of what it has changed get PMPT_E_BUSY until it ends. */
	PMPT_TX_BULK = 1u << 0,
};

/* Begin a transaction.  Changes are invisible to others until the commit; several may be open in
 * one thread.  When a thread ends, those that it has open are aborted.
 * Returns 0; PMPT_E_TX_LIMIT; PMPT_E_READ_ONLY; PMPT_E_FORKED; -EINVAL flags; -ENOMEM. */
PMPT_API int pmpt_begin(pmpt_pool *pool, unsigned flags, pmpt_tx **tx);

/* Commit: all or nothing; ends the transaction when it returns 0.
 *
 * lsn: out, may be NULL: the log sequence number, which grows from commit to commit (0 for a
 * transaction that changed nothing).
 *
 * Returns 0; PMPT_E_IO (ended; readers do not see it, the next open tells whether it was committed; the
 * pool is read-only until then); PMPT_E_TX_STATE; other errors leave it open and abortable.
 * Durability: on 0 it is durable: one fence (two if it filled fresh tables or frames).
 * Crash: before that, whole or not at all. */
PMPT_API int pmpt_commit(pmpt_tx *tx, uint64_t *lsn);

/* Abort: nothing of it remains; ends the transaction.
 * Returns 0; PMPT_E_TX_STATE; PMPT_E_FORKED; PMPT_E_IO (bulk; ended, undone by the next open). */
PMPT_API int pmpt_abort(pmpt_tx *tx);

/* A savepoint names the state of an open redo transaction; rolling back to it undoes what came
 * after, and later savepoints die.
 * Returns 0; PMPT_E_TX_STATE; -EINVAL (savepoint not of this transaction, dead, or a bulk
 * transaction). */
PMPT_API int pmpt_savepoint(pmpt_tx *tx, uint64_t *savepoint);
PMPT_API int pmpt_rollback_to(pmpt_tx *tx, uint64_t savepoint);

/* ---- changing a space ------------------------------------------------------------------------
 *
 * tx: an open transaction, or NULL: a transaction of its own, committed (durable) on return, tried
 * again a few times when it meets a conflict.
 * On error the transaction is as before the call, open and abortable. */

/* permissions; every mapping has R */
enum pmpt_prot {
	PMPT_R = 1u << 0,
	PMPT_W = 1u << 1,
	PMPT_X = 1u << 2,
	PMPT_U = 1u << 3, /* user mode */
};
#define PMPT_PROT_MASK 0xfu

enum pmpt_map_flags {
	/* the frames are not the pool's: no descriptor, never freed (imported, device, caller's) */
	PMPT_EXT = 1u << 4,
	PMPT_REPLACE = 1u << 5, /* pages may be mapped already; they are replaced */
	PMPT_ZERO = 1u << 6, /* with PMPT_PFN_ALLOC: zero the frames (durably, before the commit) */
	PMPT_G = 1u << 7,    /* global */
	PMPT_2M = 1u << 8,   /* pages of 2 MiB: va and pfn aligned to it */
	PMPT_1G = 1u << 9,   /* pages of 1 GiB */
	PMPT_PWT = 1u << 10, /* write-through */
	PMPT_PCD = 1u << 11, /* cache disable */
};
#define PMPT_TAG(n)     (((unsigned)(n)&15u) << 12) /* four user bits in each entry (52..55) */
#define PMPT_TAG_OF(f)  (((f) >> 12) & 15u)
#define PMPT_PKEY(n)    (((unsigned)(n)&15u) << 16) /* protection key (59..62) */
#define PMPT_PKEY_OF(f) (((f) >> 16) & 15u)
/* take free frames of the pool; contents undefined unless PMPT_ZERO */
#define PMPT_PFN_ALLOC UINT64_MAX

/* Map n_pages pages from va.
 *
 * pfn: first frame (4 KiB units); the run is contiguous; or PMPT_PFN_ALLOC.  Without PMPT_EXT the
 * frames are the pool's, from pmpt_frame_alloc() of this transaction or mapped already somewhere
 * (then shared: the count goes up).
 * flags: pmpt_prot | pmpt_map_flags | tags.
 *
 * Returns 0; PMPT_E_MAPPED, _ADDRESS, _FRAME, _NO_FRAMES, _CONFLICT, _TX_TOO_LARGE, _TX_STATE,
 * _READ_ONLY, _COUNT; -EINVAL flags. */
PMPT_API int pmpt_map(pmpt_tx *tx, pmpt_space *space, uint64_t va, uint64_t n_pages, uint64_t pfn,
		      unsigned flags);

/* Unmap [va, va + len_bytes), multiples of 4 KiB; holes are allowed.  A huge page of which a part
 * goes is split.  Empty tables are freed; frames whose last mapping goes are freed.
 * Returns 0; PMPT_E_ADDRESS, _CONFLICT, _NO_FRAMES (split), _TX_TOO_LARGE, _TX_STATE,
 * _READ_ONLY. */
PMPT_API int pmpt_unmap(pmpt_tx *tx, pmpt_space *space, uint64_t va, uint64_t len_bytes);

/* Set the permissions of all pages in [va, va + len_bytes); every page must be mapped.  Huge pages
 * split where needed.
 * prot: PMPT_R | ...
 * Returns as unmap; PMPT_E_NOT_MAPPED; -EINVAL prot. */
PMPT_API int pmpt_protect(pmpt_tx *tx, pmpt_space *space, uint64_t va, uint64_t len_bytes,
			  unsigned prot);

/* Move the mappings of [from, from + len_bytes) to `to`, where nothing may be mapped; holes move
 * too.  Ranges may not overlap in the same space.  Frames, permissions and tags stay.
 * Returns as unmap; PMPT_E_MAPPED. */
PMPT_API int pmpt_move(pmpt_tx *tx, pmpt_space *from_space, uint64_t from, pmpt_space *to_space,
		       uint64_t to, uint64_t len_bytes);

/* Turn 512 contiguous pages with equal attributes (A and D aside) into one huge page.
 * va aligned to it; size: PMPT_2M or PMPT_1G (of 2 MiB pages).  The frames must be aligned as the
 * huge page is.
 * Returns 0; PMPT_E_NOT_UNIFORM; PMPT_E_NOT_MAPPED; as unmap. */
PMPT_API int pmpt_collapse(pmpt_tx *tx, pmpt_space *space, uint64_t va, unsigned size);

/* User words of a space, 0..PMPT_USER_WORDS-1: an engine's root page, its own LSN.  Changed
 * atomically with the rest of the transaction.  Get reads the committed value.
 * Returns 0; -EINVAL index; set: as unmap; get: PMPT_E_BUSY (an open bulk transaction has changed
 * one); PMPT_E_FORKED. */
PMPT_API int pmpt_user_set(pmpt_tx *tx, pmpt_space *space, unsigned index, uint64_t value);
PMPT_API int pmpt_user_get(const pmpt_space *space, unsigned index, uint64_t *value);

/* ---- frames ---------------------------------------------------------------------------------- */

/* Reserve n_frames contiguous frames for this transaction, to be filled in place and then mapped in
 * it; at the end of the transaction those that nothing maps are free again.
 * align_frames: 1, or 512 for a 2 MiB page.  pfn: out, the first.
 * Returns 0; PMPT_E_NO_FRAMES (also at once for more than a further extent could have in a row);
 * -ENOSPC (the pool grows and the file system is full); PMPT_E_TX_STATE; -EINVAL. */
PMPT_API int pmpt_frame_alloc(pmpt_tx *tx, uint64_t n_frames, uint64_t align_frames, uint64_t *pfn);

/* Address of a frame of the pool, or NULL: no frame of the pool, one reserved for the log and the
 * like, or a forked child.  Valid until the pool is closed; the
 * contents are the caller's as long as the frame is reserved by an open transaction of his or
 * mapped. */
PMPT_API void *pmpt_frame_ptr(const pmpt_pool *pool, uint64_t pfn);

/* Frame number of an address inside the pool's frames; PMPT_PFN_ALLOC if it is none. */
PMPT_API uint64_t pmpt_frame_of(const pmpt_pool *pool, const void *ptr);

/* Make [ptr, ptr + len_bytes), stored by the caller in frames of the pool, durable no later than
 * the commit of tx.
 * Returns 0; PMPT_E_FRAME (outside the pool); PMPT_E_TX_STATE; PMPT_E_FORKED. */
PMPT_API int pmpt_flush(pmpt_tx *tx, const void *ptr, size_t len_bytes);

/* ---- reading: no locks, no log, no fence ----------------------------------------------------- */

struct pmpt_mapping {
	uint64_t va;         /* first address of the page */
	uint64_t page_bytes; /* 4 KiB, 2 MiB or 1 GiB */
	uint64_t pfn;        /* first frame */
	uint64_t entry;      /* the x86-64 leaf entry as it stands */
	/* pmpt_prot of the leaf | PMPT_EXT | PMPT_G | PMPT_2M | PMPT_1G | PMPT_PWT | PMPT_PCD |
	 * tags, as pmpt_map takes them */
	unsigned flags;
	unsigned level; /* 1: 4 KiB, 2: 2 MiB, 3: 1 GiB */
};

/* The leaf entry that maps va.  A committed, durable value, never one of an open transaction.
 * Returns 0; PMPT_E_NOT_MAPPED; PMPT_E_ADDRESS; PMPT_E_BUSY (open bulk transaction);
 * PMPT_E_CORRUPT.
 * PMPT_E_NOT_MAPPED leaves pmpt_errormsg() as it is: it is no accident for a reader. */
PMPT_API int pmpt_lookup(const pmpt_space *space, uint64_t va, uint64_t *entry);

/* n lookups; entry[i] is 0 where va[i] is not mapped.  Each as pmpt_lookup, not a snapshot
 * together.  n may be 0.
 * Returns 0, or the first error other than PMPT_E_NOT_MAPPED (entries before it are filled). */
PMPT_API int pmpt_lookup_batch(const pmpt_space *space, const uint64_t *va, size_t n,
			       uint64_t *entry);

/* As pmpt_lookup, decoded. */
PMPT_API int pmpt_query(const pmpt_space *space, uint64_t va, struct pmpt_mapping *mapping);

/* As pmpt_query, with the changes of tx.  Returns as pmpt_query; PMPT_E_TX_STATE; -EINVAL (another
 * pool's space). */
PMPT_API int pmpt_tx_query(pmpt_tx *tx, const pmpt_space *space, uint64_t va,
			   struct pmpt_mapping *mapping);

/* Would an MMU allow it?
 * access: PMPT_R, _W, _X, _U or'ed; W, U and NX of all levels count together.
 * Returns 0 (yes); PMPT_E_DENIED_READ, _WRITE, _EXEC, _USER (the first that fails, in this order);
 * PMPT_E_ADDRESS, _BUSY; -EINVAL. */
PMPT_API int pmpt_access(const pmpt_space *space, uint64_t va, unsigned access);

/* Call fn for each mapped page in [va, va + len_bytes) in ascending order, also where the page only
 * overlaps the range.  Each page is a committed value; together they are no snapshot.
 * A nonzero value of fn ends the walk and is returned.  fn may change the space, not close it.
 * len_bytes 0: to the end of the address space.
 * Returns 0; PMPT_E_ADDRESS, _BUSY, _CORRUPT. */
PMPT_API int pmpt_walk(const pmpt_space *space, uint64_t va, uint64_t len_bytes,
		       int (*fn)(void *ctx, const struct pmpt_mapping *m), void *ctx);

/* ---- checking a pool file -------------------------------------------------------------------- */

struct pmpt_finding {
	const char *rule; /* "F3", "F4", "W2", "entry", "superblock" ... */
	uint64_t offset;  /* in the file */
	const char *message;
};

/* summary */
struct pmpt_check {
	uint64_t findings;
	uint64_t spaces, tables, leaves, data_frames, free_frames, log_lines;
	bool live;                     /* a process has the pool open */
	struct pmpt_recovery recovery; /* what an open would do */
};

/* Verify every invariant that the image can show, without writing a byte: what the next open would
 * recover is recovered in private memory first.
 * fn may be NULL.  progress may be NULL: called with 0..1000.  summary may be NULL.
 * libpmemobj's own metadata is not looked at: pmempool-check(1) does that.
 * Returns 0 (see findings); PMPT_E_BUSY_CHECK (live and changing: inconclusive); the errors of
 * pmpt_open for what is no readable pool. */
PMPT_API int pmpt_check(const char *path, void (*fn)(void *ctx, const struct pmpt_finding *f),
			void (*progress)(void *ctx, unsigned permille), void *ctx,
			struct pmpt_check *summary);

#ifdef __cplusplus
}
#endif
#endif /* LIBPMPT_H */
