/* SPDX-License-Identifier: BSD-3-Clause */
/* pm_bridge -- see pm_bridge.h.
 *
 * HOW IT PLUGS IN	The library is compiled instrumented, with its seams (-DPMPT_TEST).  Its stores
 *	are atomics, which the compiler's hooks see; what the pm layer does by instructions, flush,
 *	stream and fence, pm_observer reports before it happens.  The linker's --wrap puts a function
 *	of ours before pm_flush and its like, so that the site of an event is the caller, and before
 *	line_valid(), which is the declaration that a log line validates itself.
 * LOCKED INSTRUCTIONS	drain in the model [R12].  libpmpt is not to lean on it: the page backend
 *	has no such thing, and a lock may become a plain store.  So they are none here.
 * PAGES	With --persist page the region has the page backend: its msync, wrapped, is an event; flushes
 *	and fences are none, and what it copies instead of streaming the compiler's hooks see.
 * A AND D	are not part of the content of a domain: a page walker may set them at any time.
 * FAULTS	PMPT_RULES_OFF=RULE[,RULE...] in the environment switches rules of lib/rules.h off from
 *	run on (setup is not what is tested).
 * IMAGES	PMPT_IMAGES=N in the environment: recovery from the Nth crash in a row reads all that the
 *	crash left open first, and the image is part of the outcome.  Two ways to explore that come to
 *	the same outcomes have then had the same images.
 */
#include "pm_bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "error.h"
#include "explore_state.h"
#include "hooks.h"
#include "replay.h"

struct pmpt_pool *pool;
struct pmpt_space *space;
struct mem bridge_mem;
unsigned calls[2];
bool bridge_alone;
bool bridge_contents;
void (*bridge_at_event)(void);

static struct region region;
static bool redoing; /* recovery stores home what the log says */

/* ---- the pm layer ------------------------------------------------------------------------------ */

/* Who called into the pm layer; of a call that flushes and fences, the fence is a byte before. */
static uint64_t site;

static void observe(void *ctx, const struct pm_event *e)
{
	uint64_t from = site; /* another actor's calls come between */

	(void)ctx;
	if (bridge_at_event)
		bridge_at_event();
	if (redoing && e->kind == PM_EV_STORE)
		crashsim_join(0);
	redoing = redoing && e->kind != PM_EV_FENCE;
	if (e->pm->medium->backend == PM_PAGE)
		return;
	switch (e->kind) {
	case PM_EV_FLUSH:
		for (size_t i = 0; i < e->len; i += LINE_BYTES)
			hook_flush((char *)e->addr + i, EV_CLWB, from);
		break;
	case PM_EV_STREAM:
		for (size_t i = 0; i < e->len; i += LINE_BYTES)
			hook_streamed_value((char *)e->addr + i,
					    e->src ? (const char *)e->src + i : NULL, LINE_BYTES,
					    from);
		break;
	case PM_EV_FENCE:
		hook_fence(EV_SFENCE, from);
		break;
	case PM_EV_STORE: /* the compiler's hooks see it */
	case PM_EV_STEP:
		break;
	}
}

#define WRAP(name) __wrap_##name
#define REAL(name) __real_##name
#define CALLER     ((uint64_t)(uintptr_t)__builtin_return_address(0))

void REAL(pm_flush)(struct pm *pm, const void *addr, size_t len);
void WRAP(pm_flush)(struct pm *pm, const void *addr, size_t len);
void WRAP(pm_flush)(struct pm *pm, const void *addr, size_t len)
{
	site = CALLER;
	REAL(pm_flush)(pm, addr, len);
}

void REAL(pm_stream)(struct pm *pm, void *dst, const void *src, size_t n_lines);
void WRAP(pm_stream)(struct pm *pm, void *dst, const void *src, size_t n_lines);
void WRAP(pm_stream)(struct pm *pm, void *dst, const void *src, size_t n_lines)
{
	site = CALLER;
	REAL(pm_stream)(pm, dst, src, n_lines);
}

