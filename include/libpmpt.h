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
 * After fork() every handle is dead in the child: PMPT_E_FORKED.  Pointers into a pool stay readable, and
 * what the child stores there is its own.  It keeps no pool in use, and can open others.
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
typedef struct pmpt_view pmpt_view;   /* an open read view */

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
#define PMPT_BULK_DEFAULT_BYTES (4u << 20)  /* the bulk lane */
#define PMPT_TX_MAX             254u        /* transactions open at once in a pool, at least */
#define PMPT_RUN_MAX            512u        /* contiguous words that one log line can change */
#define PMPT_VIEW_BYTES         (64u << 20) /* DRAM for read views: see pmpt_view_limit() */
#define PMPT_SWAP_PATH_MAX      1023u       /* bytes in the path of a swap file */

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
	PMPT_E_VIEW_STALE = -1032, /* the view held memory or frames that others need: it is dead */
	PMPT_E_SNAPSHOT = -1033,   /* the space is a read-only snapshot */
	/* no segment of that name, none mapped there, or only a part of its mapping */
	PMPT_E_SEGMENT = -1034,
	PMPT_E_WX = -1035,   /* W^X: the page or an alias would be writable and executable */
	PMPT_E_SWAP = -1036, /* the swap file is missing, foreign, full or failed */
	PMPT_E_SLOT = -1037, /* the page's slot in the swap file is damaged or lost */
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
 * _IN_USE, _MEDIUM, _CPU, _FORKED (the parent process had it open before fork()).
 * A deleted space whose tables are damaged, or whose rest cannot be freed for want of frames or
 * memory, is left for the next open and told by the log callback (PMPT_LOG_ERROR): it is no error.
 * Durability: recovery is durable on return.
 * Crash: in the middle of it is harmless, at any depth.
 * Time: libpmemobj's own open, plus the log; independent of what is mapped. */
PMPT_API int pmpt_open(const char *path, unsigned flags, pmpt_pool **pool);

/* Checkpoint and close.  All transactions are ended, all spaces and views closed, else PMPT_E_BUSY and the
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
	/* freed, not in frames_free, kept until views, readers or a checkpoint let them go */
	uint64_t frames_held;
	uint64_t frames_table; /* page-table frames */
	uint64_t frames_data;  /* data frames */
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
 * and is taken up again by the next open after a crash, or an error that left some of it; where
 * something was in the way, by the next call that creates, forks or deletes a space or segment, too.
 * Returns 0; PMPT_E_NAME, _NO_SPACE; PMPT_E_BUSY (a handle is open); PMPT_E_READ_ONLY, _FORKED;
 * and when the name is gone and a rest is left to them: PMPT_E_CORRUPT (a table or a leaf is damaged:
 * the message names the offset of the entry; the frames before it are free),
 * PMPT_E_CONFLICT (a transaction that changes it, or a relative's part of what they share, does not
 * end), PMPT_E_NO_FRAMES and -ENOSPC (a huge page has to be split). */
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

enum pmpt_fork_flags {
	PMPT_FORK_SNAPSHOT = 1u << 0, /* read-only: every change of it is PMPT_E_SNAPSHOT */
};

/* Clone a whole space under a new name, copy on write: pages, reservations, user words and policies.
 * The time does not depend on what is mapped: one table is copied.  What the two share is copied
 * table by table, and page by page, when one of them changes it first.  Forks of forks may form any
 * tree; each member is deleted like any space, in any order.
 *
 * flags: enum pmpt_fork_flags.
 * child: out, an open handle; may be NULL.
 *
 * Waits for other threads' transactions that change the space; those that begin to meanwhile get
 * PMPT_E_CONFLICT.
 * Pages mapped with PMPT_EXT are no copies: both see what is written there.  So are segments.
 * A huge page of which one of them changes a part is split for it.  One of which relatives have copied
 * many parts may come to be 512 small ones of the same frames and permissions in all of them.
 *
 * Returns as pmpt_space_create; PMPT_E_CONFLICT (such a transaction of this thread is open, or does
 * not end); PMPT_E_COUNT; -EINVAL flags.
 * Durable on return, atomic: two fences. */
