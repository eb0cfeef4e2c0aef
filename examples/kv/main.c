/* SPDX-License-Identifier: BSD-3-Clause */
/* kv -- a shell for the maps of a pool: see usage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kv.h"

static const char usage[] =
	"usage: kv POOL[:MAP] [COMMAND [ARGUMENT...]]\n"
	"  put KEY VALUE    get KEY    del KEY\n"
	"  scan [FROM [TO]]          keys from FROM on, before TO\n"
	"  begin   commit   abort    a batch over several lines: all of it or nothing\n"
	"  snapshot NAME             keep the map as it is, read-only, as map NAME\n"
	"  check   help              read everything, and say what is wrong; this\n"
	"Without a command they are read from standard input, a line each.  Pool and map are created if they\n"
	"are not there; MAP is 'map'.  Exit status: 0; 1: an error, or no such key; 2: wrong usage.\n";

static pmpt_space *map;
static struct kv *kv;
static bool batch; /* between begin and its end */

static int fail(const char *what, int rc)
{
	fprintf(stderr, "kv: %s: %s\n", kv ? what : pmpt_strerror(rc),
		kv ? kv_errormsg(rc) : pmpt_errormsg());
	return 1;
}

static int scan(const char *from, const char *to)
{
	struct kv_slice k, v;
	int rc = kv_seek(kv, KV_STR(from ? from : ""), &k, &v);

	while (!rc && !(to && kv_compare(k, KV_STR(to)) >= 0)) {
		printf("%.*s\t%.*s\n", (int)k.len, (const char *)k.data, (int)v.len,
		       (const char *)v.data);
		rc = kv_next(kv, &k, &v);
	}
	return rc == -ENOENT ? 0 : rc;
}

static void finding(void *ctx, uint64_t va, const char *message)
{
	(void)ctx;
	printf("page at %#lx: %s\n", va, message);
}

static int check(void)
{
	struct kv_stat s = { 0 };
	int rc = kv_check(kv, finding, NULL, &s);

	if (!rc)
		printf("%lu keys, height %lu, %lu pages\n", s.keys, s.height, s.pages);
	return rc || !s.findings ? rc : PMPT_E_CORRUPT;
}

/* In the batch, or in a transaction of its own. */
static int in_txn(char **arg, int n)
{
	struct kv_slice v;
	int rc = -ENOSYS;

	if (!strcmp(arg[0], "put") && n == 3)
		rc = kv_put(kv, KV_STR(arg[1]), KV_STR(arg[2]));
	else if (!strcmp(arg[0], "del") && n == 2)
		rc = kv_delete(kv, KV_STR(arg[1]));
	else if (!strcmp(arg[0], "scan") && n <= 3)
		rc = scan(arg[1], n > 1 ? arg[2] : NULL);
	else if (!strcmp(arg[0], "check") && n == 1)
		rc = check();
	else if (!strcmp(arg[0], "get") && n == 2 && !(rc = kv_get(kv, KV_STR(arg[1]), &v)))
		printf("%.*s\n", (int)v.len, (const char *)v.data);
	return rc;
}

static int command(char **arg, int n)
{
	int rc = 0;

	if (!strcmp(arg[0], "help")) {
		printf("%s", usage);
	} else if (!strcmp(arg[0], "snapshot") && n == 2) {
		rc = pmpt_space_fork(map, arg[1], PMPT_FORK_SNAPSHOT, NULL);
	} else if (!strcmp(arg[0], "begin") && !batch) {
		batch = !(rc = kv_begin(kv));
	} else if (batch && (!strcmp(arg[0], "commit") || !strcmp(arg[0], "abort"))) {
		rc = *arg[0] == 'c' ? kv_commit(kv) : (kv_abort(kv), 0);
		batch = false;
	} else if (batch || !(rc = kv_begin(kv))) {
		rc = in_txn(arg, n);
		if (!batch)
			rc = rc ? (kv_abort(kv), rc) : kv_commit(kv);
	}
	if (rc == -ENOSYS)
		return fprintf(stderr, "kv: no such command, or arguments: %s\n", arg[0]), 2;
	return rc ? fail(arg[0], rc) : 0;
}

/* Lines of words; the third is all that is left of it. */
static int lines(void)
{
	char *line = NULL, *arg[3], *rest;
	size_t room = 0;
	int bad = 0;

	while ((!isatty(0) || printf("> ")) && !fflush(stdout) &&
	       getline(&line, &room, stdin) > 0) {
		arg[0] = strtok_r(line, " \n", &rest);
		arg[1] = strtok_r(NULL, " \n", &rest);
		arg[2] = strtok_r(NULL, "\n", &rest);
		if (arg[0])
			bad |= command(arg, 1 + !!arg[1] + !!arg[2]);
	}
	free(line);
	return bad;
}

int main(int argc, char **argv)
{
	char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;
	const char *name = colon ? colon + 1 : "map";
	pmpt_pool *pool;
	int rc;

	if (argc < 2 || !strcmp(argv[1], "--help"))
		return fputs(usage, argc < 2 ? stderr : stdout), argc < 2 ? 2 : 0;
	if (colon)
		*colon = 0;
	rc = pmpt_open(argv[1], 0, &pool);
	if (rc == -ENOENT)
		rc = pmpt_create(argv[1], NULL, &pool);
	if (rc)
		return fail(argv[1], rc);
	rc = pmpt_space_open(pool, name, &map);
	if (rc == PMPT_E_NO_SPACE)
		rc = pmpt_space_create(pool, name, &map);
	if (rc || !(kv = kv_open(map)))
		return fail(name, rc ? rc : -ENOMEM);
	rc = argc > 2 ? command(argv + 2, argc - 2) : lines();
	kv_abort(kv); /* a batch that nothing has ended */
	kv_close(kv);
	pmpt_space_close(map);
	if (fflush(stdout) || ferror(stdout))
		rc = (fprintf(stderr, "kv: cannot write all of the output\n"), 1);
	return pmpt_close(pool) ? fail("close", PMPT_E_IO) : rc;
}
