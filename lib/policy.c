/* SPDX-License-Identifier: BSD-3-Clause */
/* policy -- see policy.h. */
#include "policy.h"

#include "error.h"
#include "space.h"

static const char *may_name(unsigned may)
{
	static const char *const name[] = { "read-only", "writable", "executable",
					    "writable and executable" };

	return name[may & WX_BOTH];
}

/* What an entry where the path ends permits, with the links above it: W says that all of them have W or
 * COW, COW that one has it, which is no permission of the others. */
static unsigned may(const struct path *p, uint64_t entry)
{
	return entry_wx(above_add(p->above, entry) & ~ENTRY_COW);
}

/* Both refer to one frame. */
static bool same_frame(uint64_t a, uint64_t b, unsigned level)
{
	return (a & b & ENTRY_P) && !((a ^ b) & (ENTRY_PFN | ENTRY_EXT)) &&
	       entry_is_table(a, level) == entry_is_table(b, level);
}

/* ---- refusals -------------------------------------------------------------------------------- */

int policy_broken(const struct pmpt_space *space, uint64_t va)
{
	return error_set(PMPT_E_WX, "%#lx of space '%s' would be writable and executable",
			 va_sign(va), space->name);
}

/* A frame, or a segment's table, has other mappings that this one does not go with. */
static int alias_met(struct pmpt_tx *tx, const struct path *p, uint64_t pfn, unsigned had,
		     unsigned wanted)
{
	unsigned state = frame_state(tx, pfn);
	bool fork =
		frame_refs(tx, pfn) > 1 && !frame_aliased(tx, pfn) && !(p->above & ENTRY_SHARED);

	if (state && fork && had)
		return error_set(
			PMPT_E_WX,
			"%#lx of space '%s' would be %s, a fork shares its frame %#lx: %s a copy first",
			va_sign(p->va), p->space->name, may_name(wanted), pfn,
			had & WX_W ? "fault (PMPT_W)" : "map");
	if (state)
		return error_set(
			PMPT_E_WX,
			"%#lx of space '%s' would be %s, its frame %#lx is mapped %s elsewhere",
			va_sign(p->va), p->space->name, may_name(wanted), pfn, may_name(state));
	return error_set(
		PMPT_E_WX,
		"%#lx of space '%s' would be %s, a space without the policy may map its frame %#lx",
		va_sign(p->va), p->space->name, may_name(wanted), pfn);
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* Do mappings that may do this go with the frame's state, as it is? */
static bool goes_with(const struct path *p, unsigned state, unsigned wanted)
{
	return policy_of(p->space) ? state == wanted : !state || !(wanted & ~state);
}

/* The state that who has the only mapping gives. */
static unsigned state_of(const struct path *p, unsigned wanted)
{
	return policy_of(p->space) ? wanted : 0;
}

static int page_frames(struct pmpt_tx *tx, const struct path *p, uint64_t pfn, unsigned had,
		       unsigned wanted)
{
	int rc = 0;

	for (uint64_t end = pfn + (level_bytes(p->level) >> FRAME_SHIFT); pfn < end && !rc; pfn++) {
		if (goes_with(p, frame_state(tx, pfn), wanted))
			continue;
		rc = frame_refs(tx, pfn) > 1 ? alias_met(tx, p, pfn, had, wanted)
					     : tx_state(tx, pfn, DESC_DATA, 1, state_of(p, wanted));
	}
	return rc;
}

/* A page of a segment came to a frame that has no other mapping. */
static int segment_page(struct pmpt_tx *tx, const struct path *p, uint64_t pfn)
{
	unsigned state = frame_state(tx, p->pfn[1]);

	if (frame_state(tx, pfn) == state)
		return 0;
	return frame_refs(tx, pfn) > 1 ? alias_met(tx, p, pfn, 0, state)
				       : tx_state(tx, pfn, DESC_DATA, 1, state);
}

int policy_entry(struct pmpt_tx *tx, const struct path *p, uint64_t old, uint64_t value)
{
	bool there = entry_is_leaf(value, p->level) && !(value & ENTRY_EXT),
	     same = same_frame(old, value, p->level);
	unsigned wanted = may(p, value), had = same ? may(p, old) : 0;

	if (entry_is_segment(value, p->level))
		return policy_segment(tx, p, old, value, 0);
	if (!value || entry_is_table(value, p->level))
		return 0;
	if (p->above & ENTRY_SHARED)
		return there && !same ? segment_page(tx, p, entry_pfn(value)) : 0;
	if (wanted == WX_BOTH && policy_of(p->space))
		return policy_broken(p->space, p->va);
	return there && wanted & ~had ? page_frames(tx, p, entry_pfn(value), had, wanted) : 0;
}

/* ---- segments -------------------------------------------------------------------------------- */

/* The table's state is to change: so do those of its pages' frames, none of which is mapped by its
 * number. */
static int segment_state(struct pmpt_tx *tx, const struct path *p, uint64_t table, uint64_t refs,
			 unsigned had, unsigned wanted)
{
	unsigned state = state_of(p, wanted);
	int rc = tx_own(tx, table);

	for (unsigned i = 0; i < FRAME_WORDS && !rc; i++) {
		uint64_t entry = tx_entry(tx, table, i), pfn = entry_pfn(entry);

		if (!entry_is_leaf(entry, 1) || frame_state(tx, pfn) == state)
			continue;
		rc = frame_refs(tx, pfn) > 1 ? alias_met(tx, p, pfn, had, wanted)
					     : tx_state(tx, pfn, DESC_DATA, 1, state);
	}
	return rc ? rc : tx_state(tx, table, DESC_TABLE, refs, state);
}

int policy_segment(struct pmpt_tx *tx, const struct path *p, uint64_t old, uint64_t link,
		   unsigned names)
{
	uint64_t table = entry_pfn(link), refs = frame_refs(tx, table);
	unsigned wanted = may(p, link), had = same_frame(old, link, p->level) ? may(p, old) : 0;

	if (wanted == WX_BOTH && policy_of(p->space))
		return policy_broken(p->space, p->va);
	if (!(wanted & ~had) || goes_with(p, frame_state(tx, table), wanted))
		return 0;
	if (refs <= 1 + names)
		return segment_state(tx, p, table, refs, had, wanted);
	return error_set(
		PMPT_E_WX,
		"the segment at %#lx of space '%s' would be %s: %s; its only mapping is flipped by unmapping and mapping it by its name, in one transaction",
		va_sign(p->va), p->space->name, may_name(wanted),
		frame_state(tx, table) ? "it is or has been mapped otherwise"
				       : "a space without the policy may map it");
}

/* ---- a space's policy ------------------------------------------------------------------------ */

static int policy_call(struct pmpt_tx *tx, const void *args)
{
	const struct record_args *a = args;
	struct pmpt_space *space = a->space;
	int rc = space->snapshot ? snapshot_met(space) : tx_own(tx, space->root_pfn);

	for (unsigned i = 0; i < FRAME_WORDS && !rc; i++) {
		if (tx_entry(tx, space->root_pfn, i))
			rc = error_set(PMPT_E_MAPPED,
				       "space '%s' maps something, a policy is for an empty one",
				       space->name);
	}
	if (!rc) /* before its table is another's: who maps something by then is to know */
		atomic_store(&space->wx, true);
	return rc ? rc
		  : record_set(tx, &a->record->state, word_load(&a->record->state) | RECORD_WX);
}

int pmpt_space_policy_set(pmpt_space *space, unsigned policy)
{
	struct pmpt_pool *pool = space->pool;
	struct record_args a = { .record = space->record, .space = space };
	int rc = policy == PMPT_POLICY_WX
			 ? pool_writable(pool)
			 : error_set(-EINVAL, "policy %#x, expected PMPT_POLICY_WX", policy);

	if (!rc)
		rc = pool_feature(pool, SB_FEATURE_SPACES | SB_FEATURE_WX);
	if (rc)
		return rc;
	pthread_mutex_lock(&pool->names);
	if (!policy_of(space)) {
		rc = tx_run(pool, NULL, policy_call, &a);
		if (rc)
			atomic_store(&space->wx, false);
	}
	pthread_mutex_unlock(&pool->names);
	return rc;
}

unsigned pmpt_space_policy(const pmpt_space *space)
{
	return policy_of(space) ? PMPT_POLICY_WX : 0;
}