PMPT_API int pmpt_space_fork(pmpt_space *space, const char *name, unsigned flags,
			     pmpt_space **child);

enum pmpt_policy {
	/* W^X: no page of the space is writable and executable, nor is its frame by way of another
	 * mapping of it, in whatever space */
	PMPT_POLICY_WX = 1u << 0,
};

/* Give a space a policy, which it keeps; its forks inherit it.  Nothing may be mapped in it yet.
 *
 * policy: PMPT_POLICY_WX.  A call that would break it is PMPT_E_WX, and changes nothing:
 * - a page of the space would be writable (at once, or after a copy) and executable, by its own
 *   permissions and those of a segment's mapping;
 * - a frame that such a space maps writable would be mapped executable, by any space, or the other way;
 * - the space would map, writable or executable, a frame that somebody else maps already and that no
 *   such space maps so: nothing tells how others do.
 * Pages that are only read never count.  So the permissions of a page are flipped, from writable to
 * executable or back, while its frame is mapped once: a whole range, as one transaction.  A page that a
 * fork shares is copied first, by pmpt_fault with PMPT_W.  Where two transactions would each map a
 * frame in a way that the other forbids, the second gets PMPT_E_CONFLICT, and, tried again, PMPT_E_WX.
 *
 * Segments: what one of these spaces may do to a segment's pages, no other mapping may turn into both.
 * The mapping that is to flip them is the only one; where the segment still has its name, it is unmapped
 * and mapped anew in one transaction.
 * PMPT_EXT: the page's own permissions are judged, its frame is not.
 *
 * Returns 0 (also when it has the policy); PMPT_E_MAPPED (something is mapped in it); PMPT_E_SNAPSHOT;
 * PMPT_E_CONFLICT (an open transaction maps something); PMPT_E_IO, _READ_ONLY, _FORKED; -EINVAL policy;
 * -ENOMEM.
 * Durable on return, atomic: one log line. */
PMPT_API int pmpt_space_policy_set(pmpt_space *space, unsigned policy);

/* The policies of a space: enum pmpt_policy, or 0. */
PMPT_API unsigned pmpt_space_policy(const pmpt_space *space);

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
	/* with PMPT_PFN_ALLOC: demand-zero, no frames are taken.  The pages are reserved, with these
	 * permissions; each is there, zeroed, from the first pmpt_fault() or pmpt_write() on.
	 * Lookups find nothing until then; map, unmap, protect and move treat it as a page.
	 * (12 to 19: tags) */
	PMPT_DEMAND = 1u << 20,
	/* of a mapping, not for pmpt_map: it may be shared with a fork, who writes it first copies */
	PMPT_COW = 1u << 21,
	/* of a mapping: it is a segment's */
	PMPT_SHARED = 1u << 22,
	/* of a mapping: the page is in the swap file and has no frame (pfn is 0) */
	PMPT_OUT = 1u << 23,
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
 * (then shared: the count goes up).  A frame that had one mapping, or several like this, is stored to
 * in place by all of them that may write: a fork or a snapshot that shares such a page sees that, too.
 * One that a fork shares is copied by who writes it first, by this mapping as well.
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
 * split where needed.  A page that could not be written, and whose frame has another mapping, by number
 * or in a fork, is copied by who writes it first.
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

/* ---- segments --------------------------------------------------------------------------------
 *
 * A segment is a named run of pages that any number of spaces map, at different addresses and with
 * different permissions: a page that is written through one mapping has changed in all, atomically.  A
 * fork of a space goes on to share it.  It lives until its name and its last mapping are gone.
 * Pages of a segment come to be when they are first written; until then they read as zero.  A bulk
 * transaction maps segments and does not change their pages: PMPT_E_SEGMENT. */

