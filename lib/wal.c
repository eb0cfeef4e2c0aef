/* SPDX-License-Identifier: BSD-3-Clause */
/* wal -- redo lanes: how a transaction's words become log lines, durable, and then home words.
 *
 * FORMAT	layout.h LINE.  A lane is two halves of half_lines slots; a transaction lies in
 *		consecutive slots of one half.
 * INVARIANTS	W1 no home word changes before all lines of its transaction are durable
 *		W2 a transaction is committed iff its LAST line (LSN m, n lines) validates and the
 *		   n-1 slots before it, in the same half, hold valid lines m-n+1 .. m-1, none LAST
 *		W4 checkpoint_lsn passes no transaction that drew its LSNs and is not applied with
 *		   its home lines durable (with checkpoint.c)
 *		W5 LSNs are unique for the life of the pool: none at or above the durable lsn_limit
 *		   is drawn
 *		W6 a half is restarted only when a durable checkpoint_lsn covers all its lines
 *		W7 LSNs are drawn with all locks held, in no larger blocks than the transaction
 *		W9 the room is taken before the caller's commit locks
 * ORDER	low (DRAM) -> draw -> stream lines -> fence (commit point) -> home stores -> dirty
 *		list -> low = 0.
 *		Home stores are not flushed: while checkpoint_lsn is below the transaction, recovery
 *		stores them again from the lines.
 * LOCKS	a lane's `busy` is taken after table locks and before descriptor locks; see tx.h.
 */
#include "wal.h"

#include <sched.h>
#include <string.h>

#include "error.h"

#ifdef PMPT_TEST
uint64_t rules_off;
#endif

/* ---- lines ----------------------------------------------------------------------------------- */

__attribute__((target("sse4.2"))) static inline uint64_t crc64(uint64_t crc, uint64_t word)
{
	return __builtin_ia32_crc32di(crc, word);
}

__attribute__((target("sse4.2"))) uint32_t wal_crc_seed(uint64_t salt)
{
	return (uint32_t)crc64(~0u, rule_on(RULE_CRC_SALT) ? salt : 0);
}

__attribute__((target("sse4.2"))) static inline uint32_t crc_of(uint32_t seed, uint64_t slot_off,
								uint64_t lsn, uint64_t meta,
								const uint64_t payload[6])
{
	uint64_t crc = crc64(crc64(crc64(seed, slot_off), lsn), (uint32_t)meta);

	for (int i = 0; i < 6; i++)
		crc = crc64(crc, payload[i]);
	return (uint32_t)crc;
}

__attribute__((target("sse4.2"))) uint32_t line_crc(uint32_t seed, const struct line *line,
						    uint64_t slot_off)
{
	return crc_of(seed, slot_off, line->lsn, line->meta, line->payload);
}

/* One store of the whole second word: the stream reads it back at once, and small stores would not
 * be forwarded to it. */
__attribute__((target("sse4.2"))) void line_seal(const struct wal *wal, struct line *line,
						 const struct line *slot, uint64_t lsn,
						 unsigned flags, unsigned count)
{
	uint64_t meta = LINE_META(line->kind, flags, count);

	line->lsn = lsn;
	line->meta =
		meta |
		(uint64_t)crc_of(wal->crc_seed, region_off(wal->rg, slot), lsn, meta, line->payload)
			<< LINE_META_CRC_SHIFT;
}

bool line_valid(uint32_t seed, const struct line *line, uint64_t slot_off)
{
	if (line->lsn == 0 || (line->kind != LINE_WORDS && line->kind != LINE_RUN) ||
	    (line->flags & ~(LINE_LAST | LINE_UNDO)))
		return false;
	return line->crc == line_crc(seed, line, slot_off);
}

struct wal_word line_word(const struct region *rg, const struct line *line, unsigned i)
{
	const struct line_run *run = &line->run;
	struct wal_word w;

	if (line->kind == LINE_WORDS)
		return (struct wal_word){ line->word[i].where, line->word[i].old,
					  line->word[i].new };
	w.where = RUN_FIRST(run->where) + 8 * (uint64_t)i;
	uint64_t rest = word_load(region_at(rg, WHERE_OFF(w.where))) & ~run->mask;

