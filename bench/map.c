/* SPDX-License-Identifier: BSD-3-Clause */
/* map -- 2 MiB at a time: mapping, protecting and unmapping 512 contiguous pages, each a
 * transaction of its own; and the footprint.
 *
 * A slice maps all regions, takes W away from all, unmaps all, CYCLES times; each of the three is
 * timed and counted by itself, with a checkpoint at its end.
 */
#include <stdlib.h>
#include <string.h>

#include "machine.h"

#define CYCLES 4

enum act { ACT_MAP, ACT_PROTECT, ACT_UNMAP, ACTS };

struct maps {
	struct bench_pool bp;
	size_t regions;
	bool alloc;              /* frames of the pool */
	double ns[ACTS][ROUNDS]; /* a page */
	struct tally sum[ACTS];
};

static int act_on(const struct maps *m, enum act act, size_t r, unsigned round)
{
	uint64_t va = VA_BASE + r * REGION_BYTES;

	if (act == ACT_UNMAP)
		return pmpt_unmap(NULL, m->bp.space, va, REGION_BYTES);
	if (act == ACT_PROTECT)
		return pmpt_protect(NULL, m->bp.space, va, REGION_BYTES, PMPT_R | PMPT_U);
	if (m->alloc)
		return pmpt_map(NULL, m->bp.space, va, REGION_PAGES, PMPT_PFN_ALLOC,
				PMPT_R | PMPT_W | PMPT_U);
	return pmpt_map(NULL, m->bp.space, va, REGION_PAGES, new_pfn(round, 0, r * REGION_PAGES),
			PMPT_R | PMPT_W | PMPT_U | PMPT_EXT);
}

static void library_round(struct maps *m, unsigned round)
{
	static const char *const what[] = { "map 2 MiB", "protect 2 MiB", "unmap 2 MiB" };
	double ns[ACTS] = { 0 };

	for (int i = 0; i < CYCLES * ACTS; i++) {
		enum act act = (enum act)(i % ACTS);
		struct tally before = tally_now(&m->bp);
		double start = now_ns();

		for (size_t r = 0; r < m->regions; r++)
			check(act_on(m, act, r, round), what[act]);
		check(pmpt_checkpoint(m->bp.pool), "checkpoint"); /* it pays for its own homes */
		ns[act] += now_ns() - start;
		if (round)
			tally_add(&m->sum[act], &before, &m->bp);
	}
	for (int act = 0; round && act < ACTS; act++)
		m->ns[act][round - 1] = ns[act] / (double)(m->regions * REGION_PAGES * CYCLES);
}

static void row_map(const struct maps *m, enum act act, const char *name, const double *raw_ns)
{
	struct row row = row_make(name, m->regions * REGION_PAGES, UNIT_RATE,
				  1e9 / median(m->ns[act], ROUNDS));
	double pages = (double)(m->regions * REGION_PAGES * CYCLES * ROUNDS), ratio[ROUNDS];

	if (!wanted(name))
		return;
	for (int i = 0; i < ROUNDS; i++)
		ratio[i] = raw_ns[i] / m->ns[act][i];
	row.ratio_to_raw = median(ratio, ROUNDS);
	row.spread = spread(m->ns[act], ROUNDS);
	row.lines_per_op = (double)m->sum[act].lines / pages;
	row.fences_per_op = (double)m->sum[act].fences / pages;
	row_extra(&row, ",\"raw_ops_per_s\":%.0f,\"log_lines_per_op\":%.5f,\"checkpoints\":%llu",
		  1e9 / median(raw_ns, ROUNDS), (double)m->sum[act].log_lines / pages,
		  (unsigned long long)m->sum[act].checkpoints);
	if (act == ACT_MAP)
		row_goal(&row, "M pages/s", row.value / 1e6, '>', 40);
	row_goal(&row, "lines", row.lines_per_op, '<', m->alloc ? 0.30 : 0.15);
	row_print(&row);
}

static void run_maps(bool alloc)
{
	static const char *const name[2][ACTS] = { { "map2m", "protect2m", "unmap2m" },
						   { "map2m_alloc", "protect2m_alloc",
						     "unmap2m_alloc" } };
	size_t regions = alloc ? (options.quick ? 64 : 256) : (options.quick ? 512 : 2048);
	struct maps *m = calloc(1, sizeof(*m));
	struct limits *l = malloc(sizeof(*l));
	double stream[ROUNDS], flush[ROUNDS];

	if (!m || !l)
		die("no memory");
	progress("map 2 MiB%s", alloc ? ", frames of the pool" : "");
	bench_pool_make(&m->bp, 0,
			(alloc ? 2 : 0) * regions * REGION_BYTES + regions * 4 * PMPT_PAGE_BYTES);
	m->regions = m->bp.slow ? 16 : regions;
	m->alloc = alloc;
	limits_make(l, m->regions * REGION_PAGES, (struct keys){ 0 });
	for (unsigned round = 0; round <= ROUNDS; round++) {
		double stream_ns = 0, flush_ns = 0;

		library_round(m, round);
		for (int i = 0; i < CYCLES; i++) {
			stream_ns += slice_stream64(l, round) / CYCLES;
			flush_ns += slice_flush64(l, round) / CYCLES;
		}
		if (round) {
			stream[round - 1] = stream_ns;
			flush[round - 1] = flush_ns;
		}
	}
	row_map(m, ACT_MAP, name[alloc][ACT_MAP], stream);
	row_map(m, ACT_PROTECT, name[alloc][ACT_PROTECT], flush);
	row_map(m, ACT_UNMAP, name[alloc][ACT_UNMAP], flush);
	limits_free(l);
	bench_pool_close(&m->bp);
	free(l);
	free(m);
}

void run_map(void)
{
	if (wanted("map2m") || wanted("protect2m") || wanted("unmap2m"))
		run_maps(false);
	if (wanted("map2m_alloc") || wanted("protect2m_alloc") || wanted("unmap2m_alloc"))
		run_maps(true);
}

void run_footprint(uint64_t pages)
{
	struct bench_pool bp;

	progress("footprint");
	bench_pool_make(&bp, pages, 0);

	struct row row = row_make("footprint", pages, UNIT_BYTES,
				  (double)bp.table_frames * PMPT_PAGE_BYTES / (double)pages);
	struct pmpt_stats s;

	check(pmpt_stats(bp.pool, &s), "stats");
	row_extra(&row,
		  ",\"descriptor_bytes_per_frame\":8,\"frames_table\":%llu,\"frames_reserved\":%"
		  "llu,\"volatile_bytes\":%llu",
		  (unsigned long long)bp.table_frames, (unsigned long long)s.frames_reserved,
		  (unsigned long long)s.volatile_bytes);
	row_goal(&row, "bytes", row.value, '<', 8.2);
	row_note(&row,
		 "reserved for log, directory and descriptors: %.1f MiB of %.1f; DRAM of the open "
		 "pool: %.1f MiB",
		 (double)s.frames_reserved * PMPT_PAGE_BYTES / 1048576,
		 (double)s.frames * PMPT_PAGE_BYTES / 1048576, (double)s.volatile_bytes / 1048576);
	row_print(&row);
	bench_pool_close(&bp);
}
