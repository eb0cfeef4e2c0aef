/* SPDX-License-Identifier: BSD-3-Clause */
/* failure -- the path of a failure as a line, and that path taken again.
 *
 * FORMAT	TRACE-POINT[.EVENT...][-CHOICES]
 *	TRACE	six hexadecimal digits of the digest of the recording and of the options that change
 *		what a path means: an id of another build is found out, not misread
 *	POINT	the crash is just before this event of run
 *	EVENT	each further crash: before this event of the recovery after it
 *	CHOICES	what recovery got at each read that was not decided, in order.  Choice 0, the newest
 *		bytes, is left out: a number before a choice counts them.  1 to 26 are a to z, more
 *		are _N_.  A path too long for an id ends in @ and the digest of the path; it is found
 *		by exploring its crash point again.
 */
#include "driver.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "unseen.h"

uint64_t trace_digest(const struct trace *t)
{
	/* addresses of its own that a library keeps in the file differ between processes */
	uint64_t h = unseen_library ? t->n : digest_bytes(t->n, t->first, t->bytes);

	for (size_t i = 0; i < t->n; i++) {
		const struct event *e = &t->event[i];

		h = digest_mix(h, (uint64_t)e->kind << 40 | (uint64_t)e->thread << 32 | e->len);
		h = digest_mix(h, e->off);
		if (!unseen_library)
			h = digest_mix(h, e->value);
	}
	h = digest_mix(h, (uint64_t)options.order << 8 | (uint64_t)options.persist << 4 |
				  (uint64_t)options.no_checked << 1 | (options.mode == MODE_EAGER));
	return h ^ h >> 32;
}

/* ---- ids ----------------------------------------------------------------------------------------- */

struct text {
	char *s;
	size_t n, size;
};

static void say(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *t, const char *format, ...)
{
	va_list ap;
	int n;

	if (t->n >= t->size)
		return;
	va_start(ap, format);
	n = vsnprintf(t->s + t->n, t->size - t->n, format, ap);
	va_end(ap);
	t->n += n > 0 ? (size_t)n : 0;
}

static void choices(struct text *t, const struct failure *f)
{
	size_t zeros = 0;
	const char *dash = "-";

	for (size_t i = 0; i < f->n_decisions; i++) {
		unsigned c = f->decision[i].chosen;

		if (!c) {
			zeros++;
			continue;
		}
		say(t, "%s", dash);
		dash = "";
		if (zeros)
			say(t, "%zu", zeros);
		if (c <= 26)
			say(t, "%c", 'a' + (int)c - 1);
		else
			say(t, "_%u_", c);
		zeros = 0;
	}
}

void failure_id(const struct failure *f, uint64_t digest, char *id, size_t size)
{
	struct text t = { id, 0, size };
	size_t head;

	say(&t, "%06x-%zu", (unsigned)(digest & 0xffffff), f->crash_point);
	for (unsigned i = 1; i < f->phases; i++)
		say(&t, ".%zu", f->crash_in[i]);
	head = t.n;
	choices(&t, f);
	if (t.n < size)
		return;
	t.n = head;
	say(&t, "-@%016llx", (unsigned long long)f->path);
}

static const char *choices_parse(const char *s, struct failure *f)
{
	size_t at = 0;

	if (*s == '@') {
		char *end;

		f->path = strtoull(s + 1, &end, 16);
		f->by_path = true;
		return end == s + 17 && !*end ? NULL
					      : "what follows @ is not 16 hexadecimal digits";
	}
	while (*s) {
		char *end;
		unsigned long c;

		if (*s >= '0' && *s <= '9') {
			at += strtoul(s, &end, 10);
			s = end;
		}
		if (*s >= 'a' && *s <= 'z') {
			c = (unsigned long)(*s++ - 'a') + 1;
		} else if (*s == '_') {
			c = strtoul(s + 1, &end, 10);
			if (*end != '_')
				return "a choice that begins with _ must end with one";
			s = end + 1;
		} else {
			return "a choice must be a letter a to z, or _N_";
		}
		if (at >= DECISIONS_MAX || c > UINT16_MAX)
			return "a choice is out of range";
		f->decision[at++].chosen = (uint16_t)c;
		f->n_decisions = at;
	}
	return NULL;
}

