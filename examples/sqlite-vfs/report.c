/* SPDX-License-Identifier: BSD-3-Clause */
/* report -- what went wrong, for SQLite in a number, for people in words.
 *
 * SQLite has no place for a text of the VFS's.  It goes to sqlite3_log(), to pmpt_error() of SQL, and, when
 * a pool or a database cannot be opened, to stderr, once: there is no connection then to ask.
 */
#include "vfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;
static char last[512], told[512];

static int code_of(int error)
{
	switch (error) {
	case 0:
		return SQLITE_OK;
	case PMPT_E_IN_USE:
	case PMPT_E_BUSY:
	case PMPT_E_CONFLICT:
	case PMPT_E_TX_LIMIT:
		return SQLITE_BUSY;
	case PMPT_E_VIEW_STALE:
		return SQLITE_BUSY_SNAPSHOT;
	case PMPT_E_NO_FRAMES:
	case PMPT_E_TX_TOO_LARGE:
	case PMPT_E_SPACES_FULL:
	case -ENOSPC:
		return SQLITE_FULL;
	case -ENOMEM:
		return SQLITE_NOMEM;
	case PMPT_E_NOT_POOL:
		return SQLITE_NOTADB;
	case PMPT_E_CORRUPT:
	case PMPT_E_TRUNCATED:
	case PMPT_E_SLOT:
		return SQLITE_CORRUPT;
	case PMPT_E_READ_ONLY:
	case PMPT_E_SNAPSHOT:
	case PMPT_E_DENIED_WRITE:
		return SQLITE_READONLY;
	case PMPT_E_NO_SPACE:
	case PMPT_E_NAME:
	case PMPT_E_VERSION:
	case PMPT_E_MEDIUM:
	case PMPT_E_CPU:
	case -ENOENT:
	case -EACCES:
	case -EISDIR:
	case -ENOTDIR:
	case -EINVAL:
	case -EPERM:
		return SQLITE_CANTOPEN;
	default:
		return SQLITE_IOERR;
	}
}

static void tell(int code, const char *text, bool opening)
{
	sqlite3_log(code, "%s", text);
	pthread_mutex_lock(&report_lock);
	(void)snprintf(last, sizeof(last), "%s", text);
	if (opening && strcmp(told, text)) {
		(void)snprintf(told, sizeof(told), "%s", text);
		(void)fprintf(stderr, "%s\n", text);
	}
	pthread_mutex_unlock(&report_lock);
}

int report(int error, const char *doing, const char *name)
{
	char text[512];
	int code = code_of(error);

	if (error == PMPT_E_IN_USE)
		(void)snprintf(text, sizeof(text), "pmpt: %s '%s': pool in use by another process",
			       doing, name);
	else
		(void)snprintf(text, sizeof(text), "pmpt: %s '%s': %s: %s", doing, name,
			       pmpt_strerror(error), pmpt_errormsg());
	tell(code, text, strncmp(doing, "cannot open", 11) == 0);
	return code;
}

int report_text(int code, const char *message, const char *name)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "pmpt: '%s': %s", name, message);
	tell(code, text, code == SQLITE_CANTOPEN || code == SQLITE_NOTADB);
	return code;
}

char *report_last(void)
{
	char *text;

	pthread_mutex_lock(&report_lock);
	text = sqlite3_mprintf("%s", last);
	pthread_mutex_unlock(&report_lock);
	return text;
}