void REAL(pm_stream_zero)(struct pm *pm, void *dst, size_t n_lines);
void WRAP(pm_stream_zero)(struct pm *pm, void *dst, size_t n_lines);
void WRAP(pm_stream_zero)(struct pm *pm, void *dst, size_t n_lines)
{
	site = CALLER;
	REAL(pm_stream_zero)(pm, dst, n_lines);
}

int REAL(pm_fence)(struct pm *pm);
int WRAP(pm_fence)(struct pm *pm);
int WRAP(pm_fence)(struct pm *pm)
{
	site = CALLER;
	return REAL(pm_fence)(pm);
}

int WRAP(msync)(void *addr, size_t len, int flags);
int WRAP(msync)(void *addr, size_t len, int flags)
{
	(void)flags;
	hook_msync(addr, len, site);
	return 0;
}

/* pm_persist's own two calls are inside pm.c and not wrapped. */
int WRAP(pm_persist)(struct pm *pm, const void *addr, size_t len);
int WRAP(pm_persist)(struct pm *pm, const void *addr, size_t len)
{
	site = CALLER;
	REAL(pm_flush)(pm, addr, len);
	site = CALLER - 1;
	return REAL(pm_fence)(pm);
}

bool REAL(line_valid)(uint32_t seed, const struct line *line, uint64_t slot_off);
bool WRAP(line_valid)(uint32_t seed, const struct line *line, uint64_t slot_off);
bool WRAP(line_valid)(uint32_t seed, const struct line *line, uint64_t slot_off)
{
	crashsim_checked(line, sizeof(*line));
	return REAL(line_valid)(seed, line, slot_off);
}

/* replay() reads a home word, in order to keep its A and D bits or those outside a mask, and stores
 * over it; between the check of its targets and its first fence it remembers nothing but the lines,
 * which it does not store to. */
int REAL(replay_log)(struct region *rg, struct mem *mem, uint64_t step,
		     struct pmpt_recovery *report);
int WRAP(replay_log)(struct region *rg, struct mem *mem, uint64_t step,
		     struct pmpt_recovery *report);
int WRAP(replay_log)(struct region *rg, struct mem *mem, uint64_t step,
		     struct pmpt_recovery *report)
{
	int rc;

	redoing = true;
	rc = REAL(replay_log)(rg, mem, step, report);
	redoing = false;
	return rc;
}

/* ---- rules switched off -------------------------------------------------------------------------- */

#define NAME(rule) [RULE_##rule] = #rule
static const char *const rule_name[RULES] = {
	NAME(W1_FENCE),         NAME(W1_BULK_FENCE),
	NAME(W2_LAST),          NAME(W2_CONTIGUOUS),
	NAME(W3_ABSOLUTE),      NAME(W4_LOW),
	NAME(W4_COUNTER_FIRST), NAME(W4_FLUSH),
	NAME(W4_FENCE),         NAME(W4_MONOTONE),
	NAME(W5_JUMP),          NAME(W5_LIMIT_DURABLE),
	NAME(W6_DURABLE),       NAME(W7_LOCKS),
	NAME(W8_ABORT_END),     NAME(W8_COMMIT_CHECKPOINT),
	NAME(W8_FROM_FIRST),    NAME(W8_RECOVERY_ORDER),
	NAME(W8_FROM_CHECK),    NAME(W9_ROOM),
	NAME(CRC_SALT),         NAME(F1_CONTENT),
	NAME(F2_TABLE_WAIT),    NAME(F2_BULK_WAIT),
	NAME(F8_EXCLUDE),       NAME(W4_PERSIST),
	NAME(W7_OWNER),         NAME(W8_UNLOCK),
	NAME(F4_LOGGED),        NAME(F6_SHARE),
	NAME(F6_FORK_WAITS),    NAME(S1_SYNC),
	NAME(S2_RESERVE),       NAME(WX_STATE),
};

