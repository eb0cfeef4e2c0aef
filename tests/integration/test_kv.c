/* SPDX-License-Identifier: BSD-3-Clause */
/* test_kv -- the map of examples/kv beside a sorted array: random batches, aborts, recoveries, scans;
 * readers and other writers beside one; snapshots; a full pool; damaged pages; a swap file; processes
 * killed.
 * PMPT_SEED=n replays a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "core.h"
#include "kv.h"

#define KEYS    4000
#define BATCHES 1500
#define PAGE    4096u

static struct core c;
static pmpt_space *space; /* of the map */
static struct kv *map;
static uint64_t seed;

static uint64_t rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

#define OK(call) ok((call), #call, __LINE__)
static void ok(int rc, const char *what, int line)
{
	if (rc)
		fail_msg("line %d: %s: %s: %s", line, what, pmpt_strerror(rc), kv_errormsg(rc));
}

/* ---- the model: key i has a value, or none ----------------------------------------------------- */

struct value {
	bool there;
	uint32_t len, seed;
};
struct model {
	struct value value[KEYS];
	uint64_t n;
};
static char *key_text[KEYS];
static size_t key_len[KEYS];
static struct model now, then, at_snapshot;

static int by_text(const void *a, const void *b)
{
	const size_t *x = a, *y = b;

	return kv_compare((struct kv_slice){ key_text[*x], key_len[*x] },
			  (struct kv_slice){ key_text[*y], key_len[*y] });
}

/* Keys in order: short ones, long ones, ones with a long prefix in common, bytes of any value. */
static void make_keys(void)
{
	static size_t order[KEYS], len[KEYS];
	static char *text[KEYS];

	for (size_t i = 0; i < KEYS; i++) {
		uint64_t way = rnd(10);
		size_t n = way == 0  ? 1 + rnd(KV_KEY_MAX - 8)
			   : way < 3 ? 200 + rnd(20)
				     : 4 + rnd(24);

		text[i] = malloc(KV_KEY_MAX);
		for (size_t k = 0; k < n; k++)
			text[i][k] = way < 3 && k < 190 ? 'p' : (char)rnd(256);
		memcpy(text[i] + n, &i, 3); /* no two are equal */
		len[i] = n + 3;
		order[i] = i;
	}
	memcpy(key_text, text, sizeof(text));
	memcpy(key_len, len, sizeof(len));
	qsort(order, KEYS, sizeof(order[0]), by_text);
	for (size_t i = 0; i < KEYS; i++) {
		key_text[i] = text[order[i]];
		key_len[i] = len[order[i]];
	}
}

static struct kv_slice key_at(size_t i) { return (struct kv_slice){ key_text[i], key_len[i] }; }

static struct kv_slice value_of(const struct value *v)
{
	static _Thread_local char buf[1 << 18];

	for (uint32_t i = 0; i < v->len; i++)
		buf[i] = (char)(v->seed + i * 7 + (i >> 8));
	return (struct kv_slice){ buf, v->len };
}

static void same_value(struct kv_slice found, const struct value *v)
{
	struct kv_slice expected = value_of(v);

	assert_int_equal(found.len, expected.len);
	assert_int_equal(memcmp(found.data, expected.data, found.len), 0);
}

static void compare_gets(struct kv *t, const struct model *m)
{
	for (unsigned tries = 0; tries < 20; tries++) {
		size_t i = rnd(KEYS);
		struct kv_slice v;
		int rc = kv_get(t, key_at(i), &v);

		assert_int_equal(rc, m->value[i].there ? 0 : -ENOENT);
		if (!rc)
			same_value(v, &m->value[i]);
	}
}

/* From a random key on, or all. */
static void compare_scan(struct kv *t, const struct model *m, bool all)
{
	size_t i = all ? 0 : rnd(KEYS), steps = all ? KEYS + 1 : rnd(100);
	struct kv_slice k, v;
	int rc = kv_seek(t, all ? KV_STR("") : key_at(i), &k, &v);

	for (; steps--; rc = kv_next(t, &k, &v), i++) {
		while (i < KEYS && !m->value[i].there)
			i++;
		assert_int_equal(rc, i < KEYS ? 0 : -ENOENT);
		if (rc)
			return;
		assert_int_equal(kv_compare(k, key_at(i)), 0);
		same_value(v, &m->value[i]);
	}
}

