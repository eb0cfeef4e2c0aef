/* SPDX-License-Identifier: BSD-3-Clause */
/* dump_read -- a dump as restore takes it.  All of it is read and checked before anything is
 * changed.  Format: dump.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dump.h"

struct reader {
	struct dump *dump;
	const char *name, *text; /* the line */
	uint64_t line;
	bool open; /* a space has begun and not ended */
};

/* Column of a key in the line, from 1; 1 if it is not there. */
static size_t column(const struct reader *r, const char *key)
{
	char quoted[40];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\"", key);
	at = strstr(r->text, quoted);
	return at ? (size_t)(at - r->text) + 1 : 1;
}

static int bad(const struct reader *r, size_t col, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int bad(const struct reader *r, size_t col, const char *format, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(why, sizeof(why), format, ap);
	va_end(ap);
	return fail(0, "%s:%" PRIu64 ":%zu: %s; nothing was changed", r->name, r->line, col, why);
}

/* "key: found ..., expected ..." */
static int mismatch(const struct reader *r, const char *key, const json_t *value,
		    const char *expected)
{
	char *found = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	int code = bad(r, column(r, key), "\"%s\": found %.60s, expected %s", key,
		       found ? found : "nothing", expected);

	free(found);
	return code;
}

static bool get_hex(const json_t *value, uint64_t *out)
{
	const char *text = json_string_value(value);

	return text && !strncmp(text, "0x", 2) && parse_number(text, out);
}

/* An integer in [min, max]; where it may be missing, fallback. */
static int get_int(const struct reader *r, const json_t *o, const char *key, uint64_t min,
		   uint64_t max, uint64_t *out)
{
	const json_t *value = json_object_get(o, key);
	char expected[80];

	if (json_is_integer(value) && json_integer_value(value) >= (json_int_t)min &&
	    (uint64_t)json_integer_value(value) <= max) {
		*out = (uint64_t)json_integer_value(value);
		return EXIT_OK;
	}
	snprintf(expected, sizeof(expected), "an integer, %" PRIu64 " to %" PRIu64, min, max);
	return mismatch(r, key, value, expected);
}

static int only_keys(const struct reader *r, json_t *o, const char *const *keys)
{
	const char *key;
	json_t *value;

	json_object_foreach(o, key, value)
	{
		size_t i = 0;

		while (keys[i] && strcmp(keys[i], key))
			i++;
		if (!keys[i])
			return bad(r, column(r, key), "unknown key \"%.60s\"", key);
	}
	return EXIT_OK;
}

/* ---- the three kinds of lines ---------------------------------------------------------------- */

static int read_header(struct reader *r, json_t *o)
{
	static const char *const keys[] = { "pmpt_dump", "version", "space", "user", NULL };
	const json_t *user = json_object_get(o, "user");
	const char *name = json_string_value(json_object_get(o, "space"));
	struct dump_space *grown, *s;
	uint64_t format;
	int code = only_keys(r, o, keys);

	if (!code)
		code = get_int(r, o, "pmpt_dump", DUMP_FORMAT, DUMP_FORMAT, &format);
	if (code)
		return code;
	if (r->open)
		return bad(r, 1, "found a header, expected a run or the end of '%s'",
			   r->dump->space[r->dump->n - 1].name);
	if (!name)
		return mismatch(r, "space", json_object_get(o, "space"), "a name");
	if (json_array_size(user) != PMPT_USER_WORDS)
		return mismatch(r, "user", user, "an array of 8 words");
	for (size_t i = 0; i < r->dump->n; i++) {
		if (!strcmp(r->dump->space[i].name, name))
			return bad(r, column(r, "space"), "space '%s' is here twice", name);
	}
	grown = realloc(r->dump->space, (r->dump->n + 1) * sizeof(*grown));
	if (!grown)
		return fail_os(-ENOMEM, "%s", r->name);
	r->dump->space = grown;
	s = &grown[r->dump->n++];
	*s = (struct dump_space){ .name = strdup(name) };
	r->open = true;
	for (size_t i = 0; i < PMPT_USER_WORDS && s->name; i++) {
		if (!get_hex(json_array_get(user, i), &s->user[i]))
			return mismatch(r, "user", json_array_get(user, i), "words as \"0x..\"");
	}
	return s->name ? EXIT_OK : fail_os(-ENOMEM, "%s", r->name);
}

static int add_run(struct reader *r, const struct run *run)
{
	struct dump_space *s = &r->dump->space[r->dump->n - 1];

	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct dump_run *grown = realloc(s->run, room * sizeof(*grown));

		if (!grown)
			return fail_os(-ENOMEM, "%s", r->name);
		s->run = grown;
		s->room = room;
	}
	s->run[s->n++] = (struct dump_run){ .run = *run, .line = r->line };
	s->pages += run->count;
	r->dump->pages += run->count;
	s->segment_pages += run->flags & PMPT_SHARED ? run->count : 0;
	s->out_pages += run->flags & PMPT_OUT ? run->count : 0;
	return EXIT_OK;
}

static bool frames_flag(const char *frames, unsigned *flags)
{
	static const struct {
		const char *name;
		unsigned flag;
	} kinds[] = { { "ext", PMPT_EXT },
		      { "alloc", 0 },
		      { "demand", PMPT_DEMAND },
		      { "out", PMPT_OUT },
		      { "segment", PMPT_SHARED } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(frames, kinds[i].name)) {
			*flags |= kinds[i].flag;
			return true;
		}
	}
	return false;
}