static uint64_t faults(void)
{
	const char *text = getenv("PMPT_RULES_OFF");
	uint64_t off = 0;

	while (text && *text) {
		size_t len = strcspn(text, ",");
		unsigned r = 0;

		while (r < RULES && !(rule_name[r] && strlen(rule_name[r]) == len &&
				      !strncmp(rule_name[r], text, len)))
			r++;
		if (r == RULES) {
			(void)fprintf(stderr, "PMPT_RULES_OFF: no rule '%.*s'\n", (int)len, text);
			exit(2);
		}
		off |= (uint64_t)1 << r;
		text += len + (text[len] == ',');
	}
	return off;
}

/* ---- setup --------------------------------------------------------------------------------------- */

void bridge_must(int rc, const char *what)
{
	if (!rc)
		return;
	if (stage == STAGE_RECOVER)
		crashsim_fail("%s: %s", what, pmpt_errormsg());
	(void)fprintf(stderr, "crashsim: %s: %s\n", what, pmpt_errormsg());
	exit(2);
}

struct region *bridge_region(void *pm)
{
	region.base = (char *)pm - (GROUP_BYTES - SB_BYTES);
	region.bytes = GROUP_BYTES - SB_BYTES + region_bytes;
	region.sb_off = GROUP_BYTES - SB_BYTES;
	pm_medium_init(&region.medium, region.base, region.bytes,
		       options.persist == PERSIST_PAGE ? PM_PAGE : PM_CACHE_LINE);
	return &region;
}

/* Free frames hold what nobody expects. */
static void rubbish(struct region *rg)
{
	const struct extent_head *head = region_extent(rg, 0);

	memset(region_at(rg, (head->first + head->reserved_frames) << FRAME_SHIFT), 0xdb,
	       (head->frames - head->reserved_frames) << FRAME_SHIFT);
}

#define OR(value, otherwise) ((value) ? (value) : (otherwise))

void bridge_format(void *pm, const struct shape *s)
{
	bridge_format_extent(pm, s, (region_bytes - SB_BYTES) / FRAME_BYTES);
}

void bridge_format_extent(void *pm, const struct shape *s, uint64_t frames)
{
	struct region *rg = bridge_region(pm);
	struct region_shape shape = { .n_lanes = OR(s->lanes, 2),
				      .half_lines = OR(s->half_lines, 8),
				      .bulk_lines = OR(s->bulk_lines, 16),
				      .n_spaces = OR(s->spaces, 2),
				      .salt = 0x1234567 };
	uint64_t off = FRAME_BYTES;

	bridge_alone = false;
	_Static_assert(sizeof(struct sb) <= SB_BYTES, "the superblock has its room");
	/* of lines that the setup leaves, too */
	rules_off = faults() & (uint64_t)1 << RULE_CRC_SALT;
	hook_rmw_drains = false;
	pm_observer = NULL;
	if (!bridge_mem.arena && mem_init(&bridge_mem))
		exit(3);
	/* it begins at the next 2 MiB boundary; what is before that is not stored to */
	atomic_store(&region_sb(rg)->extent[0].off, off);
	MUST(region_format(rg, &shape, GROUP_BYTES + frames * FRAME_BYTES - off));
	rubbish(rg);
}

void bridge_format_again(void *pm, unsigned spaces)
{
	struct region *rg = bridge_region(pm);
	struct region_shape shape = { .n_lanes = 2,
				      .half_lines = 8,
				      .bulk_lines = 16,
				      .n_spaces = spaces,
				      .salt = 0x7654321 };

	MUST(region_format(rg, &shape, rg->bytes - FRAME_BYTES));
}

void bridge_open(void *pm)
{
	MUST(core_open(bridge_region(pm), PMPT_OPEN_NO_GROW, &pool));
	MUST(pmpt_space_create(pool, "s", &space));
	memset(calls, 0, sizeof(calls));
}

void bridge_setup(void *pm)
{
	bridge_format(pm, &(struct shape){ 0 });
	bridge_open(pm);
}

/* ---- the content of a domain ------------------------------------------------------------------- */

struct walk {
	const struct region *rg;
	unsigned actor;
	uint32_t record;
	uint64_t digest;
};