/* What was read must be all that is written. */
static const char *as_written(const char *id, uint64_t digest, const struct failure *f)
{
	static char what[sizeof(f->id) + 60];
	char again[sizeof(f->id)];

	if (f->by_path)
		return NULL;
	failure_id(f, digest, again, sizeof(again));
	if (!strcmp(id, again))
		return NULL;
	(void)snprintf(what, sizeof(what), "it does not fit: that path is written '%s'", again);
	return what;
}

const char *failure_parse(const char *id, const struct trace *t, struct failure *f)
{
	static char what[256];
	unsigned long long digest;
	char *end;
	const char *dash = strchr(id, '-');

	*f = (struct failure){ .phases = 1,
			       .decision = must(calloc(DECISIONS_MAX, sizeof(*f->decision))) };
	(void)snprintf(f->id, sizeof(f->id), "%s", id);
	digest = strtoull(id, &end, 16);
	if (!dash || end != dash || dash - id != 6)
		return "it must begin with six hexadecimal digits and a dash";
	if (digest != (trace_digest(t) & 0xffffff)) {
		(void)snprintf(
			what, sizeof(what),
			"it is of another build, or of other options: its recording has the digest %06llx, "
			"this one %06llx",
			digest, (unsigned long long)(trace_digest(t) & 0xffffff));
		return what;
	}
	f->crash_point = strtoul(dash + 1, &end, 10);
	if (end == dash + 1)
		return "no crash point follows the first dash";
	if (f->crash_point > t->n || !trace_crash_point(t, f->crash_point)) {
		(void)snprintf(what, sizeof(what), "event %zu is no crash point of this recording",
			       f->crash_point);
		return what;
	}
	f->crash_in[0] = f->crash_point;
	while (*end == '.') {
		if (f->phases == PHASES_MAX)
			return "it has more crashes than crashsim explores in a row";
		f->crash_in[f->phases++] = strtoul(end + 1, &end, 10);
	}
	if (*end == '-') {
		const char *wrong = choices_parse(end + 1, f);

		return wrong ? wrong : as_written(id, digest, f);
	}
	return *end ? "it does not end where it should" : as_written(id, digest, f);
}

/* ---- replay -------------------------------------------------------------------------------------- */

struct again {
	const struct replay_by *by;
	struct failure *out;
	bool failed, by_digest;
};

static bool replay_failed(void *ctx, const struct failure *f)
{
	struct again *a = ctx;
	struct decision *to = a->out->decision;

	if (a->by_digest && f->path != a->out->path)
		return true;
	a->failed = true;
	memcpy(to, f->decision, f->n_decisions * sizeof(*to));
	*a->out = *f;
	a->out->decision = to;
	a->out->by_path = false;
	return false;
}

static const uint16_t *replay_guide(void *ctx, uint32_t line)
{
	const struct again *a = ctx;

	return a->by->guide(a->by->ctx, line);
}

enum replayed path_replay(const struct crashsim_workload *w, const struct trace *t,
			  struct failure *f, const struct replay_by *by)
{
	struct model *m = model_new(t);
	struct failure now = { .decision = must(calloc(DECISIONS_MAX, sizeof(struct decision))) };
	struct failure path = *f;
	struct point_result result = { 0 };
	struct again again = { by, f, false, f->by_path };
	unsigned char op[256];
	uint64_t note[64];
	struct explorer x = { .workload = w,
			      .buf = region_base,
			      .bytes = t->bytes,
			      .model = m,
			      .crash_point = f->crash_point,
			      .depth = f->phases,
			      .op = op,
			      .note = note,
			      .now = &now,
			      .failed = replay_failed,
			      .ctx = &again,
			      .replay = again.by_digest ? NULL : &path,
			      .observer = by ? by->observer : NULL,
			      .guide = by && by->guide ? replay_guide : NULL };
	struct image_set *set;
	char id[sizeof(f->id)];

	path.decision = must(malloc((f->n_decisions + 1) * sizeof(*path.decision)));
	memcpy(path.decision, f->decision, f->n_decisions * sizeof(*path.decision));
	memcpy(id, f->id, sizeof(id));
	ops_at(t, x.crash_point, op, note);
	f->what[0] = 0;
	model_to(m, f->crash_point);
	set = model_images(m);
	explore(&x, set, &result);
	image_set_free(set);
	model_free(m);
	free(now.decision);
	free(path.decision);
	memcpy(f->id, id, sizeof(id));
	if (x.misfit || (!again.failed && result.nested + 1 < path.phases))
		return REPLAY_MISFIT; /* a choice, or a crash inside recovery, that there is not */
	return again.failed ? REPLAY_FAILS : REPLAY_PASSES;
}
