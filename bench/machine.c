/* SPDX-License-Identifier: BSD-3-Clause */
/* machine -- see machine.h. */
#include "machine.h"

#include <cpuid.h>
#include <emmintrin.h>
#include <stdlib.h>
#include <string.h>

#define PRESENT 1ull
/* NX, EXT, U, W, P: what the library's entries carry */
#define LEAF_FLAGS ((1ull << 63) | (1ull << 10) | 7u)
#define LINK_FLAGS 7ull
#define ADDRESS    0x000ffffffffff000ull
#define FRAME      4096ull

volatile uint64_t limits_sink;

/* ---- primitives ---- */

enum flush_kind { FLUSH_UNKNOWN, FLUSH_CLWB, FLUSH_OPT, FLUSH_PLAIN };
static enum flush_kind flush_kind;

static void flush_choose(void)
{
	unsigned a, b, c, d;

	flush_kind = FLUSH_PLAIN;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return;
	if (b & 1u << 24)
		flush_kind = FLUSH_CLWB;
	else if (b & 1u << 23)
		flush_kind = FLUSH_OPT;
}

static inline void flush_line(void *p)
{
	volatile char *line = p;

	if (flush_kind == FLUSH_CLWB)
		__asm__ volatile("clwb %0" : "+m"(*line));
	else if (flush_kind == FLUSH_OPT)
		__asm__ volatile("clflushopt %0" : "+m"(*line));
	else
		__asm__ volatile("clflush %0" : "+m"(*line));
}

static inline void stream_line(void *dst, const uint64_t line[8])
{
	__m128i *to = dst;

	/* by words: a wide load of words just stored would stall */
	for (int i = 0; i < 4; i++)
		_mm_stream_si128(
			to + i, _mm_set_epi64x((long long)line[2 * i + 1], (long long)line[2 * i]));
}

static inline uint64_t *table_at(const struct limits *l, uint64_t off)
{
	return (uint64_t *)(void *)(l->tables + off);
}

static inline uint64_t *walk(const struct limits *l, uint64_t va)
{
	uint64_t off = 0;

	for (unsigned shift = 39; shift > 12; shift -= 9) {
		uint64_t entry = table_at(l, off)[va >> shift & 511];

		if (!(entry & PRESENT))
			return NULL;
		off = entry & ADDRESS;
	}
	return &table_at(l, off)[va >> 12 & 511];
}

static inline uint64_t page_index(uint64_t va) { return (va - VA_BASE) / PMPT_PAGE_BYTES; }

/* ---- building ---- */

static uint64_t tables_for(uint64_t pages, uint64_t per_table)
{
	return (pages + per_table - 1) / per_table;
}

void limits_make(struct limits *l, uint64_t pages, struct keys keys)
{
	uint64_t pt = tables_for(pages, 512), pd = tables_for(pages, 512 * 512),
		 pdpt = tables_for(pages, 512ull * 512 * 512);
	uint64_t table_bytes = (1 + pdpt + pd + pt) * FRAME,
		 flat_bytes = (pages * 8 + FRAME - 1) & ~(FRAME - 1);

	if (!flush_kind)
		flush_choose();
	memset(l, 0, sizeof(*l));
	l->pages = pages;
	l->keys = keys;
	l->regions = pt;
	l->map_bytes = table_bytes + flat_bytes + RING_LINES * 64 + FRAME;
	l->map = scratch_map(l->map_bytes);
	l->tables = l->map;
	l->flat = (uint64_t *)(void *)(l->map + table_bytes);
	l->ring = l->map + table_bytes + flat_bytes;
	l->word = (uint64_t *)(void *)(l->ring + RING_LINES * 64);

	uint64_t first_pdpt = FRAME, first_pd = first_pdpt + pdpt * FRAME,
		 first_pt = first_pd + pd * FRAME;

	l->first_leaf_table = first_pt;
	for (uint64_t i = 0; i < pdpt; i++)
		table_at(l, 0)[((VA_BASE >> 39) + i) & 511] = (first_pdpt + i * FRAME) | LINK_FLAGS;
	/* VA_BASE begins a level 3 table: indexes below the top start at 0 */
	for (uint64_t i = 0; i < pd; i++)
		table_at(l, first_pdpt)[i] = (first_pd + i * FRAME) | LINK_FLAGS;
	for (uint64_t i = 0; i < pt; i++)
		table_at(l, first_pd)[i] = (first_pt + i * FRAME) | LINK_FLAGS;
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t entry = (PFN_BASE + i) << 12 | LEAF_FLAGS;

		table_at(l, first_pt)[i] = entry;
		l->flat[i] = entry;
	}
}