static void compare(struct kv *t, const struct model *m, bool all)
{
	compare_gets(t, m);
	compare_scan(t, m, false);
	if (all)
		compare_scan(t, m, true);
}

static void finding(void *ctx, uint64_t va, const char *message)
{
	(void)ctx;
	print_error("page at %#lx: %s\n", va, message);
}

static struct kv_stat check_map(struct kv *kv, uint64_t keys)
{
	struct kv_stat stat;

	OK(kv_begin(kv));
	OK(kv_check(kv, finding, NULL, &stat));
	assert_int_equal(stat.findings, 0);
	if (keys != UINT64_MAX)
		assert_int_equal(stat.keys, keys);
	OK(kv_commit(kv));
	return stat;
}

/* ---- random batches ---------------------------------------------------------------------------- */

static void random_put(struct kv *t, size_t i)
{
	uint64_t way = rnd(40), most = KV_PAIR_MAX - key_len[i];
	struct value v = { true,
			   (uint32_t)(way == 0 ? most
					       : rnd(way < 3   ? most + 1
						     : way < 9 ? 600
							       : 40)),
			   (uint32_t)rnd(256) };

	OK(kv_put(t, key_at(i), value_of(&v)));
	then.n += !then.value[i].there;
	then.value[i] = v;
}

static void random_delete(struct kv *t, size_t i)
{
	assert_int_equal(kv_delete(t, key_at(i)), then.value[i].there ? 0 : -ENOENT);
	then.n -= then.value[i].there;
	then.value[i].there = false;
}

/* growing: out of 8 changes so many put; near: keys close to each other. */
static void random_batch(unsigned growing)
{
	size_t n = 1 + rnd(rnd(10) ? 12 : 120), first = rnd(KEYS), near = rnd(3) ? KEYS : 40;

	then = now;
	OK(kv_begin(map));
	for (size_t k = 0; k < n; k++) {
		size_t i = (first + rnd(near)) % KEYS;

		if (rnd(8) < growing)
			random_put(map, i);
		else
			random_delete(map, i);
		if (rnd(60) == 0)
			compare(map, &then, false);
	}
	if (rnd(6)) {
		OK(kv_commit(map));
		now = then;
	} else {
		kv_abort(map);
	}
}

static void open_map(const char *name)
{
	int rc = pmpt_space_open(c.pool, name, &space);

	OK(rc == PMPT_E_NO_SPACE ? pmpt_space_create(c.pool, name, &space) : rc);
	map = kv_open(space);
	assert_non_null(map);
}

static void close_map(void)
{
	kv_close(map);
	pmpt_space_close(space);
}

static void make(uint64_t frames, unsigned half_lines)
{
	core_make(&c, frames, half_lines, 64);
	open_map("map");
	memset(&now, 0, sizeof(now));
}

static void end(void)
{
	core_verify(&c);
	close_map();
	core_free(&c);
}

static void reopen(void)
{
	close_map();
	core_reopen(&c, rnd(2));
	open_map("map");
}

static void look(bool all)
{
	OK(kv_begin(map));
	compare(map, &now, all);
	OK(kv_commit(map));
}

static void empty_map(void)
{
	struct kv_stat stat;

	for (size_t i = 0; i < KEYS;) {
		OK(kv_begin(map));
		for (unsigned n = 0; i < KEYS && n < 20; i++, n++)
			if (now.value[i].there)
				OK(kv_delete(map, key_at(i)));
		OK(kv_commit(map));
		if (rnd(20) == 0)
			check_map(map, UINT64_MAX);
	}
	memset(&now, 0, sizeof(now));
	stat = check_map(map, 0);
	assert_int_equal(stat.height + stat.pages, 0);
}

