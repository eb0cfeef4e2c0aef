/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_data -- read, write, fault: what is in the pages. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define CHUNK     (1u << 20)
#define ROW       16u        /* bytes in a line of --hex */
#define WRITE_MAX (1u << 30) /* in one transaction: it is read into memory first */

/* ---- read ------------------------------------------------------------------------------------ */

enum form { RAW, HEX, JSON };

struct reading {
	FILE *to;
	const char *path; /* of it; NULL: standard output */
	enum form form;
	bool skipping; /* of HEX: rows like the last one */
	unsigned char last[ROW];
};

static void hex_row(struct reading *r, uint64_t va, const unsigned char *bytes, size_t n,
		    bool first)
{
	char text[ROW + 1];

	if (!first && n == ROW && !memcmp(bytes, r->last, ROW)) {
		if (!r->skipping)
			fputs("*\n", r->to);
		r->skipping = true;
		return;
	}
	r->skipping = false;
	memcpy(r->last, bytes, n);
	fprintf(r->to, "%016" PRIx64 " ", va);
	for (size_t i = 0; i < ROW; i++) {
		if (i < n)
			fprintf(r->to, " %02x", bytes[i]);
		else
			fputs("   ", r->to);
		text[i] = i >= n                                ? '\0'
			  : bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i]
								: '.';
	}
	text[ROW] = '\0';
	fprintf(r->to, "  %s\n", text);
}

static int put_json(FILE *to, uint64_t va, const unsigned char *bytes, size_t n)
{
	static const char digit[] = "0123456789abcdef";
	char *hex = malloc(2 * n + 1);
	json_t *o;

	if (!hex)
		return fail_os(-ENOMEM, "read");
	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = digit[bytes[i] >> 4];
		hex[2 * i + 1] = digit[bytes[i] & 15];
	}
	hex[2 * n] = '\0';
	o = json_pack("{s:o,s:I,s:s}", "va", json_hex(va), "bytes", (json_int_t)n, "hex", hex);
	free(hex);
	return json_put(to, o);
}

static int put(struct reading *r, uint64_t va, const unsigned char *bytes, size_t n, bool first)
{
	int code = EXIT_OK;

	errno = 0;
	if (r->form == RAW && fwrite(bytes, 1, n, r->to) != n && errno && errno != EPIPE)
		code = fail_os(-errno, "%s", r->path ? r->path : "standard output");
	for (size_t i = 0; i < n && r->form == HEX; i += ROW)
		hex_row(r, va + i, bytes + i, n - i < ROW ? n - i : ROW, first && i == 0);
	for (size_t i = 0; i < n && r->form == JSON && !code; i += PMPT_PAGE_BYTES)
		code = put_json(r->to, va + i, bytes + i,
				n - i < PMPT_PAGE_BYTES ? n - i : PMPT_PAGE_BYTES);
	return code;
}

static int read_all(pmpt_pool *pool, const pmpt_space *space, char **argv, uint64_t va,
		    uint64_t len, struct reading *r)
{
	unsigned char *chunk = malloc(CHUNK);
	struct progress progress;
	pmpt_view *view = NULL;
	int rc = chunk ? pmpt_view_open(pool, &view) : -ENOMEM, code = EXIT_OK;

	/* all of it must be addresses, before the first byte goes out */
	if (!rc && len)
		rc = pmpt_read(view, space, va + len - 1, chunk, 1);
	if (!rc && len > (1ull << (PMPT_VA_BITS - 1)))
		rc = PMPT_E_ADDRESS;
	progress_start(&progress, "reading", "bytes", len);
	for (uint64_t done = 0; done < len && !rc && !code && !ferror(r->to);) {
		size_t n = len - done < CHUNK ? (size_t)(len - done) : CHUNK;

		rc = pmpt_read(view, space, va + done, chunk, n);
		if (!rc)
			code = put(r, va + done, chunk, n, done == 0);
		done += n;
		progress_to(&progress, done);
	}
	progress_end(&progress);
	if (rc)
		code = fail(rc, "%s: '%s'", argv[0], argv[1]);
	if (!code && r->form == HEX && len)
		fprintf(r->to, "%s\n", end_text(va, len, 16));
	pmpt_view_close(view);
	free(chunk);
	return code;
}

