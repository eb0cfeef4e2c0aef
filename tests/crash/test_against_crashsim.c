/* SPDX-License-Identifier: BSD-3-Clause */
/* test_against_crashsim -- two models written apart, the enumerator's and crashsim's, find the same
 * images at every crash of small programs on the log, and of single calls of the library: no more,
 * no fewer.  Crashes with more images than IMAGES_MAX are left out, and so are those in which
 * frames are zeroed, of which the enumerator makes few.
 *
 * The enumerator runs the program and shows its images; what the program does to memory is written
 * down meanwhile as a trace of crashsim's, a port as a thread.  Then crashsim's model makes every
 * image of that trace at the same crashes.  An image counts as the lines that differ from the first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tables.h"
#include "words.h"

#undef LINE_BYTES
#undef LINE_SHIFT
#include "../../crashsim/engine.h"

#define SETS(...) \
	(sizeof((struct set[]){ __VA_ARGS__ }) / sizeof(struct set)), (struct set[]) { __VA_ARGS__ }

#define IMAGES_MAX 200000

struct images { /* digests */
	uint64_t *digest;
	size_t n, room;
};

static struct trace trace;
static struct crash_point {
	size_t event;
	bool left_out;
	struct images enumerated;
} point[64];
static unsigned n_points;
static const struct pm *port[64];
static uint32_t touched[1024];
static size_t n_touched;
static char *run_base;
static bool in_fence;
static void (*enumerator)(void *ctx, const struct pm_event *e);

/* ---- sets of images -------------------------------------------------------------------------- */

static void images_add(struct images *s, uint64_t digest)
{
	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 64;
		s->digest = realloc(s->digest, s->room * sizeof(*s->digest));
		assert_non_null(s->digest);
	}
	s->digest[s->n++] = digest;
}

static int by_digest(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void images_unique(struct images *s)
{
	size_t kept = 0;

	qsort(s->digest, s->n, sizeof(*s->digest), by_digest);
	for (size_t i = 0; i < s->n; i++) {
		if (!kept || s->digest[kept - 1] != s->digest[i])
			s->digest[kept++] = s->digest[i];
	}
	s->n = kept;
}

static bool images_equal(const struct images *a, const struct images *b)
{
	return a->n == b->n && !memcmp(a->digest, b->digest, a->n * sizeof(*a->digest));
}

/* Of one line: 0 as it was first.  Those of an image are added up. */
static uint64_t line_digest(uint32_t line, const void *content)
{
	uint64_t word[LINE_WORDS], h = line + 1;

	if (!memcmp(content, trace.first + (size_t)line * LINE_BYTES, LINE_BYTES))
		return 0;
	memcpy(word, content, sizeof(word));
	for (unsigned i = 0; i < LINE_WORDS; i++) {
		h = (h ^ word[i]) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
		h *= 0xbf58476d1ce4e5b9u;
		h ^= h >> 32;
	}
	return h;
}

/* ---- what the program does, and what the enumerator makes of it -------------------------------- */

static uint32_t thread_of(const struct pm *pm)
{
	uint32_t i = 0;

	while (i < 64 && port[i] && port[i] != pm)
		i++;
	assert_true(i < 64);
	port[i] = pm;
	return i;
}

static void note(enum event_kind kind, const struct pm_event *e, size_t at, uint32_t len,
		 uint64_t value)
{
	uint64_t off = e->addr ? (uint64_t)((char *)e->addr - run_base) + at : 0;
	uint32_t line = (uint32_t)(off >> LINE_SHIFT);
	size_t i = 0;

	trace_add(&trace, (struct event){ .kind = kind,
					  .thread = thread_of(e->pm),
					  .off = off,
					  .len = len,
					  .value = value });
	if (kind != EV_STORE && kind != EV_STREAM)
		return;
	while (i < n_touched && touched[i] != line)
		i++;
	if (i == n_touched) {
		assert_true(n_touched < 1024);
		touched[n_touched++] = line;
	}
}

/* The enumerator's turn comes first: its crash is before the event, so behind what is in the trace. */
static void observe(void *ctx, const struct pm_event *e)
{
	bool of_run = e->pm->medium->base == run_base;

	in_fence |= of_run && e->kind == PM_EV_FENCE;
	enumerator(ctx, e);
	if (!of_run)
		return; /* a recovery's */
	in_fence = false;
	switch (e->kind) {
	case PM_EV_STORE:
		note(EV_STORE, e, 0, 8, e->value);
		break;
	case PM_EV_FLUSH:
		for (size_t at = 0; at < e->len; at += LINE_BYTES)
			note(EV_CLWB, e, at, 0, 0);
		break;
	case PM_EV_STREAM:
		for (size_t at = 0; at < e->len; at += 8) {
			uint64_t value = 0;

			if (e->src)
				memcpy(&value, (const char *)e->src + at, sizeof(value));
			note(EV_STREAM, e, at, 8, value);
		}
		break;
	case PM_EV_FENCE:
		note(EV_SFENCE, e, 0, 0, 0);
		break;
	case PM_EV_STEP:
		break;
	}
}

static bool on_crash(double images)
{
	struct crash_point *p = &point[n_points++];

	assert_true(n_points <= sizeof(point) / sizeof(point[0]));
	p->event = trace.n;
	p->left_out = images > IMAGES_MAX;
	if (!in_fence)
		trace_add(&trace, (struct event){ .kind = EV_RETURNED });
	return !p->left_out;
}

static void on_image(const char *base)
{
	uint64_t digest = 0;

	for (size_t i = 0; i < n_touched; i++)
		digest += line_digest(touched[i], base + (size_t)touched[i] * LINE_BYTES);
	images_add(&point[n_points - 1].enumerated, digest);
}

static const struct watch watching = { on_crash, on_image };

static void record(struct region *rg)
{
	run_base = rg->base;
	trace.bytes = RUN_BYTES;
	trace.first = malloc(RUN_BYTES);
	assert_non_null(trace.first);
	memcpy(trace.first, run_base, RUN_BYTES);
	enumerator = pm_observer;
	pm_observer = observe;
}

static void forget(void)
{
	while (n_points)
		free(point[--n_points].enumerated.digest);
	memset(point, 0, sizeof(point));
	memset(port, 0, sizeof(port));
	n_touched = 0;
	in_fence = false;
	trace_free(&trace);
}

/* ---- what crashsim makes of it ----------------------------------------------------------------- */

struct cuts { /* of one line */
	struct image_set set;
	uint16_t cut[1][GROUPS];
	struct images *to;
};

static bool has_group(const struct line_set *l, unsigned group)
{
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->piece[i].group == group)
			return true;
	}
	return false;
}