/* Create a segment of `bytes` bytes, rounded up to 2 MiB.
 * Returns 0; PMPT_E_NAME, _EXISTS, _SPACES_FULL (segments take places of spaces), _ADDRESS (no size, or
 * a too large one), _NO_FRAMES (it takes a frame for 2 MiB), _TX_TOO_LARGE, _READ_ONLY, _FORKED;
 * -ENOMEM; -ENOSPC.
 * Durable on return, atomic. */
PMPT_API int pmpt_segment_create(pmpt_pool *pool, const char *name, uint64_t bytes);

/* Delete its name.  Who maps it has it as before; with the last mapping its pages go.
 * Returns as pmpt_space_delete; PMPT_E_SEGMENT: there is none of that name. */
PMPT_API int pmpt_segment_delete(pmpt_pool *pool, const char *name);

/* Map a whole segment at va, a multiple of 2 MiB, where nothing may be mapped.
 *
 * prot: PMPT_R | ... of this mapping; pmpt_protect changes it, for whole 2 MiB.
 *
 * pmpt_unmap and pmpt_move take whole pieces of 2 MiB of it, too.  What would change a part of a piece,
 * or map something into it: PMPT_E_SEGMENT.
 *
 * Returns 0; PMPT_E_SEGMENT (none of that name), _NAME, _ADDRESS, _MAPPED, _CONFLICT, _NO_FRAMES,
 * _TX_TOO_LARGE, _TX_STATE, _READ_ONLY, _SNAPSHOT, _COUNT; -EINVAL prot. */
PMPT_API int pmpt_segment_map(pmpt_tx *tx, pmpt_space *space, uint64_t va, const char *name,
			      unsigned prot);

/* Unmap a whole segment, which is mapped at va.
 * Returns as pmpt_unmap; PMPT_E_SEGMENT: there is none of that name, or it is not mapped there. */
PMPT_API int pmpt_segment_unmap(pmpt_tx *tx, pmpt_space *space, uint64_t va, const char *name);

struct pmpt_segment {
	const char *name;
	uint64_t bytes;
	uint64_t mappings; /* of its first 2 MiB */
};

/* Call fn for each segment; a nonzero value of fn ends it and is returned.  fn may not delete
 * segments. */
PMPT_API int pmpt_segment_list(pmpt_pool *pool,
			       int (*fn)(void *ctx, const struct pmpt_segment *segment), void *ctx);

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

enum pmpt_frame_kind {
	PMPT_FRAME_FREE,
	PMPT_FRAME_RESERVED, /* log, directory, descriptors, swap area */
	PMPT_FRAME_TABLE,
	PMPT_FRAME_DATA,
};

struct pmpt_frame_info {
	enum pmpt_frame_kind kind;
	uint32_t count; /* entries that refer to it; of a reserved one 0 or 1 */
	/* for the frame of a page: what mappings with PMPT_POLICY_WX may do to it, PMPT_W | PMPT_X */
	unsigned wx;
	bool aliased; /* a frame number was given to pmpt_map more than once */
};

/* What a frame of the pool is, as committed.  A free one may be reserved by an open transaction, or held
 * by readers.
 * Returns 0; PMPT_E_FRAME (not the pool's); -ENOMEM; PMPT_E_FORKED. */
PMPT_API int pmpt_frame_info(pmpt_pool *pool, uint64_t pfn, struct pmpt_frame_info *info);

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
	/* pmpt_prot, of all levels together | PMPT_EXT | PMPT_G | PMPT_2M | PMPT_1G | PMPT_PWT |
	 * PMPT_PCD | PMPT_DEMAND (pmpt_walk alone; pfn is 0) | tags, as pmpt_map takes them; and
	 * PMPT_SHARED, PMPT_OUT, PMPT_COW: PMPT_W then says that it may be written after a copy */
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

