/* SPDX-License-Identifier: BSD-3-Clause */
/* symbol -- see symbol.h.  addr2line of binutils reads the debug information; what it says is kept.
 * Without it, or without debug information, the loader's name has to do.
 */
#include "symbol.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "system.h"

#define SLOTS 65536u /* a power of two; more sites than half of it are not kept */
#define BATCH 512u   /* addresses in one command line */

static struct symbol *slot[SLOTS];
static size_t n_slots;

static struct symbol **slot_of(uint64_t pc)
{
	size_t i = (size_t)(pc * 0x9e3779b97f4a7c15u >> 48) & (SLOTS - 1);

	while (slot[i] && slot[i]->pc != pc)
		i = (i + 1) & (SLOTS - 1);
	return &slot[i];
}

struct object { /* that holds a program counter */
	char path[4096];
	uint64_t base;    /* to subtract */
	const char *name; /* the loader's, nearest below */
	uint64_t past;
};

static bool object_of(uint64_t pc, struct object *o)
{
	Dl_info of, mine;

	if (!dladdr((void *)(uintptr_t)pc, &of))
		return false;
	o->base = ((const Elf64_Ehdr *)of.dli_fbase)->e_type == ET_DYN
			  ? (uint64_t)(uintptr_t)of.dli_fbase
			  : 0;
	o->name = of.dli_sname;
	o->past = pc - (uint64_t)(uintptr_t)of.dli_saddr;
	(void)snprintf(o->path, sizeof(o->path), "%s", of.dli_fname);
	/* the program may have been called by a name that means nothing from here */
	if (dladdr((void *)(uintptr_t)&symbol_of, &mine) && mine.dli_fbase == of.dli_fbase) {
		ssize_t n = readlink("/proc/self/exe", o->path, sizeof(o->path) - 1);

		o->path[n > 0 ? n : 0] = 0;
	}
	return !strchr(o->path, '\'');
}

static char *keep(const char *s, size_t n) { return must(strndup(s, n)); }

/* A line with the function, then one with file:line; frames that were inlined come first. */
static void take(struct symbol **last, uint64_t pc, const char *function, char *place)
{
	struct symbol *s = must(calloc(1, sizeof(*s)));
	char *colon = strrchr(place, ':');

	s->pc = pc;
	s->function = keep(function, strcspn(function, "(\n"));
	s->line = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
	s->file = keep(place, colon ? (size_t)(colon - place) : strlen(place));
	if (*last) {
		(*last)->inlined_in = s;
	} else if (n_slots < SLOTS / 2) {
		*slot_of(pc) = s;
		n_slots++;
	}
	*last = s;
}

static void read_answers(FILE *from, uint64_t base)
{
	char function[1024], place[4200];
	struct symbol *last = NULL;
	uint64_t pc = 0;

	while (fgets(function, sizeof(function), from)) {
		if (function[0] == '0' && function[1] == 'x') {
			pc = strtoull(function, NULL, 16) + base + 1;
			last = NULL;
			if (*slot_of(pc))
				pc = 0;
			continue;
		}
		if (!fgets(place, sizeof(place), from))
			break;
		if (pc)
			take(&last, pc, function, place);
	}
}

static void ask(const struct object *o, const uint64_t *pc, size_t n)
{
	size_t room = sizeof(o->path) + 80 + n * 20, at;
	char *command = must(malloc(room));
	FILE *out;

	at = (size_t)snprintf(command, room, "addr2line -a -f -i -C -e '%s'", o->path);
	for (size_t i = 0; i < n; i++) /* in the call, not behind it */
		at += (size_t)snprintf(command + at, room - at, " 0x%llx",
				       (unsigned long long)(pc[i] - 1 - o->base));
	(void)snprintf(command + at, room - at, " 2>/dev/null");
	(void)fflush(NULL);
	out = SYSTEM(popen)(command, "re");
	if (out) {
		read_answers(out, o->base);
		(void)pclose(out);
	}
	free(command);
}

void symbols_load(const uint64_t *pc, size_t n)
{
	uint64_t batch[BATCH];
	struct object of = { 0 }, now;
	size_t waiting = 0;

	for (size_t i = 0; i < n; i++) {
		if (!pc[i] || *slot_of(pc[i]) || !object_of(pc[i], &now))
			continue;
		if (waiting && (waiting == BATCH || strcmp(of.path, now.path) != 0)) {
			ask(&of, batch, waiting);
			waiting = 0;
		}
		of = now;
		batch[waiting++] = pc[i];
	}
	if (waiting)
		ask(&of, batch, waiting);
}

static const struct symbol *unknown(uint64_t pc)
{
	struct symbol *s = must(calloc(1, sizeof(*s)));
	char name[600] = "?";
	struct object o;

	if (pc && object_of(pc, &o) && o.name)
		(void)snprintf(name, sizeof(name), "%.500s+0x%llx", o.name,
			       (unsigned long long)o.past);
	else if (pc)
		(void)snprintf(name, sizeof(name), "0x%llx", (unsigned long long)pc);
	s->pc = pc;
	s->function = keep(name, strlen(name));
	s->file = keep("?", 1);
	if (n_slots < SLOTS / 2) {
		*slot_of(pc) = s;
		n_slots++;
	}
	return s;
}