/* Every cut of the groups from `group` on that is an image: what the line can hold. */
static void line_make(struct cuts *c, unsigned group)
{
	const struct line_set *l = c->set.set[0];
	unsigned char content[LINE_BYTES];

	while (group < GROUPS && !has_group(l, group))
		group++;
	if (group == GROUPS) {
		line_set_content(l, c->cut[0], content);
		if (image_holds(&c->set, c->cut))
			images_add(c->to, line_digest(l->line, content));
		return;
	}
	for (uint16_t k = l->lo[group]; k <= l->hi[group]; k++) {
		c->cut[0][group] = k;
		line_make(c, group + 1);
	}
}

/* Lines are independent of each other: each image so far with each content of one more. */
static void images_times(struct images *to, const struct images *line)
{
	struct images all = { 0 };

	for (size_t i = 0; i < to->n; i++) {
		for (size_t k = 0; k < line->n; k++)
			images_add(&all, to->digest[i] + line->digest[k]);
	}
	free(to->digest);
	*to = all;
}

/* Lines that the set does not name are as in its rest. */
static uint64_t rest_digest(const struct image_set *set)
{
	uint64_t digest = 0;

	for (uint32_t line = 0; line < RUN_BYTES / LINE_BYTES; line++) {
		bool named = false;

		for (size_t i = 0; i < set->n; i++)
			named |= set->set[i]->line == line;
		if (!named)
			digest += line_digest(line, set->rest + (size_t)line * LINE_BYTES);
	}
	return digest;
}

static void model_make(struct model *m, struct images *to)
{
	struct image_set *set = model_images(m);

	images_add(to, rest_digest(set));
	for (size_t i = 0; i < set->n; i++) {
		struct images line = { 0 };
		struct cuts c = { .set = { .n = 1, .set = &set->set[i] }, .to = &line };

		line_make(&c, 0);
		images_unique(&line);
		images_times(to, &line);
		free(line.digest);
	}
	image_set_free(set);
}

/* Crash points at which crashsim has other images. */
static unsigned differ(bool show)
{
	struct model *m = model_new(&trace);
	unsigned n = 0;

	for (unsigned i = 0; i < n_points; i++) {
		struct images made = { 0 };

		if (point[i].left_out)
			continue;
		model_to(m, point[i].event);
		model_make(m, &made);
		images_unique(&made);
		if (!images_equal(&made, &point[i].enumerated)) {
			n++;
			if (show)
				print_message("event %zu: %zu images, crashsim %zu\n",
					      point[i].event, point[i].enumerated.n, made.n);
		}
		free(made.digest);
	}
	model_free(m);
	return n;
}