static void mix(struct walk *w, uint64_t value)
{
	w->digest = (w->digest ^ value) * 0x9e3779b97f4a7c15u;
	w->digest ^= w->digest >> 29;
}

/* Read in one piece: words that are not decided are, and then plain loads do. */
__attribute__((no_sanitize_thread)) static const volatile uint64_t *words_at(const struct walk *w,
									     uint64_t off,
									     size_t bytes)
{
	const volatile uint64_t *word = region_at(w->rg, off);

	crashsim_loads((const void *)(uintptr_t)word, bytes);
	return word;
}

/* A page counts by its address, entry, and, with tag 1, by what it begins with. */
__attribute__((no_sanitize_thread)) static void walk_leaf(struct walk *w, uint64_t va,
							  uint64_t entry, unsigned level)
{
	mix(w, va | w->record);
	mix(w, (entry & ~ENTRY_AD) ^ level);
	if (!(entry & ENTRY_P) || entry & ENTRY_EXT)
		return;
	if (bridge_contents || (entry & ENTRY_TAG) >> ENTRY_TAG_SHIFT == 1) {
		size_t bytes = bridge_contents ? level_bytes(level) : LINE_BYTES;
		const volatile uint64_t *word = words_at(w, entry & ENTRY_PFN, bytes);

		for (size_t i = 0; i < bytes / sizeof(*word); i++)
			mix(w, word[i]);
	}
}

__attribute__((no_sanitize_thread)) static void walk_table(struct walk *w, uint64_t off,
							   uint64_t va, unsigned level)
{
	const volatile uint64_t *word;

	if (!region_has(w->rg, off, FRAME_BYTES) || off < GROUP_BYTES)
		crashsim_fail("a table at offset %#lx over %#lx, outside the pool", off, va);
	word = words_at(w, off, FRAME_BYTES);
	for (unsigned i = 0; i < FRAME_WORDS; i++) {
		uint64_t entry = word[i], at = va | (uint64_t)i << level_shift(level);

		if (!entry || (level == 4 && !bridge_alone && (at >= SPLIT) != w->actor))
			continue;
		if (entry_is_table(entry, level))
			walk_table(w, entry & ENTRY_PFN, at, level - 1);
		else
			walk_leaf(w, at, entry, level);
	}
}

__attribute__((no_sanitize_thread)) static void walk_record(struct walk *w, uint32_t i)
{
	uint64_t off = region_sb(w->rg)->directory + i * sizeof(struct space_record);
	const volatile uint64_t *word = words_at(w, off, sizeof(struct space_record));
	uint64_t state = word[0] & 0xff, root = word[1];

	if (state == SPACE_FREE)
		return;
	if (word[0] & RECORD_SWAP) { /* the record of the swap tier, not what its root names */
		for (unsigned k = 0; k < 4 && (bridge_alone || i % 2 == w->actor); k++)
			mix(w, (uint64_t)i << 8 | k), mix(w, word[k]);
		return;
	}
	for (unsigned k = 0; k < 8 && (bridge_alone || i % 2 == w->actor); k++)
		mix(w, state << 32 | i), mix(w, word[10 + k]);
	for (unsigned k = 4 * w->actor; k < (bridge_alone ? 8 : 4 * w->actor + 4); k++) {
		if (word[2 + k])
			mix(w, i << 8 | k), mix(w, word[2 + k]);
	}
	w->record = i;
	walk_table(w, root, 0, 4);
}

uint64_t bridge_domain(void *pm, unsigned actor)
{
	struct walk w = { .rg = bridge_region(pm), .actor = actor, .digest = actor };

	_Static_assert(offsetof(struct space_record, user) == 16 &&
			       offsetof(struct space_record, name) == 80,
		       "the words of a record");
	for (uint32_t i = 0; i < region_sb(w.rg)->n_spaces && !(bridge_alone && actor); i++)
		walk_record(&w, i);
	return w.digest;
}

/* ---- a page walker ------------------------------------------------------------------------------- */

