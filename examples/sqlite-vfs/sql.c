/* SPDX-License-Identifier: BSD-3-Clause */
/* sql -- functions and pragmas: pmpt_stat, pmpt_checkpoint, pmpt_snapshot, pmpt_error. */
#include "vfs.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

static char *stat_json(struct db_file *f)
{
	struct database *db = f->db;
	struct pmpt_stats s = { 0 };
	unsigned readers = connections_reading(NULL, db);
	sqlite3_int64 size;
	bool writer;
	int rc = f->base.pMethods->xFileSize(&f->base, &size);

	if (rc)
		return NULL;
	rc = pmpt_stats(db->pool->pmpt, &s);
	if (rc) {
		(void)report(rc, "cannot read statistics of pool", db->pool->path);
		return NULL;
	}
	pthread_mutex_lock(&db->lock);
	writer = db->writer != NULL;
	pthread_mutex_unlock(&db->lock);
	return sqlite3_mprintf(
		"{\"pool\":\"%w\",\"database\":\"%w\",\"size_bytes\":%lld,\"read_only\":%s,"
		"\"connections\":%u,\"readers\":%u,\"writer\":%s,"
		"\"pool_bytes\":%llu,\"frames\":%llu,\"frames_free\":%llu,\"frames_data\":%llu,"
		"\"frames_table\":%llu,\"spaces\":%llu,\"commits\":%llu,\"aborts\":%llu,"
		"\"conflicts\":%llu,\"checkpoints\":%llu,\"lsn\":%llu,\"checkpoint_lsn\":%llu,"
		"\"log_lines\":%llu,\"fences\":%llu,\"volatile_bytes\":%llu}",
		db->pool->path, pmpt_space_name(db->space), size, db->read_only ? "true" : "false",
		db->users, readers, writer ? "true" : "false", s.pool_bytes, s.frames,
		s.frames_free, s.frames_data, s.frames_table, s.spaces, s.commits, s.aborts,
		s.conflicts, s.checkpoints, s.lsn, s.checkpoint_lsn, s.log_lines, s.fences,
		s.volatile_bytes);
}

static int checkpoint(struct db_file *f)
{
	int rc = pmpt_checkpoint(f->db->pool->pmpt);

	return rc ? report(rc, "cannot checkpoint pool", f->db->pool->path) : SQLITE_OK;
}

/* What is committed now. */
static int snapshot(struct db_file *f, const char *name)
{
	char space[PMPT_NAME_MAX + 1];
	int rc;

	if (!name || !*name)
		return report_text(SQLITE_ERROR, "the snapshot's name is empty", f->name);
	space_name(f->name, name, space);
	rc = pmpt_space_fork(f->db->space, space, PMPT_FORK_SNAPSHOT, NULL);
	return rc ? report(rc, "cannot make snapshot", space) : SQLITE_OK;
}

int sql_pragma(struct db_file *f, const char *name, const char *arg, char **answer)
{
	int rc;

	*answer = NULL;
	if (!sqlite3_stricmp(name, "pmpt_stat")) {
		*answer = stat_json(f);
		return *answer ? SQLITE_OK : SQLITE_ERROR;
	}
	if (!sqlite3_stricmp(name, "pmpt_checkpoint"))
		rc = checkpoint(f);
	else if (!sqlite3_stricmp(name, "pmpt_snapshot"))
		rc = snapshot(f, arg);
	else
		return SQLITE_NOTFOUND;
	*answer = rc ? report_last() : sqlite3_mprintf("ok");
	return rc;
}

/* ---- functions --------------------------------------------------------------------------------- */

/* The database that argument i names, or main. */
static struct db_file *file_of(sqlite3_context *ctx, int n, sqlite3_value **arg, int i)
{
	const char *schema = n > i ? (const char *)sqlite3_value_text(arg[i]) : "main";
	sqlite3_file *file = NULL;

	if (schema)
		(void)sqlite3_file_control(sqlite3_context_db_handle(ctx), schema,
					   SQLITE_FCNTL_FILE_POINTER, &file);
	if (file_is_ours(file) && ((struct db_file *)file)->generation == registry_generation)
		return (struct db_file *)file;
	sqlite3_result_error(ctx, "not a database of the VFS 'pmpt'", -1);
	return NULL;
}

static void result(sqlite3_context *ctx, int rc, const char *text)
{
	char *message;

	if (!rc) {
		sqlite3_result_text(ctx, text, -1, SQLITE_TRANSIENT);
		return;
	}
	message = report_last();
	sqlite3_result_error(ctx, message ? message : "out of memory", -1);
	sqlite3_result_error_code(ctx, rc);
	sqlite3_free(message);
}

static void fn_stat(sqlite3_context *ctx, int n, sqlite3_value **arg)
{
	struct db_file *f = file_of(ctx, n, arg, 0);
	char *json = f ? stat_json(f) : NULL;

	if (json)
		sqlite3_result_text(ctx, json, -1, sqlite3_free);
	else if (f)
		result(ctx, SQLITE_ERROR, NULL);
}

static void fn_checkpoint(sqlite3_context *ctx, int n, sqlite3_value **arg)
{
	struct db_file *f = file_of(ctx, n, arg, 0);

	if (f)
		result(ctx, checkpoint(f), "ok");
}

static void fn_snapshot(sqlite3_context *ctx, int n, sqlite3_value **arg)
{
	struct db_file *f = file_of(ctx, n, arg, 1);
	const char *name = (const char *)sqlite3_value_text(arg[0]);

	if (f)
		result(ctx, snapshot(f, name), name);
}

static void fn_error(sqlite3_context *ctx, int n, sqlite3_value **arg)
{
	(void)n, (void)arg;
	sqlite3_result_text(ctx, report_last(), -1, sqlite3_free);
}

int sql_functions(sqlite3 *db)
{
	static const struct {
		const char *name;
		int n;
		void (*fn)(sqlite3_context *, int, sqlite3_value **);
	} functions[] = {
		{ "pmpt_stat", 0, fn_stat },
		{ "pmpt_stat", 1, fn_stat },
		{ "pmpt_checkpoint", 0, fn_checkpoint },
		{ "pmpt_checkpoint", 1, fn_checkpoint },
		{ "pmpt_snapshot", 1, fn_snapshot },
		{ "pmpt_snapshot", 2, fn_snapshot },
		{ "pmpt_error", 0, fn_error },
	};
	int rc = SQLITE_OK;

	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions) && !rc; i++)
		rc = sqlite3_create_function(db, functions[i].name, functions[i].n,
					     SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, functions[i].fn,
					     NULL, NULL);
	return rc;
}