static int run_read(const struct command *cmd, int argc, char **argv)
{
	bool hex = false, json = false;
	const char *path = NULL;
	const struct opt opts[] = {
		{ "hex", 'x', OPT_FLAG, &hex, NULL, "as text: address, 16 bytes, characters" },
		{ "output", 'o', OPT_TEXT, &path, "FILE", "write there (standard output)" },
		{ "json", 0, OPT_FLAG, &json, NULL, "print a JSON object for each 4096 bytes" },
		OPT_END
	};
	struct reading r = { .path = NULL };
	struct output out;
	uint64_t va, len;
	pmpt_space *space;
	pmpt_pool *pool;
	int code;

	(void)options(cmd, opts, argc, argv, 4, 4);
	if (hex && json)
		usage_error(cmd, "--hex and --json exclude each other");
	va = operand(cmd, "VA", argv[2]);
	len = operand(cmd, "LEN", argv[3]);
	r.form = json ? JSON : hex ? HEX : RAW;
	code = open_space(argv[0], argv[1], &pool, &space);
	if (code)
		return code;
	code = output_open(&out, path);
	if (!code) {
		r.to = out.to;
		r.path = path;
		code = output_close(&out, read_all(pool, space, argv, va, len, &r));
	}
	return close_pool(pool, space, code);
}

const struct command command_read = {
	.name = "read",
	.synopsis = "pmpt read [--hex] [-o FILE] [--json] POOL SPACE VA LEN",
	.brief = "what is in the pages, as bytes",
	.text = "Write the LEN bytes from address VA on to standard output, or FILE.  What is not mapped,\n"
		"or demand-zero, reads as zeros; pages that are out are read in the swap file.  External\n"
		"pages cannot be read.\n",
	.example = "pmpt read --hex /dev/shm/pool editor 0x10000000 64",
	.run = run_read,
};

/* ---- write ----------------------------------------------------------------------------------- */

struct writing {
	pmpt_space *space;
	uint64_t va;
	char *bytes;
	size_t n, room;
};

/* All of a file.  Returns an exit code, the error printed. */
static int take_input(FILE *from, const char *name, struct writing *w)
{
	for (;;) {
		size_t got;

		if (w->n == w->room) {
			size_t room = w->room ? 2 * w->room : CHUNK;
			char *grown = room <= WRITE_MAX ? realloc(w->bytes, room) : NULL;

			if (!grown)
				return fail_os(room <= WRITE_MAX ? -ENOMEM : -EFBIG,
					       "%s: one write has less than %s", name,
					       human_bytes(WRITE_MAX));
			w->bytes = grown;
			w->room = room;
		}
		errno = 0;
		got = fread(w->bytes + w->n, 1, w->room - w->n, from);
		w->n += got;
		if (ferror(from))
			return fail_os(errno ? -errno : -EIO, "%s", name);
		if (!got)
			return EXIT_OK;
	}
}

static int nibble(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "48 65 6c", in place; the second digit of a byte follows the first. */
static int from_hex(const char *name, struct writing *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++) {
		int high = nibble(tolower((unsigned char)w->bytes[i])), low;

		if (isspace((unsigned char)w->bytes[i]))
			continue;
		low = i + 1 < w->n ? nibble(tolower((unsigned char)w->bytes[i + 1])) : -1;
		if (high < 0 || low < 0)
			return fail(0,
				    "%s: byte %zu: expected two hexadecimal digits; nothing was "
				    "changed",
				    name, i + 1);
		w->bytes[n++] = (char)(high << 4 | low);
		i++;
	}
	w->n = n;
	return EXIT_OK;
}

static int do_write(void *ctx, pmpt_tx *tx)
{
	const struct writing *w = ctx;

	return pmpt_write(tx, w->space, w->va, w->bytes, w->n);
}

static int write_all(char **argv, struct writing *w, bool json)
{
	uint64_t lsn = 0;
	pmpt_pool *pool;
	int code = open_space(argv[0], argv[1], &pool, &w->space), rc;

	if (code)
		return code;
	rc = in_transaction(pool, do_write, w, &lsn);
	if (rc)
		code = fail(rc, "%s: '%s'", argv[0], argv[1]);
	else if (json)
		code = json_put(stdout,
				json_pack("{s:s,s:o,s:o,s:I,s:I}", "done", "written", "space",
					  json_text(argv[1]), "va", json_hex(w->va), "bytes",
					  (json_int_t)w->n, "lsn", (json_int_t)lsn));
	else
		printf("wrote %s at %#" PRIx64 " of '%s', LSN %" PRIu64 "\n", counted(w->n, "byte"),
		       w->va, argv[1], lsn);
	return close_pool(pool, w->space, code);
}