	w.old = rest | ((run->old + i * run->old_stride) & run->mask);
	w.new = rest | ((run->new + i * run->new_stride) & run->mask);
	return w;
}

/* Words from word[0] on that are contiguous inside one frame, and old and new of which are
 * sequences. */
static size_t sequence_length(const struct wal_word *word, size_t n)
{
	uint64_t old_stride = word[1].old - word[0].old, new_stride = word[1].new - word[0].new;
	size_t k = 2;

	while (k < n && word[k].where == word[k - 1].where + 8 &&
	       WHERE_OFF(word[k].where) % FRAME_BYTES &&
	       word[k].old - word[k - 1].old == old_stride &&
	       word[k].new - word[k - 1].new == new_stride)
		k++;
	return k;
}

/* The same where every word changes the same bits from and to the same values, whatever the others
 * are (permissions of scattered frames). */
static size_t mask_length(const struct wal_word *word, size_t n, uint64_t mask)
{
	size_t k = 1;

	while (k < n && word[k].where == word[k - 1].where + 8 &&
	       WHERE_OFF(word[k].where) % FRAME_BYTES && (word[k].old ^ word[k].new) == mask &&
	       !((word[k].new ^ word[0].new) & mask))
		k++;
	return k;
}

/* Shape of the next line: how many words it takes, and under which mask (0: a WORDS line). */
static inline size_t line_shape(const struct wal_word *word, size_t n, uint64_t *mask)
{
	*mask = 0;
	if (n < 3 || word[1].where != word[0].where + 8 || word[2].where != word[0].where + 16 ||
	    !(WHERE_OFF(word[1].where) % FRAME_BYTES))
		return n < 2 ? n : 2;

	uint64_t changed = word[0].old ^ word[0].new;
	size_t sequence = sequence_length(word, n), masked = 0;

	/* else no line can be longer */
	if (changed && sequence < n && word[sequence].where == word[sequence - 1].where + 8 &&
	    WHERE_OFF(word[sequence].where) % FRAME_BYTES)
		masked = mask_length(word, n, changed);

	if (sequence < 3 && masked < 3)
		return 2;
	*mask = sequence >= masked ? ~(uint64_t)0 : changed;
	return sequence >= masked ? sequence : masked;
}

size_t wal_lines(const struct wal_word *word, size_t n)
{
	size_t lines = 0;
	uint64_t mask;

	for (size_t i = 0; i < n; lines++)
		i += line_shape(word + i, n - i, &mask);
	return lines;
}

size_t wal_pack(struct line *line, const struct wal_word *word, size_t n)
{
	uint64_t mask;
	size_t k = line_shape(word, n, &mask);

	if (mask) {
		line->kind = LINE_RUN;
		line->run = (struct line_run){
			RUN_WHERE(word[0].where, k), mask,
			word[0].old & mask,          (word[1].old & mask) - (word[0].old & mask),
			word[0].new &mask,           (word[1].new &mask) - (word[0].new &mask)
		};
		return k;
	}
	line->kind = LINE_WORDS;
	for (size_t i = 0; i < 2; i++)
		line->word[i] =
			i < k ? (struct line_word){ word[i].where, word[i].old, word[i].new }
			      : (struct line_word){ 0, 0, 0 };
	return k;
}

/* ---- open and close -------------------------------------------------------------------------- */

static uint64_t ring_size(uint32_t half_lines)
{
	uint64_t size = 64;

	/* two halves, at most two home lines (or one run) a log line */
	while (size < 4 * (uint64_t)half_lines)
		size *= 2;
	return size;
}