/* ---- programs -------------------------------------------------------------------------------- */

static void one_line_run(struct region *rg)
{
	record(rg);
	words_open(rg);
	redo1(0, 0, 1);
	redo1(1, 1, 2);
	words_close();
}

static void two_lines_run(struct region *rg)
{
	record(rg);
	words_open(rg);
	redo(0, SETS({ 1, 2 }, { 2, 3 }, { 3, 4 }));
	words_close();
}

static void checkpoint_run(struct region *rg)
{
	record(rg);
	words_open(rg);
	redo1(0, 0, 1);
	redo(1, SETS({ 1, 2 }, { 2, 2 }));
	checkpoint();
	redo1(0, 0, 3);
	words_close();
}

static void bulk_run(struct region *rg)
{
	record(rg);
	words_open(rg);
	bulk_start();
	bulk_set(SETS({ 0, 5 }, { 1, 5 }));
	bulk_finish(SETS({ 3, 5 }));
	words_close();
}

/* The pm layer alone, behind the region: stores of a line in and out of order, flushes that are early
 * or another port's, streamed words that wait for their own port. */
static void ports_run(struct region *rg)
{
	static _Alignas(64) const uint64_t src[8] = { 1, 2, 3, 4, 5, 6, 7 };
	char *end = rg->base + RUN_BYTES;
	pm_word *w = (pm_word *)(void *)(end - 256), *v = (pm_word *)(void *)(end - 128);
	struct pm a, b;

	record(rg);
	pm_init(&a, &rg->medium);
	pm_init(&b, &rg->medium);
	pm_store(&a, &w[0], 1);
	pm_store(&a, &w[1], 2);
	pm_flush(&a, w, 64);
	pm_store(&b, &w[0], 3);
	pm_store(&a, &v[5], 4);
	assert_int_equal(pm_fence(&b), 0); /* b has flushed nothing */
	pm_stream(&b, end - 64, src, 1);
	assert_int_equal(pm_fence(&a), 0);
	pm_store(&a, &w[7], 5);
	pm_flush(&b, w, 64);
	pm_flush(&a, v, 64);
	pm_store(&a, &w[2], 6);
	assert_int_equal(pm_fence(&a), 0);
	assert_int_equal(pm_fence(&b), 0);
	/* the last: the enumerator does not go on from a line both stored and streamed to */
	pm_store(&a, (pm_word *)(void *)(end - 40), 7);
	pm_stream_zero(&a, end - 64, 1);
	returned();
}

/* ---- programs on tables ------------------------------------------------------------------------ */

/* One page is mapped, its tables are durable. */
static void one_page(struct region *rg)
{
	core_start(rg);
	assert_int_equal(pmpt_map(NULL, space, P4K, 2, 7, PMPT_R | PMPT_EXT), 0);
	assert_int_equal(pmpt_checkpoint(pool), 0);
}

#define TABLES(fn, setup, ...)                  \
	static void fn##_run(struct region *rg) \
	{                                       \
		unrecorded(rg, setup);          \
		record(rg);                     \
		__VA_ARGS__;                    \
		core_end();                     \
	}

TABLES(map, one_page, CALL(0, pmpt_map(NULL, space, 5 * P4K, 1, 9, PMPT_R | PMPT_EXT), 0))
TABLES(map_with_tables, core_start, CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT), 0))
TABLES(replace, one_page,
       CALL(0, pmpt_map(NULL, space, P4K, 1, 9, PMPT_R | PMPT_EXT | PMPT_REPLACE), 0))
TABLES(protect, one_page, CALL(0, pmpt_protect(NULL, space, P4K, 2 * P4K, PMPT_R | PMPT_W), 0))
TABLES(unmap, one_page, CALL(0, pmpt_unmap(NULL, space, P4K, P4K), 0))
TABLES(unmap_table, one_page, CALL(0, pmpt_unmap(NULL, space, P4K, 2 * P4K), 0))
TABLES(move, one_page, CALL(0, pmpt_move(NULL, space, P4K, space, 9 * P4K, P4K), 0))
TABLES(user_word, core_start, CALL(0, pmpt_user_set(NULL, space, 1, 42), 0))

static int two_words(void)
{
	pmpt_tx *tx;

	assert_int_equal(pmpt_begin(pool, 0, &tx), 0);
	assert_int_equal(pmpt_user_set(tx, space, 1, 42), 0);
	assert_int_equal(pmpt_unmap(tx, space, P4K, P4K), 0);
	return pmpt_commit(tx, NULL);
}
TABLES(transaction, one_page, CALL(0, two_words(), 0))