static void test_model(void **state)
{
	uint64_t most = 0;

	(void)state;
	make(60000, 1024);
	for (unsigned i = 0; i < BATCHES; i++) {
		random_batch(i / 250 % 2 ? 2 : 6);
		look(i % 50 == 0);
		most = now.n > most ? now.n : most;
		if (rnd(40) == 0) {
			check_map(map, now.n);
			reopen();
		}
		if (rnd(200) == 0)
			core_verify(&c);
	}
	print_message("at most %lu keys\n", most);
	assert_true(most > 1000);
	for (unsigned i = 0; i < 2; i++) { /* pages go back, and come again */
		empty_map();
		assert_int_equal(core_stats(&c).frames_data, 0);
		for (unsigned k = 0; k < 50; k++)
			random_batch(8);
		look(true);
	}
	end();
}

/* Ascending keys fill their nodes; a queue, new ones behind and old ones gone, uses its pages again. */
static void test_ascending(void **state)
{
	struct kv_stat stat;
	uint64_t words[PMPT_USER_WORDS];
	char key[16];

	(void)state;
	make(20000, 1024);
	for (unsigned i = 0; i < 200000; i++) {
		if (i % 100 == 0)
			OK(kv_begin(map));
		(void)snprintf(key, sizeof(key), "%08u", i);
		OK(kv_put(map, KV_STR(key), KV_STR(key)));
		if (i >= 50000) {
			(void)snprintf(key, sizeof(key), "%08u", i - 50000);
			OK(kv_delete(map, KV_STR(key)));
		}
		if (i % 100 == 99)
			OK(kv_commit(map));
	}
	stat = check_map(map, 50000);
	assert_true(stat.pages * 150 < 50000);
	for (unsigned i = 0; i < PMPT_USER_WORDS; i++)
		OK(pmpt_user_get(space, i, &words[i]));
	print_message("%lu pages, words %lu %lu %lu %lu\n", stat.pages, words[3], words[4],
		      words[5], words[6]);
	assert_true(words[5] < 3 * stat.pages); /* the end */
	end();
}

/* ---- snapshots --------------------------------------------------------------------------------- */

static void test_snapshot(void **state)
{
	(void)state;
	make(60000, 1024);
	for (unsigned i = 0; i < 100; i++)
		random_batch(7);
	OK(pmpt_space_fork(space, "monday", PMPT_FORK_SNAPSHOT, NULL));
	at_snapshot = now;
	for (unsigned i = 0; i < 200; i++)
		random_batch(4);
	reopen();
	look(true);
	empty_map();
	close_map();
	open_map("monday");
	check_map(map, at_snapshot.n);
	OK(kv_begin(map));
	compare(map, &at_snapshot, true);
	OK(kv_put(map, KV_STR("x"), KV_STR("y")));
	assert_int_equal(kv_commit(map), PMPT_E_SNAPSHOT);
	check_map(map, at_snapshot.n);
	close_map();
	OK(pmpt_space_delete(c.pool, "monday"));
	assert_int_equal(core_stats(&c).frames_data, 0);
	open_map("map");
	end();
}

/* ---- readers and writers beside each other ------------------------------------------------------- */

#define SPREAD 40

static atomic_int writing;

/* One batch: all of SPREAD keys get a number, one more than they had; others come and go. */
static int write_batch(struct kv *kv, uint64_t *mine)
{
	static char text[1500];
	struct kv_slice v;
	uint64_t n = 0;
	char key[16];
	int rc = kv_get(kv, KV_STR("00"), &v);

	if (!rc)
		memcpy(&n, v.data, sizeof(n));
	n++;
	for (unsigned i = 0; i < SPREAD; i++) {
		(void)snprintf(key, sizeof(key), "%02u", i);
		OK(kv_put(kv, KV_STR(key), (struct kv_slice){ &n, sizeof(n) }));
	}
	for (unsigned i = 0; i < 10; i++) {
		*mine = *mine * 6364136223846793005u + 1442695040888963407u;
		(void)snprintf(key, sizeof(key), "%02lu-%03lu", (*mine >> 33) % SPREAD,
			       (*mine >> 43) % 1000);
		if (n / 500 % 2 || kv_delete(kv, KV_STR(key)))
			OK(kv_put(kv, KV_STR(key),
				  (struct kv_slice){ text, (*mine >> 53) % 1500 }));
	}
	return kv_commit(kv);
}