/* As pmpt_lookup, decoded; and a page that is out in the swap file is found, with PMPT_OUT. */
PMPT_API int pmpt_query(const pmpt_space *space, uint64_t va, struct pmpt_mapping *mapping);

/* As pmpt_query, with the changes of tx.  Returns as pmpt_query; PMPT_E_TX_STATE; -EINVAL (another
 * pool's space). */
PMPT_API int pmpt_tx_query(pmpt_tx *tx, const pmpt_space *space, uint64_t va,
			   struct pmpt_mapping *mapping);

/* Would an MMU allow it?  Writing what is still copy on write: no.
 * access: PMPT_R, _W, _X, _U or'ed; W, U and NX of all levels count together.
 * Returns 0 (yes); PMPT_E_DENIED_READ, _WRITE, _EXEC, _USER (the first that fails, in this order);
 * PMPT_E_ADDRESS, _BUSY; -EINVAL. */
PMPT_API int pmpt_access(const pmpt_space *space, uint64_t va, unsigned access);

/* Call fn for each mapped page in [va, va + len_bytes) in ascending order, also where the page only
 * overlaps the range; demand-zero pages too, with PMPT_DEMAND, and those in the swap file, PMPT_OUT.  Each page is a committed value; together they are no snapshot.
 * A nonzero value of fn ends the walk and is returned.  fn may change the space, not close it.
 * len_bytes 0: to the end of the address space.
 * Returns 0; PMPT_E_ADDRESS, _BUSY, _CORRUPT. */
PMPT_API int pmpt_walk(const pmpt_space *space, uint64_t va, uint64_t len_bytes,
		       int (*fn)(void *ctx, const struct pmpt_mapping *m), void *ctx);

/* ---- what is in the pages ---------------------------------------------------------------------
 *
 * A page of the pool's frames is written by replacing it: the new content goes to a frame that nothing
 * maps, the entry switches in the transaction.  So a write of any number of pages, in any number of
 * spaces of a pool, is atomic and durable with its transaction.  Frames that are mapped in several
 * places by their number (pmpt_map) part: the others keep the old content.
 * Ranges of bytes lie anywhere, and in one half of the address space; len 0 is nothing. */

/* Write len bytes of buf to [va, va + len).
 *
 * Other bytes of the pages stay as they are.  Where nothing is mapped a page with PMPT_R | PMPT_W is, of
 * zeros otherwise; a page of a demand-zero region (PMPT_DEMAND) becomes present with the permissions
 * of that.  A huge page is split, and one page of it replaced.
 * buf: the caller's, read before the call returns; aligned to 8 bytes it is copied once less.
 *
 * Returns 0; PMPT_E_DENIED_WRITE (a page, or a link to it, is read-only); PMPT_E_FRAME (a page is
 * PMPT_EXT); PMPT_E_SEGMENT (a bulk transaction, and a page of a segment); PMPT_E_ADDRESS, _NO_FRAMES,
 * _CONFLICT, _TX_TOO_LARGE, _TX_STATE, _READ_ONLY, _CORRUPT, _SLOT; -ENOSPC (the pool grows); -ENOMEM.
 * On error the transaction is as before the call.
 * Durability: with the transaction; tx NULL: on return.
 * Crash: before the commit, the old content. */
PMPT_API int pmpt_write(pmpt_tx *tx, pmpt_space *space, uint64_t va, const void *buf, size_t len);

/* Read [va, va + len) into buf.  What is not mapped, or demand-zero, reads as zeros and costs nothing.
 *
 * view: a read view, see below; NULL: as it is now: committed and durable, and more than one page are one
 * state together.
 *
 * Returns 0; PMPT_E_ADDRESS; PMPT_E_FRAME (a page is PMPT_EXT); PMPT_E_BUSY (open bulk transaction);
 * PMPT_E_VIEW_STALE (without a view: so much changed again and again, see pmpt_view_limit());
 * PMPT_E_NO_SPACE (the space is younger than the view); -EINVAL (they are of two pools); PMPT_E_SLOT; PMPT_E_CORRUPT; PMPT_E_FORKED.  On error buf holds anything.
 * Permissions are not looked at. */