static int read_attributes(struct reader *r, json_t *o, struct run *run)
{
	static const struct {
		unsigned flag;
		const char *key;
	} bits[] = { { PMPT_G, "global" }, { PMPT_PWT, "pwt" }, { PMPT_PCD, "pcd" } };
	const char *prot = json_string_value(json_object_get(o, "prot"));
	const char *frames = json_string_value(json_object_get(o, "frames"));
	uint64_t tag = 0, pkey = 0;
	int code = EXIT_OK;

	if (!prot || !parse_prot(prot, &run->flags))
		return mismatch(r, "prot", json_object_get(o, "prot"), "letters of rwxu with r");
	if (!frames || !frames_flag(frames, &run->flags))
		return mismatch(r, "frames", json_object_get(o, "frames"),
				"\"ext\", \"alloc\", \"demand\", \"out\" or \"segment\"");
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		const json_t *value = json_object_get(o, bits[i].key);

		if (value && !json_is_boolean(value))
			return mismatch(r, bits[i].key, value, "true or false");
		run->flags |= json_is_true(value) ? bits[i].flag : 0;
	}
	if (json_object_get(o, "tag"))
		code = get_int(r, o, "tag", 0, 15, &tag);
	if (!code && json_object_get(o, "pkey"))
		code = get_int(r, o, "pkey", 0, 15, &pkey);
	run->flags |= PMPT_TAG(tag) | PMPT_PKEY(pkey);
	return code;
}

static int read_run(struct reader *r, json_t *o)
{
	static const char *const keys[] = { "va",     "size", "count", "pfn", "frames", "prot",
					    "global", "pwt",  "pcd",   "tag", "pkey",   NULL };
	struct run run = { 0 };
	uint64_t frames;
	int code = only_keys(r, o, keys);

	if (!code && !get_hex(json_object_get(o, "va"), &run.va))
		return mismatch(r, "va", json_object_get(o, "va"), "an address as \"0x..\"");
	if (!code)
		code = get_int(r, o, "size", PMPT_PAGE_BYTES, 1ull << 30, &run.page_bytes);
	if (code)
		return code;
	if (run.page_bytes != PMPT_PAGE_BYTES && run.page_bytes != 1ull << 21 &&
	    run.page_bytes != 1ull << 30)
		return mismatch(r, "size", json_object_get(o, "size"),
				"4096, 2097152 or 1073741824");
	frames = run.page_bytes / PMPT_PAGE_BYTES;
	code = get_int(r, o, "count", 1, (1ull << 36) / frames, &run.count);
	if (!code)
		code = get_int(r, o, "pfn", 0, (1ull << 40) - run.count * frames, &run.pfn);
	if (!code)
		code = read_attributes(r, o, &run);
	if (code)
		return code;
	run.flags |= frames == 512 ? PMPT_2M : frames > 512 ? PMPT_1G : 0;
	if (run.va % run.page_bytes || run.pfn % frames)
		return bad(r, column(r, run.va % run.page_bytes ? "va" : "pfn"),
			   "address or frame is not aligned to the page size");
	return add_run(r, &run);
}

static int read_end(struct reader *r, json_t *o)
{
	static const char *const keys[] = { "end", "pages", NULL };
	const struct dump_space *s = &r->dump->space[r->dump->n - 1];
	const char *name = json_string_value(json_object_get(o, "end"));
	char expected[PMPT_NAME_MAX + 8];
	uint64_t pages;
	int code = only_keys(r, o, keys);

	if (code)
		return code;
	snprintf(expected, sizeof(expected), "\"%s\"", s->name);
	if (!name || strcmp(name, s->name) != 0)
		return mismatch(r, "end", json_object_get(o, "end"), expected);
	code = get_int(r, o, "pages", s->pages, s->pages, &pages);
	r->open = false;
	return code;
}

static int parse_line(struct reader *r, size_t len)
{
	json_error_t error;
	json_t *o = json_loadb(r->text, len, JSON_REJECT_DUPLICATES, &error);
	int code;

	if (!o)
		return bad(r, error.column > 0 ? (size_t)error.column : 1, "%s", error.text);
	if (!json_is_object(o))
		code = bad(r, 1, "expected an object");
	else if (json_object_get(o, "pmpt_dump"))
		code = read_header(r, o);
	else if (!r->open)
		code = bad(r, 1, "expected a header: {\"pmpt_dump\":%d,..}", DUMP_FORMAT);
	else if (json_object_get(o, "end"))
		code = read_end(r, o);
	else
		code = read_run(r, o);
	json_decref(o);
	return code;
}

int dump_read(FILE *from, const char *name, struct dump *dump)
{
	static char text[LINE_BYTES_MAX + 1];
	struct reader r = { .dump = dump, .name = name, .text = text };
	struct progress progress;
	struct stat st = { 0 };
	uint64_t bytes = 0;
	int code = EXIT_OK, got = 1;
	size_t n;

	(void)fstat(fileno(from), &st);
	progress_start(&progress, "reading", "bytes",
		       S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
	while (!code && (got = read_line(from, text, &n)) > 0) {
		r.line++;
		code = parse_line(&r, n);
		bytes += n + 1;
		progress_to(&progress, bytes);
	}
	progress_end(&progress);
	r.line++;
	if (got == -EMSGSIZE)
		code = bad(&r, LINE_BYTES_MAX, "no end of line so far, expected lines of JSON");
	else if (got < 0)
		code = fail_os(got, "%s", name);
	r.text = "";
	if (!code && r.open)
		code = bad(&r, 1, "it ends in the middle of space '%s'",
			   dump->space[dump->n - 1].name);
	if (!code && !dump->n)
		code = bad(&r, 1, "it is empty, expected a header");
	return code;
}

void dump_free(struct dump *dump)
{
	for (size_t i = 0; i < dump->n; i++) {
		free(dump->space[i].name);
		free(dump->space[i].run);
	}
	free(dump->space);
}
