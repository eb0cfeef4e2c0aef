/* SPDX-License-Identifier: BSD-3-Clause */
/* kv -- workloads: batches of the map of examples/kv.  After each crash its own check finds nothing,
 * and its content is that of a sorted table after the last batch that has returned, or the one under
 * way, whole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pm_bridge.h"

#include "kv.h"

#define FRAMES     80
#define KEYS       16
#define CHECKPOINT 100 /* as an operation, after a batch */
#define GONE       UINT32_MAX

/* Batch n of a script changes these keys: to values of len bytes, or GONE. */
struct change {
	unsigned batch, key;
	uint32_t len;
};

static const struct change put_changes[] = {
	{ 0, 3, 10 }, { 0, 9, 20 }, { 1, 5, 30 }, { 2, 9, 2000 }, { 3, 9, 12 }
};
/* four of 900 bytes fill a leaf */
static const struct change split_changes[] = { { 0, 0, 900 },  { 0, 2, 900 }, { 0, 6, 900 },
					       { 0, 8, 900 },  { 1, 4, 900 }, { 1, 5, 7 },
					       { 1, 0, GONE }, { 1, 7, 1500 } };
static const struct change merge_changes[] = { { 0, 0, 900 },  { 0, 2, 900 },  { 0, 4, 900 },
					       { 0, 6, 900 },  { 0, 8, 900 },  { 1, 4, GONE },
					       { 1, 2, GONE }, { 2, 6, GONE }, { 3, 0, GONE },
					       { 3, 8, GONE } };

struct script {
	const struct change *change;
	size_t n;
	unsigned first, batches; /* batches before `first` are the setup's */
};
#define SCRIPT(name, first, batches)                                 \
	{                                                            \
		name, sizeof(name) / sizeof(name[0]), first, batches \
	}
static const struct script put = SCRIPT(put_changes, 1, 4), split = SCRIPT(split_changes, 1, 2),
			   merge = SCRIPT(merge_changes, 1, 4);

static pmpt_space *kv_space;
static struct kv *map;

static struct kv_slice key_of(unsigned i)
{
	static char text[KEYS][4];

	memcpy(text[i], "key", 3);
	text[i][3] = (char)('a' + i);
	return (struct kv_slice){ text[i], 4 };
}

static struct kv_slice value_of(const struct change *c)
{
	static char buf[6000];

	for (uint32_t i = 0; i < c->len; i++)
		buf[i] = (char)(c->key * 31 + c->batch * 5 + i * 7 + (i >> 8));
	return (struct kv_slice){ buf, c->len };
}

static void must(int rc, const char *what)
{
	if (rc)
		crashsim_fail("%s: %s: %s", what, pmpt_strerror(rc), kv_errormsg(rc));
}

static int batch(const struct script *s, unsigned n)
{
	int rc = kv_begin(map);

	for (size_t i = 0; i < s->n && !rc; i++) {
		const struct change *c = &s->change[i];

		if (c->batch == n)
			rc = c->len == GONE ? kv_delete(map, key_of(c->key))
					    : kv_put(map, key_of(c->key), value_of(c));
	}
	return rc ? rc : kv_commit(map);
}

static void setup(void *pm, const struct script *s)
{
	bridge_format(pm, &(struct shape){ .half_lines = 32, .frames = FRAMES });
	bridge_open(pm);
	MUST(pmpt_space_create(pool, "map", &kv_space));
	map = kv_open(kv_space);
	for (unsigned n = 0; n < s->first; n++)
		MUST(batch(s, n));
	MUST(pmpt_checkpoint(pool));
}

static void run(const struct script *s)
{
	bridge_rules();
	for (unsigned n = s->first; n < s->batches; n++) {
		crashsim_begin(n);
		MUST(batch(s, n));
		crashsim_returned(n);
		if (n % 2 == 0) { /* keeps the states few */
			crashsim_begin(CHECKPOINT + n);
			MUST(pmpt_checkpoint(pool));
			crashsim_returned(CHECKPOINT + n);
		}
	}
	kv_close(map);
	pmpt_space_close(kv_space);
	bridge_stop();
}

/* The map is what the first n batches make of it. */
static bool is_after(const struct script *s, unsigned n)
{
	const struct change *now[KEYS] = { 0 };
	struct kv_slice k, v;
	int rc = kv_seek(map, KV_STR(""), &k, &v);

	for (size_t i = 0; i < s->n; i++)
		if (s->change[i].batch < n)
			now[s->change[i].key] = &s->change[i];
	for (unsigned i = 0; i < KEYS; i++) {
		if (!now[i] || now[i]->len == GONE)
			continue;
		if (rc || kv_compare(k, key_of(i)) != 0)
			return false;
		if (v.len != now[i]->len || memcmp(v.data, value_of(now[i]).data, v.len) != 0)
			return false;
		rc = kv_next(map, &k, &v);
	}
	return rc == -ENOENT;
}

static void finding(void *ctx, uint64_t va, const char *message)
{
	(void)ctx;
	crashsim_fail("page at %#lx: %s", va, message);
}

static void check(void *pm, const struct script *s)
{
	unsigned returned = s->first;
	struct kv_stat stat;

	bridge_check_verifier(pm);
	must(core_open(bridge_region(pm), PMPT_OPEN_NO_GROW, &pool), "open");
	must(pmpt_space_open(pool, "map", &kv_space), "open the map");
	map = kv_open(kv_space);
	must(kv_begin(map), "begin");
	must(kv_check(map, finding, NULL, &stat), "check");
	while (returned < s->batches && crashsim_state(returned) == CRASHSIM_RETURNED)
		returned++;
	bool open = returned < s->batches && crashsim_state(returned) == CRASHSIM_OPEN;
	bool after = is_after(s, returned), next = !after && open && is_after(s, returned + 1);

	if (!after && !next)
		crashsim_fail("the map is not what %u batches make of it%s", returned,
			      open ? ", nor with the one under way" : "");
	crashsim_outcome(returned + next);
	kv_abort(map);
	kv_close(map);
	pmpt_space_close(kv_space);
	must(core_close(pool, false), "close");
}

#define KV(ident, script, what)                                                                  \
	static void ident##_setup(void *pm) { setup(pm, &script); }                              \
	static void ident##_run(void *pm)                                                        \
	{                                                                                        \
		(void)pm;                                                                        \
		run(&script);                                                                    \
	}                                                                                        \
	static void ident##_check(void *pm) { check(pm, &script); }                              \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(FRAMES),                   \
			  .setup = ident##_setup, .run = ident##_run, .recover = bridge_recover, \
			  .check = ident##_check)

KV(kv_put, put, "a key-value map: keys put, replaced, with a long value and a short one")
KV(kv_split, split, "a key-value map: a batch that splits a leaf, puts and deletes")
KV(kv_merge, merge, "a key-value map: deletes that empty leaves, take the root, empty the map")