PMPT_API int pmpt_read(const pmpt_view *view, const pmpt_space *space, uint64_t va, void *buf,
		       size_t len);

/* The same with the changes of tx.  Returns as pmpt_read; PMPT_E_TX_STATE; -EINVAL (another pool's
 * space). */
PMPT_API int pmpt_tx_read(pmpt_tx *tx, const pmpt_space *space, uint64_t va, void *buf, size_t len);

/* Begin and end a reader section of this thread: frames that others replace meanwhile keep their content
 * until it ends.  Sections nest.  Be short: frames wait for the end of all sections.
 * Between the two this thread calls functions that read, and none that changes a pool or closes it:
 * those may wait for the end of the section. */
PMPT_API void pmpt_read_begin(pmpt_pool *pool);
PMPT_API void pmpt_read_end(pmpt_pool *pool);

/* Where the 4 KiB page that holds va is in memory, to be read and not written: its first byte.  A page
 * of zeros where nothing is mapped, or demand-zero.
 *
 * page: out; valid until the reader section of this thread ends.  With a view and outside of any section:
 * until that is closed or stale, which other threads can make it at any time (pmpt_view_limit); who has
 * used what is there calls pmpt_view_check() before he believes it, and in a section need not.
 *
 * Returns as pmpt_read; PMPT_E_NOT_MAPPED (the page is out in the swap file: pmpt_read it, or bring it
 * in); -EINVAL (neither a view nor a reader section). */
PMPT_API int pmpt_page_ptr(const pmpt_view *view, const pmpt_space *space, uint64_t va,
			   const void **page);

/* An access meets no page, or one that cannot be written as it is: do what a kernel does.
 *
 * A page that is there and allows the access: nothing.  A demand-zero one: a zeroed frame, for a read
 * too; in a snapshot, which cannot change, it stays (PMPT_DEMAND in mapping) and reads as zeros.  Copy on write, and a write: the page gets a frame of its own with the same content, or keeps the
 * one that it has alone; a huge page is split, and one page of it copied.  A page in the swap file is
 * read into a frame; without PMPT_W no table is copied for that: relatives that share it, snapshots too,
 * have the page in memory then.
 * tx, as for changing a space: an open transaction, or NULL.
 * access: PMPT_R, _W, _X, _U or'ed; W, U and NX of all levels count together.
 * mapping: out, the page as it is then; may be NULL.
 *
 * Returns 0; PMPT_E_NOT_MAPPED; PMPT_E_DENIED_WRITE, _EXEC, _USER (the message names the entry and its
 * level); PMPT_E_SNAPSHOT (a write); PMPT_E_ADDRESS, _NO_FRAMES, _CONFLICT, _SEGMENT (as pmpt_write), _BUSY (an open bulk transaction hides it),
 * _TX_TOO_LARGE, _TX_STATE, _READ_ONLY, _SLOT, _CORRUPT; -EINVAL access; -ENOSPC (the pool grows);
 * -ENOMEM.
 * On error the transaction is as before the call.
 * Durability: with the transaction; tx NULL: on return. */
PMPT_API int pmpt_fault(pmpt_tx *tx, pmpt_space *space, uint64_t va, unsigned access,
			struct pmpt_mapping *mapping);

/* ---- comparing spaces ------------------------------------------------------------------------ */

/* A page, or a hole, in which two spaces differ.  Where one has a huge page and the other smaller
 * ones, the smaller size counts, and the huge page's part is given as such a page. */
struct pmpt_change {
	uint64_t va;
	uint64_t page_bytes;
	struct pmpt_mapping a, b; /* level 0: not mapped */
};