static int run_write(const struct command *cmd, int argc, char **argv)
{
	bool hex = false, json = false;
	const struct opt opts[] = { { "hex", 'x', OPT_FLAG, &hex, NULL,
				      "the input is hexadecimal digits, two for a byte" },
				    { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	int n = options(cmd, opts, argc, argv, 3, 4), code;
	bool standard = n == 3 || !strcmp(argv[3], "-");
	const char *name = standard ? "standard input" : argv[3];
	struct writing w = { .va = operand(cmd, "VA", argv[2]) };
	FILE *from = standard ? stdin : fopen(argv[3], "re");

	if (!from)
		return fail_os(-errno, "%s", name);
	code = take_input(from, name, &w);
	if (!standard)
		(void)fclose(from);
	if (!code && hex)
		code = from_hex(name, &w);
	if (!code)
		code = write_all(argv, &w, json);
	free(w.bytes);
	return code;
}

const struct command command_write = {
	.name = "write",
	.synopsis = "pmpt write [--hex] [--json] POOL SPACE VA [FILE]",
	.brief = "write bytes into pages, atomically and durably",
	.text = "Write standard input, or FILE, at address VA, in one transaction: after a crash all of\n"
		"it is there or nothing.  The other bytes of its pages stay.  Where nothing is mapped a\n"
		"page with permissions rw is from then on.  Frames that a fork shares are not changed:\n"
		"the page gets another.  Read-only pages and snapshots refuse it.\n",
	.example = "echo hello | pmpt write /dev/shm/pool editor 0x10000000",
	.run = run_write,
};

/* ---- fault ----------------------------------------------------------------------------------- */

/* Letters of rwxu; an access needs no r. */
static unsigned access_of(const struct command *cmd, const char *text)
{
	static const char letters[] = "rwxu";
	unsigned bits = 0;

	for (const char *c = text; *c; c++) {
		const char *at = strchr(letters, *c);

		if (!at && *c != '-')
			usage_error(cmd, "'%s': letters of rwxu are expected", text);
		bits |= at ? 1u << (at - letters) : 0;
	}
	if (!bits)
		usage_error(cmd, "'%s': letters of rwxu are expected", text);
	return bits;
}

/* What was at va before: a walk finds what a query does not. */
static int note_flags(void *ctx, const struct pmpt_mapping *m)
{
	*(unsigned *)ctx = m->flags;
	return 0;
}

static const char *before_text(unsigned flags)
{
	return flags & PMPT_DEMAND ? "demand-zero"
	       : flags & PMPT_OUT  ? "out"
	       : flags             ? "there"
				   : "none";
}

struct fault {
	pmpt_space *space;
	uint64_t va;
	unsigned access;
	struct pmpt_mapping m;
};

static int do_fault(void *ctx, pmpt_tx *tx)
{
	struct fault *f = ctx;

	return pmpt_fault(tx, f->space, f->va, f->access, &f->m);
}

static int run_fault(const struct command *cmd, int argc, char **argv)
{
	bool json = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	struct fault f = { 0 };
	unsigned before = 0;
	uint64_t lsn = 0;
	char prot[5];
	pmpt_pool *pool;
	int code, rc;

	(void)options(cmd, opts, argc, argv, 4, 4);
	f.va = operand(cmd, "VA", argv[2]);
	f.access = access_of(cmd, argv[3]);
	code = open_space(argv[0], argv[1], &pool, &f.space);
	if (code)
		return code;
	rc = pmpt_walk(f.space, f.va, 1, note_flags, &before);
	if (!rc)
		rc = in_transaction(pool, do_fault, &f, &lsn);
	if (rc)
		code = fail(rc, "%s: '%s'", argv[0], argv[1]);
	else if (json)
		code = json_put(stdout,
				json_pack("{s:o,s:I,s:I,s:o,s:s,s:s,s:b}", "va", json_hex(f.m.va),
					  "size", (json_int_t)f.m.page_bytes, "pfn",
					  (json_int_t)f.m.pfn, "entry", json_hex(f.m.entry), "prot",
					  prot_text(f.m.flags, prot), "before", before_text(before),
					  "changed", lsn != 0));
	else
		printf("%#" PRIx64 ": %s page of %s at frame %#" PRIx64 "%s%s\n", f.m.va,
		       prot_text(f.m.flags, prot), page_size_name(f.m.page_bytes), f.m.pfn,
		       !lsn                                           ? ", as it was"
		       : before & (PMPT_DEMAND | PMPT_OUT) || !before ? ", it was "
								      : ", copied",
		       !lsn || (before && !(before & (PMPT_DEMAND | PMPT_OUT)))
			       ? ""
			       : before_text(before));
	return close_pool(pool, f.space, code);
}

const struct command command_fault = {
	.name = "fault",
	.synopsis = "pmpt fault [--json] POOL SPACE VA RWXU",
	.brief = "do what a kernel does when an access faults",
	.text = "Make the page at VA fit for an access, in one transaction: a demand-zero page gets a\n"
		"zeroed frame, one that is out comes in, one that a fork shares is copied when RWXU has\n"
		"w.  Or tell which entry forbids it, at which level.\n",
	.example = "pmpt fault /dev/shm/pool editor 0x10000000 w",
	.run = run_fault,
};