void limits_free(struct limits *l) { scratch_unmap(l->map, l->map_bytes); }

/* ---- updates ---- */

double slice_line(void *ctx, unsigned round)
{
	struct limits *l = ctx;
	_Alignas(64) uint64_t line[8] = { round };
	double start = now_ns();

	for (size_t i = 0; i < l->keys.n; i++) {
		line[1] = i;
		stream_line(l->ring + l->head++ % RING_LINES * 64, line);
		_mm_sfence();
	}
	return (now_ns() - start) / (double)l->keys.n;
}

/* Flush the home lines touched since the last one.  A small table of lines seen keeps a few hot
 * ones from being flushed again and again. */
static void skeleton_checkpoint(struct limits *l, size_t n)
{
	uint64_t seen[1024] = { 0 };

	for (size_t i = 0; i < n; i++) {
		uint64_t line = (uint64_t)l->touched[i] / 64;

		if (seen[line % 1024] == line)
			continue;
		seen[line % 1024] = line;
		flush_line(l->touched[i]);
	}
	_mm_sfence();
	*(volatile uint64_t *)l->word = l->head;
	flush_line(l->word);
	_mm_sfence();
}

double slice_skeleton(void *ctx, unsigned round)
{
	struct limits *l = ctx;
	_Alignas(64) uint64_t line[8] = { 0 };
	size_t touched = 0;
	double start = now_ns();

	for (size_t i = 0; i < l->keys.n; i++) {
		uint64_t *home = walk(l, key_va(&l->keys, i));

		if (!home)
			die("skeleton: not mapped");
		line[0] = l->head + 1;
		line[2] = (uint64_t)((char *)home - l->map);
		line[3] = *home;
		line[4] = new_pfn(round, l->keys.n, i) << 12 | LEAF_FLAGS;
		stream_line(l->ring + l->head++ % RING_LINES * 64, line);
		_mm_sfence(); /* the line before the home word */
		*(volatile uint64_t *)home = line[4];
		l->touched[touched++] = home;
		if (touched == HALF_LINES) {
			skeleton_checkpoint(l, touched);
			touched = 0;
		}
	}
	skeleton_checkpoint(l, touched);
	return (now_ns() - start) / (double)l->keys.n;
}

double slice_unlogged(void *ctx, unsigned round)
{
	struct limits *l = ctx;
	double start = now_ns();

	for (size_t i = 0; i < l->keys.n; i++) {
		uint64_t *home = walk(l, key_va(&l->keys, i));

		if (!home)
			die("unlogged: not mapped");
		*(volatile uint64_t *)home = new_pfn(round, l->keys.n, i) << 12 | LEAF_FLAGS;
		flush_line(home);
		if (i % BATCH_PAGES == BATCH_PAGES - 1)
			_mm_sfence();
	}
	_mm_sfence();
	return (now_ns() - start) / (double)l->keys.n;
}

/* ---- 2 MiB at once ---- */

double slice_stream64(void *ctx, unsigned round)
{
	struct limits *l = ctx;
	double start = now_ns();

	for (size_t r = 0; r < l->regions; r++) {
		char *table = (char *)table_at(l, l->first_leaf_table + r * FRAME);
		uint64_t entry = new_pfn(round, 0, r * 512) << 12 | LEAF_FLAGS;

		for (int i = 0; i < 64; i++) {
			_Alignas(64) uint64_t line[8];

			for (int k = 0; k < 8; k++, entry += FRAME)
				line[k] = entry;
			stream_line(table + 64 * i, line);
		}
		_mm_sfence();
	}
	return (now_ns() - start) / (double)(l->regions * 512);
}