/* Call fn for each page in which b differs from a, in ascending order: another frame, other
 * permissions, tags or key, mapped in one alone.  Subtrees that relatives share are skipped whole, so
 * the time depends on what has changed since a fork, not on what is mapped.
 * view: NULL: as they are now, each page a committed value, together no snapshot.
 * A nonzero value of fn ends it and is returned.  fn may change the spaces, not close them.
 * Returns 0; -EINVAL (of two pools); PMPT_E_BUSY, _CORRUPT, _VIEW_STALE, _NO_SPACE (one is younger than
 * the view), _FORKED. */
PMPT_API int pmpt_diff(const pmpt_view *view, const pmpt_space *a, const pmpt_space *b,
		       int (*fn)(void *ctx, const struct pmpt_change *change), void *ctx);

struct pmpt_space_info {
	bool snapshot;         /* read-only */
	uint64_t mapped_bytes; /* all pages */
	uint64_t own_bytes;    /* of these, in frames that nothing else maps: a delete frees them */
	uint64_t shared_bytes; /* in frames that relatives or other mappings have, too */
	uint64_t ext_bytes;    /* not the pool's */
	uint64_t out_bytes;    /* in the swap file, not in mapped_bytes */
	uint64_t tables;       /* table frames */
	uint64_t tables_shared; /* of these, that relatives have, too */
};

/* What a space maps, and how much of it is its own alone.  Reads all its tables and the descriptors
 * of its frames.  Exact when nothing changes meanwhile.
 * Returns 0; PMPT_E_CORRUPT, _FORKED. */
PMPT_API int pmpt_space_info(const pmpt_space *space, struct pmpt_space_info *info);

/* ---- read views: many reads of one state -----------------------------------------------------
 *
 * A view sees all spaces of the pool as the transactions up to its LSN left them, whatever is
 * committed later.  It lives in this process alone.  While it is open, words that are overwritten are
 * kept in DRAM, and frames that it sees and that are freed are not used again.  Writers never wait for a
 * view, nor fail for one: what it needs goes when they need the room (pmpt_view_limit).
 *
 * Threads: any number may read in a view at once; none does when it is closed.
 * Errors of all calls that read in one: PMPT_E_VIEW_STALE (pmpt_view_limit); PMPT_E_NO_SPACE (the
 * space was not there yet); PMPT_E_BUSY (a bulk transaction that was open when the view was opened
 * had changed, or was about to change, what is at the address: that part stays hidden in this view);
 * PMPT_E_FORKED; -EINVAL (the view and the space are of two pools).  Never a wrong value. */

/* Open a view of what is committed now: at least all that pmpt_commit() has returned for.
 *
 * No log line and no fence.  It waits for commits of other threads that are past their commit
 * point, or about to reach it, until they are stored home; they wait for nothing of its.
 *
 * Returns 0; PMPT_E_FORKED; -ENOMEM.
 * Durability: what a view shows is durable.
 * Crash: a view leaves nothing behind. */
PMPT_API int pmpt_view_open(pmpt_pool *pool, pmpt_view **view);

/* Close it, stale or not; view may be NULL.  In a forked child nothing is done. */
PMPT_API void pmpt_view_close(pmpt_view *view);

/* The last LSN that it sees: that of a commit at or below is in it, above it is not. */
PMPT_API uint64_t pmpt_view_lsn(const pmpt_view *view);

/* What has been read so far in the view, also by pointers of pmpt_page_ptr(), is right.
 * Returns 0; PMPT_E_VIEW_STALE; PMPT_E_FORKED. */
PMPT_API int pmpt_view_check(const pmpt_view *view);

/* As pmpt_lookup(), pmpt_query(), pmpt_walk() and pmpt_user_get() were at the view's LSN.  For
 * pmpt_view_walk() all pages together are that snapshot; fn may change the space, and does not see
 * it; an error in the middle ends the walk. */
PMPT_API int pmpt_view_lookup(const pmpt_view *view, const pmpt_space *space, uint64_t va,
			      uint64_t *entry);