static void walker_at(uint64_t va)
{
	uint64_t off = region_sb(&region)->directory;
	uint64_t table = word_load(&((struct space_record *)region_at(&region, off))->root);

	for (unsigned level = 4; level; level--) {
		pm_word *word = region_at(&region, table);
		uint64_t entry;

		word += va >> level_shift(level) & (FRAME_WORDS - 1);
		entry = word_load(word);
		if (entry_is_leaf(entry, level))
			crashsim_walker((const void *)word, ENTRY_AD);
		if (!entry_is_table(entry, level))
			return;
		table = entry & ENTRY_PFN;
	}
}

void bridge_walker(uint64_t va, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		walker_at(va + i * P4K);
}

/* ---- run ----------------------------------------------------------------------------------------- */

/* Notes: 2 * actor: its domain after the last call; 2 * actor + 1: after the one under way. */
static size_t next_note[2]; /* the event, to be filled when the call has returned */

void bridge_rules(void)
{
	rules_off = faults();
	pm_observer = observe;
}

void bridge_start(void)
{
	bridge_rules();
	for (unsigned a = 0; a < 2; a++)
		crashsim_note(2 * a, bridge_domain(region_base, a));
}

void bridge_begin(unsigned actor)
{
	hook_settle();
	next_note[actor] = recording->n;
	crashsim_note(2 * actor + 1, 0);
	crashsim_begin_again(actor);
}

void bridge_returned(unsigned actor)
{
	uint64_t content = bridge_domain(region_base, actor);

	hook_settle();
	recording->event[next_note[actor]].value = content;
	crashsim_note(2 * actor, content);
	crashsim_returned(actor);
	calls[actor]++;
}

void bridge_stop(void)
{
	enum stage was = stage;

	hook_settle();
	stage = STAGE_IDLE;
	pmpt_space_close(space);
	MUST(core_close(pool, false));
	pool = NULL;
	space = NULL;
	bridge_contents = false;
	stage = was;
}

/* ---- recover and check ----------------------------------------------------------------------------- */

void bridge_images(void)
{
	const char *crash = getenv("PMPT_IMAGES");

	if (crash && stage == STAGE_RECOVER && strtoul(crash, NULL, 10) == explore_phase() + 1)
		crashsim_outcome(image_digest());
}

void bridge_recover(void *pm)
{
	struct region *rg = bridge_region(pm);
	struct pmpt_pool *opened;

	bridge_images();
	MUST(region_check(rg));
	MUST(core_open(rg, PMPT_OPEN_NO_GROW, &opened));
	MUST(core_close(opened, false));
}

void bridge_replay(void *pm)
{
	struct pmpt_recovery report;

	bridge_images();
	MUST(replay(bridge_region(pm), &bridge_mem, LSN_STEP, &report));
}

static void finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	crashsim_fail("verifier: %s at %#lx: %s", f->rule, f->offset, f->message);
}

/* The verifier copies a line before it validates it: say first what it is. */
static void declare_lines(const struct region *rg)
{
	const struct sb *sb = region_sb(rg);

	crashsim_checked(region_at(rg, sb->lanes), 2ul * sb->n_lanes * sb->half_lines * LINE_BYTES);
	crashsim_checked(region_at(rg, sb->bulk), sb->bulk_lines * LINE_BYTES);
}

void bridge_check_verifier(void *pm)
{
	struct check_options o = { .finding = finding };
	struct pmpt_check summary = { 0 };

	declare_lines(bridge_region(pm));
	MUST(check_region(&region, &bridge_mem, &o, &summary));
}

void bridge_check(void *pm)
{
	bridge_check_verifier(pm);
	for (unsigned a = 0; a < 2; a++) {
		uint64_t content = bridge_domain(pm, a);
		bool open = crashsim_state(a) == CRASHSIM_OPEN;

		crashsim_outcome(content);
		if (content != crashsim_noted(2 * a) &&
		    !(open && crashsim_noted(2 * a + 1) && content == crashsim_noted(2 * a + 1)))
			crashsim_fail("actor %u: what is mapped is not what its last call left%s",
				      a, open ? ", nor what the one under way will leave" : "");
	}
}