double slice_flush64(void *ctx, unsigned round)
{
	struct limits *l = ctx;
	double start = now_ns();

	(void)round;
	for (size_t r = 0; r < l->regions; r++) {
		uint64_t *table = table_at(l, l->first_leaf_table + r * FRAME);

		for (int i = 0; i < 64; i++) {
			for (int k = 0; k < 8; k++)
				table[8 * i + k] ^= 2; /* W */
			flush_line(table + 8 * i);
		}
		_mm_sfence();
	}
	return (now_ns() - start) / (double)(l->regions * 512);
}

/* ---- lookups ---- */

double slice_flat(void *ctx, unsigned round)
{
	struct limits *l = ctx;
	uint64_t sum = round;
	double start = now_ns();

	for (size_t i = 0; i < l->keys.n; i++)
		sum += l->flat[page_index(key_va(&l->keys, i))];
	limits_sink = sum;
	return (now_ns() - start) / (double)l->keys.n;
}

double slice_walk(void *ctx, unsigned round)
{
	struct limits *l = ctx;
	uint64_t sum = round;
	double start = now_ns();

	for (size_t i = 0; i < l->keys.n; i++) {
		const uint64_t *home = walk(l, key_va(&l->keys, i));

		if (!home || !(*home & PRESENT))
			die("walk: not mapped");
		sum += *home;
	}
	limits_sink = sum;
	return (now_ns() - start) / (double)l->keys.n;
}

double slice_flat_chain(void *ctx, unsigned round)
{
	struct limits *l = ctx;
	uint64_t entry = round;
	double start = now_ns();

	for (size_t i = 0; i < l->keys.n; i++)
		entry = l->flat[page_index(key_va(&l->keys, i) ^ zero_after(entry))];
	limits_sink = entry;
	return (now_ns() - start) / (double)l->keys.n;
}

double slice_walk_chain(void *ctx, unsigned round)
{
	struct limits *l = ctx;
	uint64_t entry = round;
	double start = now_ns();

	for (size_t i = 0; i < l->keys.n; i++) {
		const uint64_t *home = walk(l, key_va(&l->keys, i) ^ zero_after(entry));

		if (!home || !(*home & PRESENT))
			die("walk: not mapped");
		entry = *home;
	}
	limits_sink = entry;
	return (now_ns() - start) / (double)l->keys.n;
}

/* ---- --limits ---- */

static void print_limits_at(uint64_t pages, size_t n)
{
	static const struct {
		const char *name;
		double (*slice)(void *, unsigned);
	} limit[] = {
		{ "line", slice_line },
		{ "skeleton", slice_skeleton },
		{ "unlogged", slice_unlogged },
		{ "stream64", slice_stream64 },
		{ "flush64", slice_flush64 },
		{ "flat", slice_flat },
		{ "walk", slice_walk },
		{ "flat_chain", slice_flat_chain },
		{ "walk_chain", slice_walk_chain },
	};
	struct limits *l = malloc(sizeof(*l));
	struct keys keys = keys_make(1, pages, n);

	if (!l)
		die("no memory");
	limits_make(l, pages, keys);
	for (size_t i = 0; i < sizeof(limit) / sizeof(limit[0]); i++) {
		struct contestant c = { limit[i].slice, l, { 0 } };

		progress("%s, %llu pages", limit[i].name, (unsigned long long)pages);
		alternate(&c, 1);

		struct row row =
			row_make(limit[i].name, pages, UNIT_RATE, 1e9 / median(c.ns, ROUNDS));

		row.spread = spread(c.ns, ROUNDS);
		row_print(&row);
	}
	limits_free(l);
	keys_free(&keys);
	free(l);
}

void limits_print(void)
{
	size_t n = options.quick ? 1 << 18 : 1 << 20;

	if (options.quick) {
		print_limits_at(64 << 10, n);
		print_limits_at(1 << 20, n);
		return;
	}
	print_limits_at(1 << 10, n);
	print_limits_at(1 << 20, n);
	print_limits_at(16 << 20, n);
}