PMPT_API int pmpt_view_query(const pmpt_view *view, const pmpt_space *space, uint64_t va,
			     struct pmpt_mapping *mapping);
PMPT_API int pmpt_view_walk(const pmpt_view *view, const pmpt_space *space, uint64_t va,
			    uint64_t len_bytes, int (*fn)(void *ctx, const struct pmpt_mapping *m),
			    void *ctx);
PMPT_API int pmpt_view_user_get(const pmpt_view *view, const pmpt_space *space, unsigned index,
				uint64_t *value);

/* Most DRAM for overwritten words of all views of a pool, 36 bytes each and the table that replaces
 * a full one; PMPT_VIEW_BYTES before it is called.  0 is allowed: a view is then stale with the first
 * word that changes.  Where they do not fit, the oldest view becomes stale.
 * Frames that views keep from being used again are not counted: when a transaction finds no other, and
 * the pool cannot grow, the oldest view that keeps any becomes stale, and so on until there are enough.
 * UINT64_MAX: no view becomes stale but for want of memory, and writers get PMPT_E_NO_FRAMES there: for who
 * believes pointers of pmpt_page_ptr() as they are.
 * Returns 0; PMPT_E_FORKED. */
PMPT_API int pmpt_view_limit(pmpt_pool *pool, uint64_t bytes);

/* Copy the pool to a new file while others go on reading and writing: the state of a read view that is
 * opened at the beginning.
 *
 * path: does not exist; it appears when the copy is whole.
 * progress: may be NULL: called with 0..1000; it may change the pool, and the copy does not show it.
 * Pages of the caller's that are overwritten in place meanwhile are copied as they are found.  The
 * copy has the size of the pool's file and blocks where that has them; free frames are zeros in it.
 * Where the pool has a swap file the copy has one of its own, `path`.swap, and refers to it there.
 * It can be opened as soon as the pool itself is not open in the same process.
 *
 * Returns 0; -EEXIST; -ENOSPC; PMPT_E_BUSY (a bulk transaction is open); PMPT_E_VIEW_STALE (too much
 * was changed meanwhile for pmpt_view_limit()); PMPT_E_MEDIUM (the pool is not one regular file);
 * PMPT_E_SWAP (the swap file is lost, or was turned on or off meanwhile); PMPT_E_SLOT (a page in it is
 * damaged); PMPT_E_FORKED; -ENOMEM; other negated errnos.  On error nothing is left behind.
 * Durability: on 0 the copy is durable, its name too.
 * Crash: before that, there may be files `path`.XXXXXX and `path`.swap, which may be deleted. */
PMPT_API int pmpt_backup(pmpt_pool *pool, const char *path,
			 void (*progress)(void *ctx, unsigned permille), void *ctx);

/* ---- swap: a space larger than the pool ------------------------------------------------------
 *
 * A pool may have one swap file, on any file system.  A page that is *out* is in a slot of that file
 * and has no frame; its entry is not present and keeps its permissions and tags.  Which pages go is
 * durable and atomic as everything is; what a page holds is the same wherever it is.
 * Pages of 4 KiB with a frame of the pool that no other entry refers to can go out: not PMPT_EXT,
 * not huge, not shared between spaces.
 *
 * RULE for who stores into pages in place, by pmpt_frame_ptr(): a page that goes out leaves its frame,
 * and a pointer to it is then a pointer to something else.  Do so only in a frame that the transaction
 * has reserved, or while nothing moves pages out.  What pmpt_write changes is never changed in place. */

/* Make a swap file and use it.
 *
 * path: a new file, made absolute; at most PMPT_SWAP_PATH_MAX bytes.  bytes: of pages, a multiple of
 * 4096 up to 1 TiB; the file is 1.6 % larger.  Its blocks exist when this returns.
 * The pool pays one frame for 512 slots, and one: a run of frames, so early is better than late.
 *
 * Returns 0; -EINVAL; -EEXIST (the path is something else's); -ENOSPC and other errnos of the file;
 * PMPT_E_SWAP (the pool has one); PMPT_E_NO_FRAMES, _SPACES_FULL (it takes a record of the
 * directory), _READ_ONLY, _FORKED, _IO.
 * Durability: durable on return; from then on libraries that know no swap refuse the pool. */
