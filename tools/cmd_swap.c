/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_swap -- swap: pages in a file instead of frames. */
#include <unistd.h>

#include "tool.h"

#define HALF (1ull << (PMPT_VA_BITS - 1)) /* bytes of each half of an address space */

enum verb { SWAP_ON, SWAP_OFF, SWAP_STATUS, SWAP_OUT, SWAP_IN };
static const char *const verbs[] = { "on", "off", "status", "out", "in", NULL };

static int on(pmpt_pool *pool, char **argv, uint64_t bytes, bool json)
{
	int rc = pmpt_swap_on(pool, argv[1], bytes);

	if (rc)
		return fail(rc, "%s: swap on %s", argv[0], argv[1]);
	if (json)
		return json_put(stdout, json_pack("{s:s,s:o,s:I}", "done", "on", "file",
						  json_text(argv[1]), "bytes", (json_int_t)bytes));
	printf("swap file %s: room for %s (%s)\n", argv[1],
	       counted(bytes / PMPT_PAGE_BYTES, "page"), human_bytes(bytes));
	return EXIT_OK;
}

static int off(pmpt_pool *pool, char **argv, bool json)
{
	struct pmpt_swap_status before = { 0 };
	int rc = pmpt_swap_status(pool, &before);

	if (!rc)
		rc = pmpt_swap_off(pool);
	if (rc)
		return fail(rc, "%s: swap off", argv[0]);
	if (json)
		return json_put(stdout, json_pack("{s:s,s:I}", "done", "off", "pages",
						  (json_int_t)before.used));
	/* one that was lost, or was another pool's, is not touched */
	printf("brought %s back, %s swap file %s\n", counted(before.used, "page"),
	       access(before.path, F_OK) ? "removed" : "left", before.path);
	return EXIT_OK;
}

static int status(pmpt_pool *pool, char **argv, bool json)
{
	struct pmpt_swap_status s = { 0 };
	int rc = pmpt_swap_status(pool, &s);

	if (rc)
		return fail(rc, "%s", argv[0]);
	if (json)
		return json_put(
			stdout,
			json_pack("{s:b,s:o,s:I,s:I,s:o,s:o}", "on", *s.path != '\0', "file",
				  *s.path ? json_text(s.path) : json_null(), "slots",
				  (json_int_t)s.slots, "used", (json_int_t)s.used, "failed",
				  s.failed ? json_string(pmpt_strerror(s.failed)) : json_null(),
				  "missing",
				  s.missing ? json_string(pmpt_strerror(s.missing)) : json_null()));
	if (!*s.path) {
		puts("no swap file");
		return EXIT_OK;
	}
	printf("%s\n  slots   %s (%s)\n  used    %s (%s)\n", s.path, human_count(s.slots),
	       human_bytes(s.slots * PMPT_PAGE_BYTES), human_count(s.used),
	       human_bytes(s.used * PMPT_PAGE_BYTES));
	if (s.missing)
		printf("  %slost%s    %s; the pages in it cannot be read until it is back\n",
		       paint(RED), paint(PLAIN), pmpt_strerror(s.missing));
	if (s.failed)
		printf("  %sfailed%s  %s\n", paint(RED), paint(PLAIN), pmpt_strerror(s.failed));
	return EXIT_OK;
}

struct range {
	uint64_t va, bytes; /* bytes 0: the whole space */
};

/* argv: POOL SPACE */
static int move(pmpt_pool *pool, char **argv, struct range r, bool out, bool json)
{
	int (*fn)(pmpt_space *, uint64_t, uint64_t, uint64_t *) =
		out ? pmpt_swap_out : pmpt_swap_in;
	pmpt_space *space;
	uint64_t pages = 0, more = 0;
	int rc = pmpt_space_open(pool, argv[1], &space);

	if (rc)
		return fail(rc, "%s: '%s'", argv[0], argv[1]);
	rc = fn(space, r.va, r.bytes ? r.bytes : HALF, &pages);
	if (!rc && !r.bytes) /* the upper half */
		rc = fn(space, 0 - HALF, HALF, &more);
	pmpt_space_close(space);
	if (rc)
		return fail(rc, "%s: '%s'%s%s", argv[0], argv[1],
			    pages + more ? ": moved before: " : "",
			    pages + more ? counted(pages + more, "page") : "");
	if (json)
		return json_put(stdout,
				json_pack("{s:s,s:o,s:I}", "done", out ? "out" : "in", "space",
					  json_text(argv[1]), "pages", (json_int_t)(pages + more)));
	printf("moved %s of '%s' %s\n", counted(pages + more, "page"), argv[1], out ? "out" : "in");
	return EXIT_OK;
}

static int run_swap(const struct command *cmd, int argc, char **argv)
{
	static const int least[] = { 4, 2, 2, 3, 3 }, most[] = { 4, 2, 2, 5, 5 };
	bool json = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	int n = options(cmd, opts, argc, argv, 2, 5), code;
	enum verb verb = (enum verb)operand_word(cmd, verbs, argv[0]);
	struct range r = { 0 };
	pmpt_pool *pool;

	if (n < least[verb] || n > most[verb] || (verb >= SWAP_OUT && n == 4))
		usage_error(cmd, "%s takes %s", argv[0],
			    verb == SWAP_ON    ? "POOL, FILE and BYTES"
			    : verb >= SWAP_OUT ? "POOL and SPACE, and VA and LEN or neither"
					       : "POOL alone");
	if (verb == SWAP_ON)
		r.bytes = operand(cmd, "BYTES", argv[3]);
	if (n == 5) {
		r.va = operand(cmd, "VA", argv[3]);
		r.bytes = operand(cmd, "LEN", argv[4]);
		if (!r.bytes)
			usage_error(cmd, "LEN: 0 bytes");
	}
	code = open_pool(argv[1], &pool, NULL);
	if (code)
		return code;
	if (verb == SWAP_ON)
		code = on(pool, argv + 1, r.bytes, json);
	else if (verb == SWAP_OFF)
		code = off(pool, argv + 1, json);
	else if (verb == SWAP_STATUS)
		code = status(pool, argv + 1, json);
	else
		code = move(pool, argv + 1, r, verb == SWAP_OUT, json);
	return close_pool(pool, NULL, code);
}

const struct command command_swap = {
	.name = "swap",
	.synopsis = "pmpt swap on [--json] POOL FILE BYTES\n"
		    "pmpt swap off [--json] POOL\n"
		    "pmpt swap status [--json] POOL\n"
		    "pmpt swap out [--json] POOL SPACE [VA LEN]\n"
		    "pmpt swap in [--json] POOL SPACE [VA LEN]",
	.brief = "pages in a file instead of frames",
	.text = "A pool may have a swap file, on any file system.  A page that is out is in it and takes\n"
		"no frame.  on: make it, with room for BYTES of pages.  off: bring all pages back and\n"
		"remove it.  out, in: move the pages of a range, or of the whole space; those that\n"
		"several spaces have, huge ones and external ones stay.\n"
		"With a swap file, commands that need frames move pages out by themselves.\n",
	.example = "pmpt swap on /dev/shm/pool /var/tmp/pool.swap 1G\n"
		   "pmpt swap out /dev/shm/pool editor 0x10000000 2M",
	.run = run_swap,
};