static int bulk(bool commit)
{
	pmpt_tx *tx;

	assert_int_equal(pmpt_begin(pool, PMPT_TX_BULK, &tx), 0);
	assert_int_equal(pmpt_unmap(tx, space, P4K, P4K), 0);
	assert_int_equal(bulk_spill(tx), 0);
	assert_int_equal(pmpt_user_set(tx, space, 1, 42), 0);
	return commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
}
TABLES(bulk_tables, one_page, CALL(0, bulk(true), 0))
TABLES(bulk_undone, one_page, CALL(0, bulk(false), 0))

static struct pmpt_space *other;
TABLES(space_create, core_start_zeroed, CALL(0, pmpt_space_create(pool, "t", &other), 0);
       pmpt_space_close(other))
TABLES(space_rename, core_start, CALL(0, pmpt_space_rename(pool, "s", "another name"), 0))
TABLES(zeroed_checkpoint, one_page,
       CALL(0, pmpt_map(NULL, space, 5 * P4K, 1, 9, PMPT_R | PMPT_EXT), 0);
       CALL(0, pmpt_checkpoint(pool), 0))

/* ---- the comparison --------------------------------------------------------------------------- */

static const char *any(struct region *rg, const struct history *h)
{
	(void)rg, (void)h;
	return NULL;
}

/* With a rule switched off the model is wrong, and that is seen. */
static void differs(const char *rule, bool *off)
{
	unsigned n;

	*off = true;
	n = differ(false);
	*off = false;
	print_message("    without %s other images at %u\n", rule, n);
	assert_true(n > 0);
}

/* Recovery is not what is tested: it is not crashed. */
static void agree_on(const struct program *p)
{
	struct outcome o;
	unsigned compared = 0;
	size_t images = 0;

	watch = &watching;
	o = enumerate(p);
	watch = NULL;
	assert_string_equal(o.violation, "");
	assert_int_equal(n_points, o.crash_points);
	for (unsigned i = 0; i < n_points; i++) {
		images_unique(&point[i].enumerated);
		images += point[i].enumerated.n;
		compared += !point[i].left_out;
	}
	print_message("%-36s %3u of %3u crash points %7zu images\n", p->name, compared, n_points,
		      images);
	assert_true(images > 2ul * compared);
	assert_true(2 * compared >= n_points);
	assert_int_equal(differ(true), 0);
	differs("R9", &options.no_r9);
	differs("R11", &options.no_r11);
	if (p->run == ports_run) /* of the others no image depends on it */
		differs("R3", &options.no_r3);
	forget();
}

/* On the log and the pm layer: all of their crashes. */
static void agree(const char *name, void (*run)(struct region *rg))
{
	agree_on(&(struct program){ .name = name, .run = run, .check = any, .depth = 1 });
}

static void agree_tables(const char *name, void (*run)(struct region *rg))
{
	agree_on(&(struct program){ .name = name,
				    .run = run,
				    .check = any,
				    .depth = 1,
				    .half_lines = 16,
				    .bulk_lines = 24 });
}

static void test_ports(void **unused)
{
	(void)unused;
	agree("ports", ports_run);
}

static void test_redo(void **unused)
{
	(void)unused;
	agree("two redo transactions", one_line_run);
	agree("a redo transaction of two lines", two_lines_run);
	agree("redo and checkpoint", checkpoint_run);
}

static void test_bulk(void **unused)
{
	(void)unused;
	agree("bulk commit", bulk_run);
}

static void test_pages(void **unused)
{
	(void)unused;
	agree_tables("map a page", map_run);
	agree_tables("map a page with its tables", map_with_tables_run);
	agree_tables("replace a page", replace_run);
	agree_tables("protect two pages", protect_run);
	agree_tables("unmap a page", unmap_run);
	agree_tables("unmap a table's last pages", unmap_table_run);
	agree_tables("move a page", move_run);
	agree_tables("map a page, checkpoint", zeroed_checkpoint_run);
}

static void test_transactions(void **unused)
{
	(void)unused;
	agree_tables("user word", user_word_run);
	agree_tables("a transaction: user word, unmap", transaction_run);
	agree_tables("bulk commit of tables", bulk_tables_run);
	agree_tables("bulk abort of tables", bulk_undone_run);
}

static void test_spaces(void **unused)
{
	(void)unused;
	agree_tables("space create", space_create_run);
	agree_tables("space rename", space_rename_run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),        cmocka_unit_test(test_redo),
		cmocka_unit_test(test_bulk),         cmocka_unit_test(test_pages),
		cmocka_unit_test(test_transactions), cmocka_unit_test(test_spaces),
	};

	return cmocka_run_group_tests_name("the enumerator and crashsim", tests, NULL, NULL);
}
