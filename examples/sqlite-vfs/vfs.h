/* SPDX-License-Identifier: BSD-3-Clause */
/* vfs -- SQLite databases in the spaces of a libpmpt pool: what the files of this directory share.
 *
 * FORMAT	a database is a space; byte n of the database file is at address n
 *		user word 0	size of the database file in bytes
 *		user word 1	VFS_MAGIC
 *		a snapshot NAME of it is a read-only fork, the space DATABASE@NAME
 * INVARIANTS
 *	D1	the space changes in commit.c alone: one libpmpt transaction for one SQLite transaction, which
 *		begins and ends inside one call of SQLite.  (A pmpt_tx belongs to a thread; a connection of
 *		SQLite may go from thread to thread between two calls.)
 *	D2	who commits is the database's writer, and its view had all commits before: struct database
 *	D3	a connection with SHARED or more reads its view, and on top of that what it has written itself
 *	D4	each commit that changes pages has a change counter above the one before, by which others
 *		know that what they have in memory is old; SQLite in its exclusive mode lets it stand
 *	D5	journals are in memory: what a crash leaves behind is never to be rolled back
 *	D6	what the views of a connection's databases show, in one pool, was true at one moment: half of a
 *		commit of several is never seen
 * LOCKS	registry_lock -> database.lock, report_lock.  pool.bulk is taken with neither held.
 */
#ifndef PMPT_VFS_H
#define PMPT_VFS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3ext.h>

#include <libpmpt.h>

#define VFS_NAME  "pmpt"
#define VFS_MAGIC 0x314c515354504d50ull /* "PMPTSQL1" */

enum { WORD_SIZE, WORD_MAGIC };

#define BLOCK_BYTES PMPT_PAGE_BYTES

/* ---- memory.c: growing memory, and files in it ------------------------------------------------ */

struct memory {
	char *data;
	uint64_t size, room;
	atomic_uint handles;
};

/* Files in memory: journals, temporary files. */
struct memory_file {
	sqlite3_file base;
	struct memory *memory;
	bool own;            /* freed with the file */
	struct super *super; /* it is this super-journal */
};

int memory_write(struct memory *m, const void *buf, size_t len, uint64_t at);
/* What ends beyond the end is filled with zeros: SQLITE_IOERR_SHORT_READ. */
int memory_read(const struct memory *m, void *buf, size_t len, uint64_t at);
/* Empty it; keep: a small buffer stays for the next time. */
void memory_clear(struct memory *m, bool keep);
/* Make *file a file over m; NULL: over memory of its own. */
int memory_open(sqlite3_file *file, struct memory *m, struct super *super);

/* ---- buffer.c: what a connection has written and not yet committed --------------------------- */

struct block {
	uint64_t at; /* address in the space, a multiple of BLOCK_BYTES */
	char *data;
};

struct buffer {
	struct block *block;
	size_t n, room;
	uint32_t *slot; /* hash: index of a block + 1; not used while there are few */
	size_t n_slots;
	char **chunk; /* of CHUNK_BLOCKS blocks: neighbours in the file are neighbours in memory */
	size_t n_chunks;
};

struct block *buffer_find(const struct buffer *b, uint64_t at);
/* A new block with undefined content; NULL: no memory. */
struct block *buffer_add(struct buffer *b, uint64_t at);
/* The block that was added last is gone. */
void buffer_pop(struct buffer *b);
/* Ascending addresses. */
void buffer_sort(struct buffer *b);
void buffer_clear(struct buffer *b);
void buffer_free(struct buffer *b);

/* ---- registry.c: pools and databases that this process has open ------------------------------ */

struct pool {
	struct pool *next;
	char *path;
	pmpt_pool *pmpt;
	unsigned users; /* databases */
	/* A bulk transaction is under way: what it has changed is hidden from views that open now,
	 * for good.  So they wait for its end.  bulk_serial is odd meanwhile: who finds it even, before and
	 * behind, needs no lock, which would go from processor to processor with each view. */
	pthread_rwlock_t bulk;
	_Atomic uint64_t bulk_serial;
};

struct database {
	struct database *next;
	struct pool *pool;
	pmpt_space *space;
	unsigned users; /* connections */
	bool read_only; /* a snapshot */
	pthread_mutex_t lock;
	/* under the lock: */
	struct db_file *writer; /* has RESERVED or more */
	uint64_t last_lsn;      /* of the last commit of this process */
};

struct request {
	const char *pool;      /* path */
	const char *name;      /* of the database, as given */
	const char *snapshot;  /* or NULL */
	const char *pool_size; /* of a new pool, or NULL */
	bool create;
};

extern pthread_mutex_t registry_lock;
extern struct db_file *connections; /* under the lock */
/* Of this process: handles of its parent are dead. */
extern unsigned registry_generation;
/* Connections with a view, of the pool or of the database; the other is NULL. */
unsigned connections_reading(const struct pool *pool, const struct database *db);

void registry_init(void);
/* Returns an SQLite code. */
int database_open(const struct request *request, struct database **db);
void database_close(struct database *db);
int database_delete(const char *pool, const char *name);
bool database_exists(const char *pool, const char *name);
/* The pool for a database that names none: $PMPT_POOL, or the only one that is open; NULL: none.
 * room: of PATH_MAX. */
const char *pool_default(char *room);
/* The name of a space for a file or, with snapshot, of a snapshot of it. */
void space_name(const char *name, const char *snapshot, char out[PMPT_NAME_MAX + 1]);

