/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_backup -- backup: a copy of a pool. */
#include "tool.h"

static void on_progress(void *ctx, unsigned permille) { progress_to(ctx, permille); }

static int run_backup(const struct command *cmd, int argc, char **argv)
{
	bool online = false, json = false;
	const struct opt opts[] = { { "online", 0, OPT_FLAG, &online, NULL,
				      "say that the copy is made of the open pool; it always is" },
				    { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	struct progress progress;
	struct pmpt_stats st = { 0 };
	pmpt_pool *pool;
	int code, rc;

	(void)options(cmd, opts, argc, argv, 2, 2);
	code = open_pool(argv[0], &pool, NULL);
	if (code)
		return code;
	progress_start(&progress, "copying", "", 1000);
	rc = pmpt_backup(pool, argv[1], on_progress, &progress);
	progress_end(&progress);
	if (!rc)
		rc = pmpt_stats(pool, &st);
	if (rc)
		code = fail(rc, "%s: backup to %s", argv[0], argv[1]);
	else if (json)
		code = json_put(stdout,
				json_pack("{s:s,s:o,s:o,s:I,s:I}", "done", "copied", "pool",
					  json_text(argv[0]), "to", json_text(argv[1]), "bytes",
					  (json_int_t)st.pool_bytes, "lsn", (json_int_t)st.lsn));
	else
		printf("copied %s to %s, %s, as of LSN %" PRIu64 "\n", argv[0], argv[1],
		       human_bytes(st.pool_bytes), st.lsn);
	return close_pool(pool, NULL, code);
}

const struct command command_backup = {
	.name = "backup",
	.synopsis = "pmpt backup [--online] [--json] POOL FILE",
	.brief = "copy a pool to a new file",
	.text = "Recover POOL and copy it: FILE is a pool of its own, the state of one moment, and not\n"
		"there before it is whole and durable.  A pool that another process has open cannot be\n"
		"copied from here: that process does it by itself, while it goes on, with\n"
		"pmpt_backup(3).  The copy of a pool with a swap file has its own, FILE.swap.\n",
	.example = "pmpt backup /dev/shm/pool /backup/monday.pool",
	.run = run_backup,
};