int wal_open(struct wal *wal, struct region *rg, struct mem *mem)
{
	struct sb *sb = region_sb(rg);
	uint64_t ring = ring_size(sb->half_lines);

	memset(wal, 0, sizeof(*wal));
	*wal = (struct wal){ .rg = rg,
			     .mem = mem,
			     .sb = sb,
			     .crc_seed = wal_crc_seed(sb->salt),
			     .n_lanes = sb->n_lanes,
			     .half_lines = sb->half_lines,
			     .bulk_lines = sb->bulk_lines,
			     .lsn_step = LSN_STEP,
			     .lsn_slack = LSN_SLACK };
	pthread_mutex_init(&wal->checkpointer, NULL);
	versions_open(&wal->versions, rg, mem);
	pm_init(&wal->pm, &rg->medium);
	pm_init(&wal->bulk.pm, &rg->medium);
	wal->bulk.line = region_at(rg, sb->bulk);
	atomic_store(&wal->checkpoint, word_load(&sb->checkpoint_lsn));
	atomic_store(&wal->next, word_load(&sb->checkpoint_lsn) + 1);
	atomic_store(&wal->limit, word_load(&sb->lsn_limit));

	wal->lane = mem_zalloc(mem, wal->n_lanes * sizeof(*wal->lane));
	if (!wal->lane)
		return error_set(-ENOMEM, "no memory for %u lanes", wal->n_lanes);
	for (uint32_t i = 0; i < wal->n_lanes; i++) {
		struct wal_lane *lane = &wal->lane[i];

		pm_init(&lane->pm, &rg->medium);
		lane->line =
			(struct line *)region_at(rg, sb->lanes) + (uint64_t)i * 2 * wal->half_lines;
		lane->dirty_mask = ring - 1;
		lane->dirty = mem_alloc(mem, ring * sizeof(*lane->dirty));
		if (!lane->dirty) {
			wal_close(wal);
			return error_set(-ENOMEM, "no memory for lane %u", i);
		}
	}
	return 0;
}

void wal_close(struct wal *wal)
{
	for (uint32_t i = 0; wal->lane && i < wal->n_lanes; i++)
		mem_free(wal->mem, wal->lane[i].dirty,
			 (wal->lane[i].dirty_mask + 1) * sizeof(uint64_t));
	mem_free(wal->mem, wal->lane, wal->n_lanes * sizeof(*wal->lane));
	mem_free(wal->mem, wal->sort, 2 * wal->sort_max * sizeof(*wal->sort));
	wal->lane = NULL;
	wal->sort = NULL;
	versions_close(&wal->versions);
	pthread_mutex_destroy(&wal->checkpointer);
}

/* ---- lanes ----------------------------------------------------------------------------------- */

/* Make room for n lines in the lane's open half, or open the other one. */
static int lane_room(struct wal *wal, struct wal_lane *lane, size_t n)
{
	unsigned other = lane->half ^ 1;
	int rc = wal_limit_ensure(wal);

	if (rc || lane->head + n <= wal->half_lines)
		return rc;
	if (rule_on(RULE_W6_DURABLE) && lane->last[other] > wal_checkpointed(wal))
		rc = wal_checkpoint_to(wal, lane->last[other]); /* [W6] */
	if (!rc) {
		lane->half = other;
		lane->head = 0;
	}
	return rc;
}

int wal_lane_take(struct wal *wal, unsigned hint, size_t n, struct wal_lane **out)
{
	if (n > wal->half_lines)
		return error_set(PMPT_E_TX_TOO_LARGE, "transaction of %zu log lines, a half has %u",
				 n, wal->half_lines);
	for (unsigned i = hint % wal->n_lanes, tries = 1;;
	     i = i + 1 < wal->n_lanes ? i + 1 : 0, tries++) {
		struct wal_lane *lane = &wal->lane[i];
		uint32_t idle = 0;

		if (!atomic_load_explicit(&lane->busy, memory_order_relaxed) &&
		    atomic_compare_exchange_strong_explicit(
			    &lane->busy, &idle, 1, memory_order_acquire, memory_order_relaxed)) {
			int rc = lane_room(wal, lane, n);

			if (rc)
				wal_lane_give(lane);
			else
				*out = lane;
			return rc;
		}
		if (tries % wal->n_lanes == 0)
			/* every lane is in a commit, which waits for nothing of ours */
			sched_yield();
	}
}

void wal_lane_give(struct wal_lane *lane)
{
	atomic_store_explicit(&lane->busy, 0, memory_order_release);
}

