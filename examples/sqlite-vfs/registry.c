/* SPDX-License-Identifier: BSD-3-Clause */
/* registry -- the pools and databases that this process has open, shared by its connections.
 *
 * A pool is open while a database of it is: one process has it at a time, and lets go as soon as it can.
 * After fork() the child begins with an empty registry; what it inherited is dead (registry_generation).
 */
#include "vfs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

SQLITE_EXTENSION_INIT3

#define POOL_BYTES (256ull << 20) /* of a new pool */
#define BULK_PART  64u /* of a pool is its bulk lane: what fits in the pool, fits there */
#define HASH_CHARS 17u /* "~" and 16 hexadecimal digits */
#define WORD_PROBE 7u  /* a user word that nothing uses */
#define BULK_TOP   (1u << 30)

pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
struct db_file *connections;
unsigned registry_generation;
static struct pool *pools;
static struct database *databases;

static void fork_prepare(void)
{
	pthread_mutex_lock(&registry_lock);
	pthread_mutex_lock(&report_lock);
}
static void fork_parent(void)
{
	pthread_mutex_unlock(&report_lock);
	pthread_mutex_unlock(&registry_lock);
}
static void fork_child(void)
{
	registry_generation++;
	connections = NULL;
	pools = NULL;
	databases = NULL;
	fork_parent();
}

static void watch_forks(void) { (void)pthread_atfork(fork_prepare, fork_parent, fork_child); }

/* Two threads may load the extension at once. */
void registry_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, watch_forks);
}

unsigned connections_reading(const struct pool *pool, const struct database *db)
{
	unsigned n = 0;

	pthread_mutex_lock(&registry_lock);
	for (const struct db_file *f = connections; f; f = f->next)
		n += (f->db == db || f->db->pool == pool) && atomic_load(&f->reading);
	pthread_mutex_unlock(&registry_lock);
	return n;
}

/* ---- names ------------------------------------------------------------------------------------ */

/* The length of the UTF-8 character at s that a space's name may have, or 0. */
static size_t legal_char(const unsigned char *s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *s < 0x80                 ? 1
		   : *s >= 0xf0 && *s < 0xf8 ? 4
		   : *s >= 0xe0              ? 3
		   : *s >= 0xc0              ? 2
					     : 0;
	uint32_t c = n == 1 ? *s : n ? *s & (0x7fu >> n) : 0;

	if (!n || *s >= 0xf8)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c < least[n] || c > 0x10ffff ||
	    (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

static uint64_t name_hash(const char *name)
{
	uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3ull;
	return h;
}

static bool looks_hashed(const char *name, size_t len)
{
	return len >= HASH_CHARS && name[len - HASH_CHARS] == '~' &&
	       strspn(name + len - HASH_CHARS + 1, "0123456789abcdef") == HASH_CHARS - 1;
}

/* Illegal bytes become '_'.  Returns whether there were any. */
static bool make_legal(char *s)
{
	bool changed = false;

	while (*s) {
		size_t n = legal_char((unsigned char *)s);

		if (!n) {
			*s = '_';
			changed = true;
		}
		s += n ? n : 1;
	}
	return changed;
}

void space_name(const char *name, const char *snapshot, char out[PMPT_NAME_MAX + 1])
{
	size_t len = strlen(name) + (snapshot ? strlen(snapshot) + 1 : 0), from = 0;
	char *whole = malloc(len + 1);
	uint64_t h;

	out[0] = 0;
	if (!whole)
		return;
	(void)snprintf(whole, len + 1, "%s%s%s", name, snapshot ? "@" : "",
		       snapshot ? snapshot : "");
	h = name_hash(whole);
	if (!make_legal(whole) && len <= PMPT_NAME_MAX && !looks_hashed(whole, len)) {
		memcpy(out, whole, len + 1);
	} else { /* its end, and a hash of all of it */
		if (len > PMPT_NAME_MAX - HASH_CHARS)
			from = len - (PMPT_NAME_MAX - HASH_CHARS);
		while (((unsigned char)whole[from] & 0xc0) == 0x80)
			from++;
		(void)snprintf(out, PMPT_NAME_MAX + 1, "%s~%016llx", whole + from,
			       (unsigned long long)h);
	}
	free(whole);
}

/* The path of a pool as other openers of it will have it. */
static char *pool_path(const char *given)
{
	char dir[PATH_MAX], *real = realpath(given, NULL), *path;
	const char *slash = strrchr(given, '/');
	size_t room;

	if (real)
		return real;
	if (slash)
		(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - given + 1), given);
	real = realpath(slash ? dir : ".", NULL);
	if (!real)
		return strdup(given);
	room = strlen(real) + strlen(given) + 2;
	path = malloc(room);
	if (path)
		(void)snprintf(path, room, "%s/%s", real, slash ? slash + 1 : given);
	free(real);
	return path;
}

/* ---- pools ------------------------------------------------------------------------------------ */

/* "4G": bytes, a multiple of the page size; 0: no size. */
static uint64_t size_of(const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);
	unsigned shift = 0;

	switch (*end) {
	case 'K':
	case 'k':
		shift = 10;
		break;
	case 'M':
	case 'm':
		shift = 20;
		break;
	case 'G':
	case 'g':
		shift = 30;
		break;
	default:
		break;
	}
	if (end == text || end[shift ? 1 : 0] || n > PMPT_POOL_MAX_BYTES >> shift)
		return 0;
	return (n << shift) & ~(uint64_t)(PMPT_PAGE_BYTES - 1);
}