/* committed: out; a conflict is no failure: nothing has happened. */
static void *writer(void *arg)
{
	struct kv *kv = kv_open(space);
	uint64_t *committed = arg, mine = (uintptr_t)arg;

	while (*committed < 1500) {
		int rc = kv_begin(kv);

		OK(rc);
		rc = write_batch(kv, &mine);
		assert_true(!rc || rc == PMPT_E_CONFLICT);
		*committed += !rc;
	}
	writing--;
	kv_close(kv);
	return NULL;
}

/* All that is to be seen is one state, however long it is looked at. */
static void read_view(struct kv *kv, uint64_t *seen)
{
	uint64_t number[2] = { 0 }, keys[2] = { 0 }, n;

	OK(kv_begin(kv));
	for (unsigned pass = 0; pass < 2; pass++) {
		struct kv_slice k, v;
		int rc = kv_seek(kv, KV_STR(""), &k, &v);

		for (; !rc; rc = kv_next(kv, &k, &v)) {
			keys[pass]++;
			if (k.len > 2)
				continue;
			memcpy(&n, v.data, sizeof(n));
			if (number[pass])
				assert_int_equal(n, number[pass]);
			number[pass] = n;
		}
		assert_int_equal(rc, -ENOENT);
	}
	OK(kv_commit(kv));
	assert_int_equal(keys[0], keys[1]);
	assert_int_equal(number[0], number[1]);
	assert_true(number[0] >= *seen);
	*seen = number[0];
}

static void *reader(void *arg)
{
	uint64_t *views = arg, seen = 0;
	struct kv *kv = kv_open(space);

	for (; writing; (*views)++)
		read_view(kv, &seen);
	kv_close(kv);
	return NULL;
}

