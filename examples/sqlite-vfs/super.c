/* SPDX-License-Identifier: BSD-3-Clause */
/* super -- super-journals.  A transaction over several databases has one: see vfs.h. */
#include "vfs.h"

#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

struct super {
	struct super *next;
	struct memory memory; /* the journals' names */
	struct db_file *enlisted;
	bool off; /* one of them went its own way: it is rolled back */
	char name[];
};

static struct super *supers; /* under registry_lock */
static atomic_uint n_supers;
static unsigned supers_generation;

/* The registry is locked.  The list of a parent process is not ours. */
static struct super **find(const char *name)
{
	struct super **at = &supers;

	if (supers_generation != registry_generation) {
		supers = NULL;
		atomic_store(&n_supers, 0);
		supers_generation = registry_generation;
	}
	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	return at;
}

/* The registry is locked: the writer that has a journal of that name, and that this thread is in: other
 * connections may have journals of that name, too, in other pools, or idle. */
static struct db_file *journal_writer(const char *name)
{
	for (struct db_file *f = connections; f; f = f->next) {
		bool writer;

		if (!pthread_equal(f->thread, pthread_self()) ||
		    strcmp(sqlite3_filename_journal(f->name), name))
			continue;
		pthread_mutex_lock(&f->db->lock);
		writer = f->db->writer == f;
		pthread_mutex_unlock(&f->db->lock);
		if (writer)
			return f;
	}
	return NULL;
}

/* The registry is locked: the open journal of that name that is about to be committed or rolled back.  A
 * super-journal lives in one call of SQLite. */
static struct db_file *journal_owner(const char *name)
{
	struct db_file *f = journal_writer(name);

	return f && atomic_load(&f->journal.handles) ? f : NULL;
}

/* The registry is locked.  SQLite's own pointer is the one with which a connection asks about its journal. */
static struct db_file *journal_pointer(const char *name)
{
	struct db_file *f = connections;

	while (f && sqlite3_filename_journal(f->name) != name)
		f = f->next;
	return f;
}

struct db_file *super_connection(const char *name)
{
	struct db_file *f;

	pthread_mutex_lock(&registry_lock);
	f = journal_pointer(name);
	if (!f)
		f = journal_writer(name);
	pthread_mutex_unlock(&registry_lock);
	return f;
}

static struct super *make(const char *name)
{
	struct super *s = calloc(1, sizeof(*s) + strlen(name) + 1);

	if (!s)
		return NULL;
	strcpy(s->name, name);
	s->next = supers;
	supers = s;
	atomic_fetch_add(&n_supers, 1);
	return s;
}

int super_open(const char *name, sqlite3_file *file, int flags)
{
	int rc = SQLITE_CANTOPEN;
	struct db_file *f;
	struct super *s;

	pthread_mutex_lock(&registry_lock);
	s = *find(name);
	if (!s && flags & SQLITE_OPEN_CREATE) {
		s = make(name);
		rc = s ? memory_open(file, &s->memory, s) : SQLITE_NOMEM;
	} else if (s && !(flags & SQLITE_OPEN_CREATE)) {
		rc = memory_open(file, &s->memory, s);
	} else if (!s) { /* SQLite looks into a journal that a super-journal lists */
		f = journal_owner(name);
		if (f)
			rc = memory_open(file, &f->journal, NULL);
	}
	pthread_mutex_unlock(&registry_lock);
	return rc;
}

int super_delete(const char *name, bool *found)
{
	int rc = SQLITE_OK;
	struct super **at, *s;

	*found = false;
	if (!atomic_load(&n_supers))
		return SQLITE_OK;
	pthread_mutex_lock(&registry_lock);
	s = *find(name);
	pthread_mutex_unlock(&registry_lock);
	if (!s)
		return SQLITE_OK;
	*found = true;
	/* Who makes a super-journal deletes it, and has the connections that are enlisted. */
	if (!s->off && s->enlisted)
		rc = databases_commit(s->enlisted);
	if (rc) {
		s->off = true;
		return rc;
	}
	for (struct db_file *f = s->enlisted, *next; f; f = next) {
		next = f->super_next;
		f->super = NULL;
		f->super_next = NULL;
	}
	pthread_mutex_lock(&registry_lock);
	at = find(name);
	*at = s->next;
	atomic_fetch_sub(&n_supers, 1);
	pthread_mutex_unlock(&registry_lock);
	memory_clear(&s->memory, false);
	free(s);
	return SQLITE_OK;
}

bool super_exists(const char *name)
{
	bool exists;

	if (!atomic_load(&n_supers))
		return false;
	pthread_mutex_lock(&registry_lock);
	exists = *find(name) != NULL;
	pthread_mutex_unlock(&registry_lock);
	return exists;
}

bool super_child(const char *journal)
{
	const struct db_file *f;

	pthread_mutex_lock(&registry_lock);
	f = connections;
	while (f && strcmp(sqlite3_filename_journal(f->name), journal))
		f = f->next;
	pthread_mutex_unlock(&registry_lock);
	return f;
}

bool super_journal_exists(const char *name)
{
	bool exists;

	if (!atomic_load(&n_supers))
		return false;
	pthread_mutex_lock(&registry_lock);
	exists = !journal_pointer(name) && journal_owner(name);
	pthread_mutex_unlock(&registry_lock);
	return exists;
}

bool super_enlist(struct db_file *f, const char *name)
{
	struct super *s;

	if (f->super && !strcmp(f->super->name, name))
		return true;
	pthread_mutex_lock(&registry_lock);
	s = *find(name);
	pthread_mutex_unlock(&registry_lock);
	if (!s || s->off)
		return false;
	f->super = s;
	f->super_next = s->enlisted;
	s->enlisted = f;
	return true;
}

void super_leave(struct db_file *f)
{
	struct db_file **at = &f->super->enlisted;

	f->super->off = true;
	while (*at != f)
		at = &(*at)->super_next;
	*at = f->super_next;
	f->super = NULL;
	f->super_next = NULL;
}