/* ---- file.c: an open database ---------------------------------------------------------------- */

struct db_file {
	sqlite3_file base;
	struct db_file *next; /* in connections */
	struct database *db;
	const char *name; /* SQLite's, with its URI parameters and the journal's name behind it */
	unsigned generation;
	_Atomic pthread_t thread; /* that was in it last */
	sqlite3 *sqlite;          /* whose it is */
	struct db_file *peer;     /* ring: the databases of one pool that it has attached */
	bool shared_cache;        /* it may be several's: no peers */
	int lock;                 /* SQLITE_LOCK_NONE ... */
	bool read_only;
	bool exclusive; /* PRAGMA locking_mode: the writer's place comes with SHARED */
	bool implicit; /* SQLite writes without locks (nolock=1): ours last from a write to its commit */

	bool writing;        /* it is db->writer, or may be */
	atomic_bool reading; /* it has a view: for others' statistics */
	pmpt_view *view;     /* peers may have the same */
	bool view_old;       /* this connection has committed since it was opened */
	uint64_t view_size;  /* of the file, in the view */
	unsigned fetched;    /* pages that SQLite has pointers to */
	bool view_fetched;   /* some of them are of the view */
	pmpt_view **kept;    /* older views with such pages */
	size_t n_kept;

	sqlite3_int64 mmap_limit;

	uint64_t size; /* of the file, as this connection has made it */
	uint64_t low;  /* to what it was truncated since the view: what is above is zero */
	struct buffer buffer;

	struct super *super; /* enlisted there */
	struct db_file *super_next;
	struct memory journal;
};

int db_file_open(sqlite3_file *file, const char *name, int flags, int *out_flags);
bool file_is_ours(const sqlite3_file *file);
bool db_file_dirty(const struct db_file *f);
/* Forget what was written and not committed. */
void db_file_discard(struct db_file *f);

static inline struct db_file *db_of(sqlite3_file *file) { return (struct db_file *)file; }
/* Of a parent process. */
static inline bool db_dead(const struct db_file *f) { return f->generation != registry_generation; }

/* ---- lock.c: locks and views ------------------------------------------------------------------ */

int db_lock(sqlite3_file *file, int level);
int db_unlock(sqlite3_file *file, int level);
int db_check_reserved(sqlite3_file *file, int *reserved);
/* SQLite does not lock (nolock=1): the application says that nobody else writes.  Somebody may, here. */
int db_implicit_lock(struct db_file *f);
/* The connection sees what it has committed. */
int view_renew(struct db_file *f);
/* SQLite has no pointers to pages any more. */
void views_drop(struct db_file *f);

/* ---- head.c: the header in page 1 ------------------------------------------------------------- */

#define HEAD_BYTES 100

/* A copy of a database in WAL mode says so in its header, and SQLite would not open it here.  The change
 * counter grows, so that the connection that writes reads the page again, too. */
void head_without_wal(char *page);
/* The change counter is above that of the header before; committed: HEAD_BYTES. */
bool head_is_newer(const char *page, const char *committed);
void head_renew(char *page, const char *committed);

/* ---- commit.c -------------------------------------------------------------------------------- */

/* Commit what the connections of a list have written, those of one pool atomically.
 * first: linked by super_next.  Returns an SQLite code; what was not committed is still there. */
int databases_commit(struct db_file *first);

/* ---- super.c: super-journals: attached databases commit together ------------------------------ */

/* ORDER of a commit of several databases: the super-journal is made (xOpen), each database is synced with
 * its name (enlisted), it is deleted: the commit point.  When one cannot be enlisted, or the commit fails,
 * SQLite rolls back all of them from their journals, and looks into those and into the super-journal to
 * know which still have to be. */
int super_open(const char *name, sqlite3_file *file, int flags);
int super_delete(const char *name, bool *found);
bool super_exists(const char *name);
/* A super-journal can list it: a journal of a connection of ours. */
bool super_child(const char *journal);
/* True: enlisted; what was written is committed with the others. */
bool super_enlist(struct db_file *f, const char *name);
/* What the connection does now is no part of a commit with others any more. */
void super_leave(struct db_file *f);
/* Whose journal has the name: SQLite's own pointer, or a copy of it by a VFS that is over ours.  NULL: nobody's. */
struct db_file *super_connection(const char *name);
/* For xAccess: the journal of a connection that takes part in a commit of several. */
bool super_journal_exists(const char *name);

/* ---- sql.c ----------------------------------------------------------------------------------- */

int sql_functions(sqlite3 *db);
/* NULL: no pragma of ours.  Else *answer: sqlite3_malloc'ed, or NULL. */
int sql_pragma(struct db_file *f, const char *name, const char *arg, char **answer);

/* ---- report.c: errors ------------------------------------------------------------------------ */

extern pthread_mutex_t report_lock;

/* The SQLite code for an error of libpmpt; logged, with its message. */
int report(int pmpt_error, const char *doing, const char *name);
/* code with a message of our own */
int report_text(int code, const char *text, const char *name);
/* The last one of the process, to be freed by sqlite3_free(). */
char *report_last(void);

/* ---- vfs.c ----------------------------------------------------------------------------------- */

extern sqlite3_vfs *base_vfs; /* of the system */
int vfs_register(bool as_default);
PMPT_API int sqlite3_pmptvfs_init(sqlite3 *db, char **error, const sqlite3_api_routines *api);

#endif
