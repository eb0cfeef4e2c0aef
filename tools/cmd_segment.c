/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_segment -- segment: runs of pages that several spaces map. */
#include "tool.h"

enum verb { SEGMENT_LS, SEGMENT_CREATE, SEGMENT_RM, SEGMENT_MAP, SEGMENT_UNMAP };
static const char *const verbs[] = { "ls", "create", "rm", "map", "unmap", NULL };

static int row(void *ctx, const struct pmpt_segment *s)
{
	if (ctx)
		return json_array_append_new(
			ctx, json_pack("{s:o,s:I,s:I}", "name", json_text(s->name), "bytes",
				       (json_int_t)s->bytes, "mappings", (json_int_t)s->mappings));
	printf("%10s  %8s  %s\n", human_bytes(s->bytes), human_count(s->mappings), s->name);
	return 0;
}

static int list(pmpt_pool *pool, const char *path, bool json)
{
	json_t *all = json ? json_array() : NULL;
	int rc;

	if (!json)
		printf("%s%10s  %8s  NAME%s\n", paint(BOLD), "SIZE", "MAPPINGS", paint(PLAIN));
	rc = pmpt_segment_list(pool, row, all);
	if (rc) {
		json_decref(all);
		return fail(rc, "%s", path);
	}
	return json ? json_put(stdout, json_pack("{s:o}", "segments", all)) : EXIT_OK;
}

struct mapping {
	pmpt_space *space;
	const char *name;
	uint64_t va;
	unsigned prot;
};

static int do_map(void *ctx, pmpt_tx *tx)
{
	const struct mapping *m = ctx;

	return pmpt_segment_map(tx, m->space, m->va, m->name, m->prot);
}

static int do_unmap(void *ctx, pmpt_tx *tx)
{
	const struct mapping *m = ctx;

	return pmpt_segment_unmap(tx, m->space, m->va, m->name);
}

/* argv: POOL SPACE VA NAME */
static int change(pmpt_pool *pool, char **argv, struct mapping *m, bool map, bool json)
{
	uint64_t lsn = 0;
	int rc = pmpt_space_open(pool, argv[1], &m->space);

	if (rc)
		return fail(rc, "%s: '%s'", argv[0], argv[1]);
	rc = in_transaction(pool, map ? do_map : do_unmap, m, &lsn);
	pmpt_space_close(m->space);
	if (rc)
		return fail(rc, "%s: '%s'", argv[0], argv[1]);
	if (json)
		return json_put(stdout, json_pack("{s:s,s:o,s:o,s:o,s:I}", "done",
						  map ? "mapped" : "unmapped", "segment",
						  json_text(m->name), "space", json_text(argv[1]),
						  "va", json_hex(m->va), "lsn", (json_int_t)lsn));
	printf("%s segment '%s' at %#" PRIx64 " of '%s', LSN %" PRIu64 "\n",
	       map ? "mapped" : "unmapped", m->name, m->va, argv[1], lsn);
	return EXIT_OK;
}

static int create_or_rm(pmpt_pool *pool, char **argv, uint64_t bytes, bool create, bool json)
{
	int rc = create ? pmpt_segment_create(pool, argv[1], bytes)
			: pmpt_segment_delete(pool, argv[1]);

	if (rc)
		return fail(rc, "%s: '%s'", argv[0], argv[1]);
	if (json)
		return json_put(stdout,
				json_pack("{s:s,s:o}", "done", create ? "created" : "removed",
					  "segment", json_text(argv[1])));
	printf("%s segment '%s'\n", create ? "created" : "removed", argv[1]);
	return EXIT_OK;
}

static int run_segment(const struct command *cmd, int argc, char **argv)
{
	static const int operands[] = { 2, 4, 3, 5, 5 };
	struct mapping m = { .prot = PMPT_R | PMPT_W };
	bool json = false;
	const struct opt opts[] = { { "prot", 'p', OPT_PROT, &m.prot, "RWXU",
				      "map: permissions of this mapping (rw)" },
				    { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	int n = options(cmd, opts, argc, argv, 2, 5), code;
	enum verb verb = (enum verb)operand_word(cmd, verbs, argv[0]);
	uint64_t bytes = 0;
	pmpt_pool *pool;

	if (n != operands[verb])
		usage_error(cmd, "%s takes %d operands", argv[0], operands[verb] - 1);
	if (verb == SEGMENT_CREATE)
		bytes = operand(cmd, "BYTES", argv[3]);
	if (verb >= SEGMENT_MAP) {
		m.va = operand(cmd, "VA", argv[3]);
		m.name = argv[4];
	}
	code = open_pool(argv[1], &pool, NULL);
	if (code)
		return code;
	if (verb == SEGMENT_LS)
		code = list(pool, argv[1], json);
	else if (verb < SEGMENT_MAP)
		code = create_or_rm(pool, argv + 1, bytes, verb == SEGMENT_CREATE, json);
	else
		code = change(pool, argv + 1, &m, verb == SEGMENT_MAP, json);
	return close_pool(pool, NULL, code);
}

const struct command command_segment = {
	.name = "segment",
	.synopsis = "pmpt segment ls [--json] POOL\n"
		    "pmpt segment create [--json] POOL NAME BYTES\n"
		    "pmpt segment rm [--json] POOL NAME\n"
		    "pmpt segment map [--prot RWXU] [--json] POOL SPACE VA NAME\n"
		    "pmpt segment unmap [--json] POOL SPACE VA NAME",
	.brief = "memory that several spaces map",
	.text = "A segment is a named run of pages, in pieces of 2 MiB, that any number of spaces map,\n"
		"at different addresses and with different permissions: what is written through one\n"
		"mapping is there in all.  Its pages come to be when they are first written.  It lives\n"
		"until its name is removed and its last mapping is gone; a fork of a space shares it.\n"
		"Each change is atomic, and durable when the command returns.\n",
	.example = "pmpt segment create /dev/shm/pool mail 4M\n"
		   "pmpt segment map --prot r /dev/shm/pool reader 1G mail",
	.run = run_segment,
};