static int pool_create(const char *path, const char *size, pmpt_pool **pmpt)
{
	struct pmpt_config config = { .pool_bytes = POOL_BYTES };

	if (!size)
		size = getenv("PMPT_POOL_SIZE");
	if (size)
		config.pool_bytes = size_of(size);
	if (config.pool_bytes < PMPT_POOL_MIN_BYTES)
		return -EINVAL;
	if (config.pool_bytes / BULK_PART > PMPT_BULK_DEFAULT_BYTES)
		config.bulk_bytes =
			config.pool_bytes / BULK_PART < BULK_TOP
				? (uint32_t)(config.pool_bytes / BULK_PART) & ~(PMPT_PAGE_BYTES - 1)
				: BULK_TOP;
	return pmpt_create(path, &config, pmpt);
}

static int pool_open_or_create(const struct request *request, const char *path, pmpt_pool **pmpt)
{
	int rc = pmpt_open(path, 0, pmpt);

	if (rc == -ENOENT && request->create) {
		rc = pool_create(path, request->pool_size, pmpt);
		if (rc == -EEXIST) /* another process was faster */
			rc = pmpt_open(path, 0, pmpt);
		if (rc == -EINVAL)
			return report_text(SQLITE_CANTOPEN,
					   "bad size for a new pool (16M to 1024G)", path);
	}
	if (rc)
		return report(rc, "cannot open pool", path);
	/* No view gets stale: SQLite has pointers to its pages (xFetch).  The pool's frames are the
	 * limit, of which an open view holds back those that are freed. */
	(void)pmpt_view_limit(*pmpt, UINT64_MAX);
	return SQLITE_OK;
}

/* A use of the pool. */
static int pool_get(const struct request *request, struct pool **out)
{
	char *path = pool_path(request->pool);
	struct pool *p = pools;
	int rc = path ? SQLITE_OK : SQLITE_NOMEM;

	while (p && path && strcmp(p->path, path))
		p = p->next;
	if (!p && !rc) {
		p = calloc(1, sizeof(*p));
		rc = p ? pool_open_or_create(request, path, &p->pmpt) : SQLITE_NOMEM;
		if (rc) {
			free(p);
		} else {
			p->path = path;
			path = NULL;
			pthread_rwlock_init(&p->bulk, NULL);
			p->next = pools;
			pools = p;
		}
	}
	free(path);
	if (rc)
		return rc;
	p->users++;
	*out = p;
	return SQLITE_OK;
}

static void pool_put(struct pool *pool)
{
	struct pool **at = &pools;
	int rc;

	if (--pool->users)
		return;
	while (*at != pool)
		at = &(*at)->next;
	*at = pool->next;
	rc = pmpt_close(pool->pmpt);
	if (rc)
		(void)report(rc, "closing pool", pool->path);
	pthread_rwlock_destroy(&pool->bulk);
	free(pool->path);
	free(pool);
}

const char *pool_default(char *room)
{
	const char *path = getenv("PMPT_POOL");

	if (path && *path)
		return path;
	pthread_mutex_lock(&registry_lock);
	path = NULL;
	if (pools && !pools->next && strlen(pools->path) < PATH_MAX)
		path = strcpy(room, pools->path);
	pthread_mutex_unlock(&registry_lock);
	return path;
}

/* ---- databases -------------------------------------------------------------------------------- */

static int first_page(void *ctx, const struct pmpt_mapping *m)
{
	(void)ctx, (void)m;
	return 1;
}