PMPT_API int pmpt_swap_on(pmpt_pool *pool, const char *path, uint64_t bytes);

/* Bring all pages back, remove the file.
 * Returns 0; PMPT_E_NO_FRAMES (too few), _SLOT (a page is damaged or lost: overwrite or unmap it),
 * _CONFLICT, _BUSY (a transaction that ends now, or a view, has pages there): it is still on, with the
 * pages that are back;
 * PMPT_E_SWAP (there is none); PMPT_E_IO, _READ_ONLY, _FORKED; -ENOMEM. */
PMPT_API int pmpt_swap_off(pmpt_pool *pool);

/* Move the pages of [va, va + len_bytes) out, those that can go.  Others, and pages that a transaction
 * is changing, stay.  n_pages: out, may be NULL, set on error too: how many went.
 * Each batch of up to 64 is a transaction of its own, behind one fdatasync of the file.
 * Returns 0; PMPT_E_SWAP (none, lost, all slots in use, or a write or fdatasync failed: then and from
 * then on nothing goes out any more, and what is out is read as long as it is valid);
 * PMPT_E_ADDRESS, _READ_ONLY, _FORKED, _IO; -ENOMEM. */
PMPT_API int pmpt_swap_out(pmpt_space *space, uint64_t va, uint64_t len_bytes, uint64_t *n_pages);

/* Bring the pages of [va, va + len_bytes) that are out back.  n_pages as above.
 * Returns 0; PMPT_E_SLOT (a slot is damaged, or the file is lost; the message names file, offset,
 * found and expected; pages before it are in); PMPT_E_NO_FRAMES, _ADDRESS, _CONFLICT, _READ_ONLY,
 * _FORKED, _IO; -ENOMEM. */
PMPT_API int pmpt_swap_in(pmpt_space *space, uint64_t va, uint64_t len_bytes, uint64_t *n_pages);

/* Move up to n_pages pages of any space out, by a clock: a page whose A bit is set has it cleared and
 * is passed by.  done: out, may be NULL: how many went; fewer than asked when there are no more.
 * Returns as pmpt_swap_out. */
PMPT_API int pmpt_evict(pmpt_pool *pool, uint64_t n_pages, uint64_t *done);

/* Water marks: when fewer than low_frames are free, a thread of the library moves pages out until
 * high_frames are; a call that finds no free frame does so itself, before PMPT_E_NO_FRAMES.  A pool
 * that can still grow grows first when a call needs it.  It cannot move out what the tables hold that
 * its own transaction changes: then it is PMPT_E_NO_FRAMES, and abort, pmpt_evict and another try help.
 * 0, 0: none, and the thread has ended on return.  Not durable: set it after each open.
 * Returns 0; -EINVAL; -EAGAIN (no thread); PMPT_E_READ_ONLY, _FORKED. */
PMPT_API int pmpt_swap_auto(pmpt_pool *pool, uint64_t low_frames, uint64_t high_frames);

struct pmpt_swap_status {
	char path[PMPT_SWAP_PATH_MAX + 1]; /* "": there is no swap file */
	uint64_t slots, used;
	uint64_t outs, ins;               /* pages since open */
	uint64_t low_frames, high_frames; /* pmpt_swap_auto */
	int failed;  /* negated errno of the write or fdatasync that failed, or 0 */
	int missing; /* the error with which the open did not take the file, or 0 */
};

/* Returns 0; PMPT_E_FORKED. */
PMPT_API int pmpt_swap_status(pmpt_pool *pool, struct pmpt_swap_status *status);

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