const struct symbol *symbol_of(uint64_t pc)
{
	struct symbol *s = *slot_of(pc);

	if (!s) {
		symbols_load(&pc, 1);
		s = *slot_of(pc);
	}
	if (s && s->function[0] == '?' && !s->inlined_in && s->file[0] == '?')
		*slot_of(pc) = NULL; /* the loader may know more */
	else if (s)
		return s;
	return unknown(pc);
}

/* As seen from here, where it is below; else the name alone. */
static const char *near(const char *file)
{
	static char here[4096];
	const char *slash = strrchr(file, '/');
	size_t n;

	if (!here[0] && !getcwd(here, sizeof(here)))
		return file;
	n = strlen(here);
	if (!strncmp(file, here, n) && file[n] == '/' && strlen(file + n) < 60)
		return file + n + 1;
	return slash ? slash + 1 : file;
}

const char *symbol_place(const struct symbol *s, char *text, size_t size)
{
	if (s->line)
		(void)snprintf(text, size, "%s:%u", near(s->file), s->line);
	else
		(void)snprintf(text, size, "%s", s->function);
	return text;
}

const char *symbol_source(const struct symbol *s, char *text, size_t size)
{
	FILE *f = s->line ? fopen(s->file, "r") : NULL;
	size_t n = 0;
	char *from;

	text[0] = 0;
	/* a line may be longer than the text */
	for (unsigned left = s->line; f && left && fgets(text, (int)size, f);)
		left -= strchr(text, '\n') || left == 1;
	if (f)
		(void)fclose(f);
	from = text + strspn(text, " \t");
	n = strlen(from);
	while (n && strchr(" \t\r\n", from[n - 1]))
		n--;
	memmove(text, from, n);
	text[n] = 0;
	return text;
}

/* ---- wrappers ------------------------------------------------------------------------------------ */

static const char *wrappers = "";

void crashsim_wrappers(const char *files) { wrappers = files; }

/* Its file is, or ends in a slash and, one of the names. */
bool symbol_is_wrapper(const struct symbol *s)
{
	size_t len = strlen(s->file), n;

	for (const char *name = wrappers; *name; name += n) {
		const char *end = s->file + len;

		n = strcspn(name, " ");
		if (n && n <= len && !strncmp(end - n, name, n) &&
		    (n == len || end[-(ptrdiff_t)n - 1] == '/'))
			return true;
		n += strspn(name + n, " ");
	}
	return false;
}

const struct symbol *symbol_caller(const struct symbol *s)
{
	const struct symbol *caller = s;

	while (caller && symbol_is_wrapper(caller))
		caller = caller->inlined_in;
	return caller ? caller : s;
}

/* ---- in words ------------------------------------------------------------------------------------ */

bool symbol_is_engine(const struct symbol *s)
{
	static char own[4096];
	const char *slash = strrchr(s->file, '/');

	if (!own[0]) {
		const struct symbol *me = symbol_of((uint64_t)(uintptr_t)&symbol_is_engine + 1);
		const char *end = strrchr(me->file, '/');

		(void)snprintf(own, sizeof(own), "%.*s", end ? (int)(end - me->file) : 0, me->file);
		if (!own[0])
			own[0] = '?';
	}
	return s->file[0] == '?' || (slash && (size_t)(slash - s->file) == strlen(own) &&
				     !strncmp(own, s->file, strlen(own)));
}

const char *event_text(const struct event *e, char *text, size_t size)
{
	static const char *const name[] = {
		[EV_STORE] = "store",
		[EV_STREAM] = "streamed store",
		[EV_CLWB] = "clwb",
		[EV_CLFLUSH] = "clflush",
		[EV_SFENCE] = "sfence",
		[EV_MFENCE] = "mfence or locked instruction",
		[EV_MSYNC] = "msync",
		[EV_BEGIN] = "begin of operation",
		[EV_RETURNED] = "return of operation",
		[EV_WALKER] = "bits for a page walker",
		[EV_NOTE] = "note",
		[EV_AGAIN] = "begin anew",
	};
	const struct symbol *s = symbol_caller(symbol_of(e->site));
	char what[100], where[300] = "", place[200];

	if (e->site)
		(void)snprintf(where, sizeof(where), ", at %s%s%s",
			       symbol_place(s, place, sizeof(place)), s->line ? " in " : "",
			       s->line ? s->function : "");
	switch (e->kind) {
	case EV_STORE:
	case EV_STREAM:
	case EV_WALKER:
		(void)snprintf(what, sizeof(what), " of %u bytes at 0x%llx: 0x%llx", e->len,
			       (unsigned long long)e->off, (unsigned long long)e->value);
		break;
	case EV_CLWB:
	case EV_CLFLUSH:
		(void)snprintf(what, sizeof(what), " of the line at 0x%llx",
			       (unsigned long long)e->off);
		break;
	case EV_BEGIN:
	case EV_RETURNED:
	case EV_NOTE:
		(void)snprintf(what, sizeof(what), " %llu", (unsigned long long)e->value);
		break;
	default:
		what[0] = 0;
	}
	(void)snprintf(text, size, "%s%s%s", name[e->kind], what, where);
	return text;
}