void wal_settle(const struct wal *wal, uint64_t lsn)
{
	for (uint32_t i = 0; i < wal->n_lanes; i++) {
		struct wal_lane *lane = &wal->lane[i];

		for (unsigned tries = 1;; tries++) {
			uint64_t low = atomic_load_explicit(&lane->low, memory_order_acquire);

			if (!low || low > lsn ||
			    atomic_load_explicit(&lane->failed, memory_order_acquire))
				break;
			if (tries % 256)
				__builtin_ia32_pause();
			else
				sched_yield();
		}
	}
}

/* ---- commit ---------------------------------------------------------------------------------- */

/* Stream the words as lines first, first + 1, ... into the lane's open half. */
static void lane_stream(struct wal *wal, struct wal_lane *lane, const struct wal_word *word,
			size_t n, size_t n_lines, uint64_t first)
{
	struct line *slot = lane->line + (uint64_t)lane->half * wal->half_lines + lane->head;
	_Alignas(LINE_BYTES) struct line line;

	for (size_t i = 0, done = 0; i < n_lines; i++, slot++) {
		bool last = i == n_lines - 1;

		done += wal_pack(&line, word + done, n - done);
		line_seal(wal, &line, slot, first + i, last ? LINE_LAST : 0,
			  last ? (unsigned)n_lines : 0);
		/* any order, torn or whole: each line validates itself */
		pm_stream(&lane->pm, slot, &line, 1);
	}
}

/* Note home lines for the checkpoint, runs of neighbours as one entry. */
static inline uint64_t dirty_add(struct wal_lane *lane, uint64_t head, uint64_t line_no)
{
	if (head != atomic_load_explicit(&lane->dirty_head, memory_order_relaxed)) {
		uint64_t *last = &lane->dirty[(head - 1) & lane->dirty_mask];
		uint64_t end = (*last >> 8) + (*last & 0xff);

		if (line_no == end || line_no == *last >> 8)
			return head;
		if (line_no == end + 1 && (*last & 0xff) != 0xff) {
			++*last;
			return head;
		}
	}
	lane->dirty[head & lane->dirty_mask] = line_no << 8;
	return head + 1;
}

int wal_commit(struct wal *wal, struct wal_lane *lane, const struct wal_word *word, size_t n,
	       size_t n_lines, uint64_t *last)
{
	if (rule_on(RULE_W4_LOW)) /* before drawing: the checkpointer must not pass us [W4] */
		atomic_store_explicit(&lane->low,
				      atomic_load_explicit(&wal->next, memory_order_relaxed),
				      memory_order_relaxed);

	/* sequentially consistent: see version.h */
	uint64_t first = atomic_fetch_add(&wal->next, n_lines);

	pm_step(&lane->pm);
	lane_stream(wal, lane, word, n, n_lines, first);
	if (rule_on(RULE_W1_FENCE)) {
		/* durability: all lines before any home word is stored [W1].  The commit point. */
		int rc = pm_fence(&lane->pm);

		if (rc) {
			/* low stays: no checkpoint may pass a transaction of unknown fate */
			atomic_store_explicit(&lane->failed, true, memory_order_release);
			return rc;
		}
	}
	/* DRAM only: recovery finds the end by scanning the half */
	lane->head += (uint32_t)n_lines;
	lane->last[lane->half] = first + n_lines - 1;

	uint64_t head = atomic_load_explicit(&lane->dirty_head, memory_order_relaxed);
	uint64_t noted = UINT64_MAX;

	wal_versions(wal, word, n, first + n_lines - 1);
	/* not flushed: the lines are live until a checkpoint has flushed these */
	for (size_t i = 0; i < n; i++) {
		uint64_t line_no = WHERE_OFF(word[i].where) / LINE_BYTES;

		wal_apply(wal->rg, &lane->pm, word[i].where, word[i].new);
		if (line_no == noted)
			continue;
		head = dirty_add(lane, head, line_no);
		noted = line_no;
	}
	if (!rule_on(RULE_W1_FENCE))
		(void)pm_fence(&lane->pm);
	atomic_store_explicit(&lane->dirty_head, head, memory_order_release);
	atomic_store_explicit(&lane->low, 0, memory_order_release);
	atomic_store_explicit(&lane->log_lines,
			      atomic_load_explicit(&lane->log_lines, memory_order_relaxed) +
				      n_lines,
			      memory_order_relaxed);
	*last = first + n_lines - 1;
	return 0;
}
