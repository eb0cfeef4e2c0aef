/* SPDX-License-Identifier: BSD-3-Clause */
/* open -- opening a pool that may be damaged, and changing it in one transaction.
 *
 * libpmemobj trusts its own metadata: where that is damaged, opening can fault, abort or never end.
 * Nothing else runs in this process meanwhile, so a handler that says so and exits is enough.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define OPEN_SECONDS 60   /* it takes milliseconds */
#define EVICT_PAGES  1024 /* before another try */

static char guard_message[512];
static const int guarded[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM };
#define N_GUARDED (sizeof(guarded) / sizeof(guarded[0]))

static void on_fault(int number)
{
	ssize_t ignored = write(STDERR_FILENO, guard_message, strlen(guard_message));

	(void)number;
	(void)ignored;
	_exit(EXIT_DAMAGED);
}

static void guard(const char *path, bool on)
{
	static char stack[64 << 10];
	struct sigaction action = { .sa_handler = on ? on_fault : SIG_DFL, .sa_flags = SA_ONSTACK };

	snprintf(guard_message, sizeof(guard_message),
		 "pmpt: %.300s: damaged in libpmemobj's own metadata: opening it crashed or hung; "
		 "'pmpt check' reads it without libpmemobj\n",
		 path);
	(void)sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof(stack) }, NULL);
	for (size_t i = 0; i < N_GUARDED; i++)
		(void)sigaction(guarded[i], &action, NULL);
	(void)alarm(on ? OPEN_SECONDS : 0);
}

/* What opening does without: a swap file that is gone, a damaged space that cannot be freed. */
static void on_log(void *ctx, enum pmpt_log_level level, const char *message)
{
	(void)ctx;
	if (level == PMPT_LOG_ERROR)
		warn("%s", message);
}

int open_pool(const char *path, pmpt_pool **pool, int *error)
{
	int rc;

	pmpt_log_to(on_log, NULL);
	guard(path, true);
	rc = pmpt_open(path, 0, pool);
	guard(path, false);
	if (error)
		*error = rc;
	if (!rc || (error && rc == PMPT_E_IN_USE))
		return rc ? EXIT_ERROR : EXIT_OK;
	return fail(rc, "%s", path);
}

int open_space(const char *path, const char *name, pmpt_pool **pool, pmpt_space **space)
{
	int code = open_pool(path, pool, NULL), rc;

	if (code)
		return code;
	rc = pmpt_space_open(*pool, name, space);
	return rc ? close_pool(*pool, NULL, fail(rc, "%s: '%s'", path, name)) : EXIT_OK;
}

static int found_page(void *ctx, const struct pmpt_mapping *m)
{
	(void)ctx;
	(void)m;
	return 1;
}

int take_space(pmpt_pool *pool, const char *name, pmpt_space **space, bool *created)
{
	int rc = pmpt_space_open(pool, name, space);

	*created = false;
	if (rc == PMPT_E_NO_SPACE) {
		rc = pmpt_space_create(pool, name, space);
		*created = !rc;
		return rc;
	}
	if (rc)
		return rc;
	rc = pmpt_walk(*space, 0, 0, found_page, NULL);
	for (unsigned w = 0; w < PMPT_USER_WORDS && !rc; w++) {
		uint64_t value = 0;

		rc = pmpt_user_get(*space, w, &value);
		rc = rc ? rc : value != 0;
	}
	if (rc) {
		pmpt_space_close(*space);
		*space = NULL;
	}
	return rc > 0 ? PMPT_E_EXISTS : rc;
}

int fail_taken(int error, const char *path, const char *name)
{
	if (error == PMPT_E_EXISTS)
		return fail_os(error, "%s: '%s' is not empty", path, name);
	return fail(error, "%s: '%s'", path, name);
}

int close_pool(pmpt_pool *pool, pmpt_space *space, int code)
{
	int rc;

	if (space)
		pmpt_space_close(space);
	rc = pmpt_close(pool);
	if (rc && !code)
		return fail(rc, "close");
	return code;
}

static int try_transaction(pmpt_pool *pool, unsigned flags, int (*fn)(void *ctx, pmpt_tx *tx),
			   void *ctx, uint64_t *lsn)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(pool, flags, &tx);

	if (rc)
		return rc;
	rc = fn(ctx, tx);
	if (!rc)
		rc = pmpt_commit(tx, lsn);
	if (rc)
		(void)pmpt_abort(tx);
	return rc;
}

/* Move some pages out.  Returns how many went. */
static uint64_t evict_some(pmpt_pool *pool)
{
	struct pmpt_swap_status status;
	uint64_t done = 0;

	if (pmpt_swap_status(pool, &status) || !*status.path)
		return 0;
	(void)pmpt_evict(pool, EVICT_PAGES, &done);
	return done;
}

int in_transaction(pmpt_pool *pool, int (*fn)(void *ctx, pmpt_tx *tx), void *ctx, uint64_t *lsn)
{
	unsigned flags = 0;
	int rc;

	for (;;) {
		rc = try_transaction(pool, flags, fn, ctx, lsn);
		if (rc == PMPT_E_TX_TOO_LARGE && !flags)
			flags = PMPT_TX_BULK;
		else if (rc != PMPT_E_NO_FRAMES || !evict_some(pool))
			return rc;
	}
}