/* Is the space a database?  An empty one becomes one: so ends a creation that a crash cut short. */
static int space_adopt(pmpt_space *space)
{
	uint64_t magic, size;
	pmpt_tx *tx;
	int rc = pmpt_user_get(space, WORD_MAGIC, &magic);

	if (rc || magic == VFS_MAGIC)
		return rc;
	rc = pmpt_user_get(space, WORD_SIZE, &size);
	if (!rc && (magic || size || pmpt_walk(space, 0, 0, first_page, NULL)))
		return PMPT_E_NOT_POOL;
	if (!rc)
		rc = pmpt_begin(pmpt_space_pool(space), 0, &tx);
	if (rc)
		return rc;
	rc = pmpt_user_set(tx, space, WORD_MAGIC, VFS_MAGIC);
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	if (rc)
		(void)pmpt_abort(tx);
	return rc;
}

static int space_get(struct pool *pool, const struct request *request, const char *name,
		     struct database *db)
{
	uint64_t word;
	int rc = pmpt_space_open(pool->pmpt, name, &db->space);

	if (rc == PMPT_E_NO_SPACE && request->create && !request->snapshot)
		rc = pmpt_space_create(pool->pmpt, name, &db->space);
	if (rc)
		return report(rc, "cannot open database", name);
	rc = space_adopt(db->space);
	if (!rc)
		rc = pmpt_user_get(db->space, WORD_PROBE, &word);
	if (!rc)
		rc = pmpt_user_set(NULL, db->space, WORD_PROBE, word);
	db->read_only = rc == PMPT_E_SNAPSHOT || rc == PMPT_E_READ_ONLY;
	if (!rc || db->read_only)
		return SQLITE_OK;
	pmpt_space_close(db->space);
	if (rc == PMPT_E_NOT_POOL)
		return report_text(SQLITE_NOTADB, "the space is no database", name);
	return report(rc, "cannot open database", name);
}

/* A use of the database, whose pool has a use more for it. */
static int database_get(struct pool *pool, const struct request *request, struct database **out)
{
	char name[PMPT_NAME_MAX + 1];
	struct database *db = databases;
	int rc;

	space_name(request->name, request->snapshot, name);
	while (db && (db->pool != pool || strcmp(pmpt_space_name(db->space), name)))
		db = db->next;
	if (!db) {
		db = calloc(1, sizeof(*db));
		rc = db ? space_get(pool, request, name, db) : SQLITE_NOMEM;
		if (rc) {
			free(db);
			return rc;
		}
		db->pool = pool;
		pool->users++;
		pthread_mutex_init(&db->lock, NULL);
		db->next = databases;
		databases = db;
	}
	db->users++;
	*out = db;
	return SQLITE_OK;
}

int database_open(const struct request *request, struct database **db)
{
	struct pool *pool;
	int rc;

	pthread_mutex_lock(&registry_lock);
	rc = pool_get(request, &pool);
	if (!rc) {
		rc = database_get(pool, request, db);
		pool_put(pool);
	}
	pthread_mutex_unlock(&registry_lock);
	return rc;
}

void database_close(struct database *db)
{
	struct database **at = &databases;

	pthread_mutex_lock(&registry_lock);
	if (--db->users == 0) {
		while (*at != db)
			at = &(*at)->next;
		*at = db->next;
		pmpt_space_close(db->space);
		pool_put(db->pool);
		pthread_mutex_destroy(&db->lock);
		free(db);
	}
	pthread_mutex_unlock(&registry_lock);
}

/* A pool that is not there yet has no database; that is no error. */
static bool pool_there(const char *pool) { return !access(pool, F_OK) || errno != ENOENT; }

int database_delete(const char *pool, const char *name)
{
	struct request request = { .pool = pool, .name = name };
	char space[PMPT_NAME_MAX + 1];
	struct pool *p;
	int rc;

	if (!pool_there(pool))
		return SQLITE_IOERR_DELETE_NOENT;
	space_name(name, NULL, space);
	pthread_mutex_lock(&registry_lock);
	rc = pool_get(&request, &p);
	if (!rc) {
		rc = pmpt_space_delete(p->pmpt, space);
		if (rc == PMPT_E_NO_SPACE)
			rc = SQLITE_IOERR_DELETE_NOENT;
		else if (rc)
			rc = report(rc, "cannot delete database", name);
		pool_put(p);
	}
	pthread_mutex_unlock(&registry_lock);
	return rc;
}

bool database_exists(const char *pool, const char *name)
{
	struct request request = { .pool = pool, .name = name };
	char space_of[PMPT_NAME_MAX + 1];
	pmpt_space *space;
	struct pool *p;
	bool exists = false;

	if (!pool_there(pool))
		return false;
	space_name(name, NULL, space_of);
	pthread_mutex_lock(&registry_lock);
	if (pool_get(&request, &p) == SQLITE_OK) {
		exists = pmpt_space_open(p->pmpt, space_of, &space) == 0;
		if (exists)
			pmpt_space_close(space);
		pool_put(p);
	}
	pthread_mutex_unlock(&registry_lock);
	return exists;
}