static void test_beside(void **state)
{
	uint64_t views[2] = { 0 }, committed[2] = { 0 }, n;
	struct kv_slice v;
	pthread_t thread[4];

	(void)state;
	make(60000, 1024);
	writing = 2;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&thread[i], NULL, writer, &committed[i]), 0);
		assert_int_equal(pthread_create(&thread[2 + i], NULL, reader, &views[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	print_message("%lu and %lu views\n", views[0], views[1]);
	assert_true(views[0] && views[1]);
	check_map(map, UINT64_MAX);
	OK(kv_begin(map));
	OK(kv_get(map, KV_STR("00"), &v));
	memcpy(&n, v.data, sizeof(n));
	assert_int_equal(n, committed[0] + committed[1]); /* no update is lost */
	kv_abort(map);
	end();
}

/* A view that is too old says so, and nothing wrong. */
static void test_stale(void **state)
{
	struct kv *old;
	struct kv_slice k, v;

	(void)state;
	make(60000, 1024);
	for (unsigned i = 0; i < 20; i++)
		random_batch(8);
	old = kv_open(space);
	OK(kv_begin(old));
	OK(pmpt_view_limit(c.pool, 0));
	for (unsigned i = 0; i < 20; i++)
		random_batch(4);
	assert_int_equal(kv_get(old, key_at(0), &v), PMPT_E_VIEW_STALE);
	assert_int_equal(kv_seek(old, KV_STR(""), &k, &v), PMPT_E_VIEW_STALE);
	assert_int_equal(kv_commit(old), PMPT_E_VIEW_STALE);
	kv_close(old);
	look(true);
	end();
}

/* A map whose pages are out in the swap file is read from there, and changed. */
static void test_swap(void **state)
{
	uint64_t out, total = 0;
	char path[64];

	(void)state;
	(void)snprintf(path, sizeof(path), "/dev/shm/libpmpt-kv-swap.%d", (int)getpid());
	make(60000, 1024);
	OK(pmpt_swap_on(c.pool, path, 16 << 20));
	for (unsigned i = 0; i < 200; i++) {
		random_batch(i < 100 ? 7 : 3);
		if (i % 10 == 0) {
			OK(pmpt_swap_out(space, 0, 1 << 30, &out));
			total += out;
			look(true);
			check_map(map, now.n);
		}
	}
	assert_true(total > 100);
	OK(pmpt_swap_off(c.pool));
	end();
}

/* ---- errors -------------------------------------------------------------------------------------- */

static void test_full(void **state)
{
	unsigned full = 0, stuck = 0;

	(void)state;
	make(700, 512);
	for (unsigned i = 0; i < 6000; i++) {
		size_t k = rnd(KEYS);
		struct value v = { true, (uint32_t)rnd(KV_PAIR_MAX - key_len[k]), (uint32_t)i };
		int rc;

		OK(kv_begin(map));
		OK(kv_put(map, key_at(k), value_of(&v)));
		rc = kv_commit(map);
		if (!rc) {
			now.n += !now.value[k].there;
			now.value[k] = v;
			continue;
		}
		assert_int_equal(rc, PMPT_E_NO_FRAMES);
		if (full++ % 20 == 0) {
			check_map(map, now.n);
			look(true);
		}
		for (size_t n = 0, at = rnd(KEYS); n < KEYS; n++, at = (at + 1) % KEYS) {
			if (!now.value[at].there)
				continue;
			OK(kv_begin(map));
			OK(kv_delete(map, key_at(at)));
			rc = kv_commit(map);
			if (!rc) {
				now.n--;
				now.value[at].there = false;
			}
			assert_true(!rc || rc == PMPT_E_NO_FRAMES);
			stuck += rc != 0;
			break;
		}
	}
	print_message("%u times full\n", full);
	assert_true(full > 20);
	assert_int_equal(stuck, 0); /* what takes pages leaves room for what gives some back */
	reopen();
	check_map(map, now.n);
	look(true);
	empty_map();
	end();
}

static void test_too_large(void **state)
{
	struct value big = { true, 1500, 1 };

	(void)state;
	make(60000, 32);
	for (unsigned i = 0; i < 3; i++) {
		then = now;
		OK(kv_begin(map));
		random_put(map, i);
		OK(kv_commit(map));
		now = then;
	}
	OK(kv_begin(map));
	for (size_t i = 0; i < KEYS; i++)
		OK(kv_put(map, key_at(i), value_of(&big)));
	assert_int_equal(kv_commit(map), PMPT_E_TX_TOO_LARGE);
	check_map(map, now.n);
	look(true);
	end();
}

static void count_damage(void *ctx, uint64_t va, const char *message)
{
	uint64_t *wanted = ctx;

	assert_string_not_equal(message, "");
	if (va == wanted[0])
		wanted[1]++;
}

/* One bit of any page: the check names the page, readers and writers end with errors or answers. */
static void damage(uint64_t no)
{
	uint64_t wanted[2] = { no * PAGE, 0 };
	struct kv_slice k, v;
	struct pmpt_mapping m;
	struct kv_stat stat;
	unsigned char *at, was;
	int rc;

	if (pmpt_query(space, no * PAGE, &m))
		return; /* free */
	at = (unsigned char *)pmpt_frame_ptr(c.pool, m.pfn) + rnd(rnd(2) ? PAGE : 64);
	was = *at;
	*at = (unsigned char)(was ^ (1 << rnd(8)));
	OK(kv_begin(map));
	OK(kv_check(map, count_damage, wanted, &stat));
	assert_true(stat.findings && wanted[1] == 1);
	for (size_t i = 0; i < KEYS; i++) {
		rc = kv_get(map, key_at(i), &v);
		assert_true(!rc || rc == -ENOENT || rc == PMPT_E_CORRUPT);
	}
	for (rc = kv_seek(map, KV_STR(""), &k, &v); !rc;)
		rc = kv_next(map, &k, &v);
	assert_true(rc == -ENOENT || rc == PMPT_E_CORRUPT);
	for (rc = 0; !rc || rc == -ENOENT;) /* until it meets the page */
		rc = rnd(2) ? kv_delete(map, key_at(rnd(KEYS)))
			    : kv_put(map, key_at(rnd(KEYS)), KV_STR("x"));
	assert_int_equal(rc, PMPT_E_CORRUPT);
	assert_string_not_equal(kv_errormsg(rc), "");
	assert_int_equal(kv_put(map, key_at(0), KV_STR("x")), rc); /* spoilt */
	assert_int_equal(kv_commit(map), rc);
	*at = was;
}

static void test_damage(void **state)
{
	struct kv_stat stat;

	(void)state;
	make(60000, 1024);
	for (unsigned i = 0; i < 200; i++)
		random_batch(i < 100 ? 7 : 3);
	stat = check_map(map, now.n);
	assert_true(stat.height > 2);
	for (unsigned round = 0; round < 3; round++)
		for (uint64_t no = 1; no <= 2 * stat.pages; no++)
			damage(no);
	check_map(map, now.n);
	look(true);
	end();
}

static void test_misuse(void **state)
{
	static char long_key[KV_PAIR_MAX + 1];
	struct kv_slice k = KV_STR("k"), v;
	struct kv *other;

	(void)state;
	make(2000, 64);
	OK(kv_begin(map));
	assert_int_equal(kv_put(map, (struct kv_slice){ long_key, 0 }, k), -EINVAL);
	assert_int_equal(kv_put(map, (struct kv_slice){ long_key, KV_KEY_MAX + 1 }, k), -EINVAL);
	assert_int_equal(kv_put(map, k, (struct kv_slice){ long_key, KV_PAIR_MAX }), -EINVAL);
	assert_non_null(strstr(kv_errormsg(-EINVAL), "2030"));
	assert_int_equal(kv_delete(map, k), -ENOENT);
	assert_int_equal(kv_delete(map, KV_STR("")), -ENOENT);
	assert_int_equal(kv_get(map, k, &v), -ENOENT);
	assert_int_equal(kv_seek(map, KV_STR(""), &k, &v), -ENOENT);
	assert_int_equal(kv_next(map, &k, &v), -ENOENT);
	k = KV_STR("k");
	OK(kv_put(map, k, KV_STR("1")));
	for (unsigned i = 0; i < 2000; i++) { /* slices of the page itself */
		OK(kv_seek(map, KV_STR(""), &k, &v));
		OK(kv_put(map, k, v));
		assert_int_equal(kv_next(map, &k, &v), -ENOENT);
		OK(kv_get(map, KV_STR("k"), &v));
		assert_true(v.len == 1 && *(const char *)v.data == '1');
	}
	k = KV_STR("k");
	/* of two that have begun with the same, the second to commit has changed nothing */
	other = kv_open(space);
	OK(kv_begin(other));
	assert_int_equal(kv_get(other, k, &v), -ENOENT);
	OK(kv_put(other, k, KV_STR("2")));
	OK(kv_commit(map));
	assert_int_equal(kv_commit(other), PMPT_E_CONFLICT);
	OK(kv_begin(other));
	OK(kv_get(other, k, &v));
	assert_memory_equal(v.data, "1", 1);
	OK(kv_put(other, k, (struct kv_slice){ long_key, KV_PAIR_MAX - 1 }));
	OK(kv_put(other, (struct kv_slice){ long_key, KV_KEY_MAX }, k));
	OK(kv_commit(other));
	kv_close(other);
	check_map(map, 2);
	close_map();
	/* a space that is something else's */
	OK(pmpt_user_set(NULL, c.space, 1, 17));
	map = kv_open(c.space);
	assert_int_equal(kv_begin(map), PMPT_E_CORRUPT);
	assert_string_not_equal(kv_errormsg(PMPT_E_CORRUPT), "");
	kv_close(map);
	open_map("map");
	end();
}

/* ---- killed processes ------------------------------------------------------------------------------ */

#define KILLS 30

/* Batch n: five keys get n, one of its own comes, that of n - 500 goes. */
static void batch_number(struct kv *kv, uint64_t n)
{
	static char text[2000];
	char key[24];

	OK(kv_begin(kv));
	for (unsigned i = 0; i < 5; i++) {
		(void)snprintf(key, sizeof(key), "%02u", i);
		OK(kv_put(kv, KV_STR(key), (struct kv_slice){ &n, sizeof(n) }));
	}
	(void)snprintf(key, sizeof(key), "%02lu-%09lu", n % 5, n);
	OK(kv_put(kv, KV_STR(key), (struct kv_slice){ text, n * 7919 % (n % 9 ? 300 : 2000) }));
	if (n > 500) {
		(void)snprintf(key, sizeof(key), "%02lu-%09lu", (n - 500) % 5, n - 500);
		OK(kv_delete(kv, KV_STR(key)));
	}
	OK(kv_commit(kv));
}

static uint64_t number_of(struct kv *kv)
{
	uint64_t number = 0, n, keys = 0;
	struct kv_slice k, v;

	OK(kv_begin(kv));
	for (int rc = kv_seek(kv, KV_STR(""), &k, &v); !rc; rc = kv_next(kv, &k, &v)) {
		keys++;
		if (k.len > 2)
			continue;
		memcpy(&n, v.data, sizeof(n));
		assert_true(!number || n == number); /* none half there */
		number = n;
	}
	OK(kv_commit(kv));
	assert_int_equal(keys, number ? 5 + (number < 500 ? number : 500) : 0);
	return number;
}

static void child(const char *path, int fd)
{
	uint64_t n;

	if (pmpt_open(path, 0, &c.pool))
		_exit(2);
	open_map("map");
	n = number_of(map);
	for (;;) {
		batch_number(map, ++n);
		if (write(fd, &n, sizeof(n)) != sizeof(n))
			_exit(3);
	}
}

static void test_kill(void **state)
{
	struct pmpt_config config = { .pool_bytes = 32 << 20, .lane_bytes = 64 << 10 };
	uint64_t acked = 0, n;
	char path[64];

	(void)state;
	(void)snprintf(path, sizeof(path), "/dev/shm/libpmpt-kv.%d", (int)getpid());
	assert_int_equal(pmpt_create(path, &config, &c.pool), 0);
	assert_int_equal(pmpt_close(c.pool), 0);
	for (unsigned round = 0; round < KILLS; round++) {
		uint64_t wanted = 1 + (round * 7919) % 2000, got = 0;
		struct pmpt_check summary;
		int fd[2];
		pid_t pid;

		assert_int_equal(pipe(fd), 0);
		pid = fork();
		if (pid == 0) {
			close(fd[0]);
			child(path, fd[1]);
		}
		close(fd[1]);
		while (read(fd[0], &n, sizeof(n)) == sizeof(n)) {
			acked = n;
			if (++got == wanted)
				kill(pid, SIGKILL);
		}
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		close(fd[0]);
		assert_true(got >= wanted);
		assert_int_equal(pmpt_check(path, NULL, NULL, NULL, &summary), 0);
		assert_int_equal(summary.findings, 0);
		assert_int_equal(pmpt_open(path, 0, &c.pool), 0);
		open_map("map");
		check_map(map, UINT64_MAX);
		n = number_of(map);
		assert_true(n == acked || n == acked + 1);
		close_map();
		assert_int_equal(pmpt_close(c.pool), 0);
	}
	print_message("%u kills, %lu acknowledged batches\n", KILLS, acked);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),    cmocka_unit_test(test_ascending),
		cmocka_unit_test(test_snapshot), cmocka_unit_test(test_beside),
		cmocka_unit_test(test_stale),    cmocka_unit_test(test_swap),
		cmocka_unit_test(test_full),     cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_damage),   cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_kill),
	};
	const char *text = getenv("PMPT_SEED");

	seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	print_message("replay: PMPT_SEED=%lu\n", seed);
	make_keys();
	return cmocka_run_group_tests_name("key-value map", tests, NULL, NULL);
}
