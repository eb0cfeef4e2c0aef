/* SPDX-License-Identifier: BSD-3-Clause */
/* storm_engine -- see storm_engine.h. */
#include "storm_engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE        ((uint64_t)PMPT_PAGE_BYTES)
#define BLOCK       16u /* slots of a block, neighbours in address */
#define BLOCKS      (ENGINE_SLOTS / BLOCK)
#define TABLE_SLOTS 256u /* slots in one page table */

static uint64_t mix(uint64_t x) /* splitmix64 */
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static unsigned draw(uint64_t *random, unsigned below)
{
	*random = mix(*random);
	return (unsigned)(*random % below);
}

/* A table holds TABLE_SLOTS of them, and not all tables lie in one directory. */
static uint64_t slot_va(unsigned slot)
{
	uint64_t table = slot / TABLE_SLOTS;

	return (1ull << 40) + (table % 2 << 39) + (table << 21) + slot % TABLE_SLOTS * PAGE;
}

/* Frame number of what transaction s of thread t maps; a block takes BLOCK of them. */
static uint64_t stamp(unsigned t, uint64_t s) { return (uint64_t)t << 36 | (s & 0xffffffff) << 4; }

/* ---- operations: on page[], and on the space where tx is not NULL ------------------------------ */

static int op_map(struct engine *e, pmpt_tx *tx, unsigned slot, unsigned n, unsigned prot)
{
	uint64_t pfn = stamp(e->thread, e->sequence);

	for (unsigned i = 0; i < n; i++)
		e->page[slot + i] = (struct engine_page){ pfn + i, prot };
	e->changed += n;
	return tx ? pmpt_map(tx, e->space, slot_va(slot), n, pfn, prot | PMPT_EXT | PMPT_REPLACE)
		  : 0;
}

static int op_unmap(struct engine *e, pmpt_tx *tx, unsigned slot)
{
	memset(&e->page[slot], 0, BLOCK * sizeof(e->page[0]));
	e->changed += BLOCK;
	return tx ? pmpt_unmap(tx, e->space, slot_va(slot), BLOCK * PAGE) : 0;
}

static int op_protect(struct engine *e, pmpt_tx *tx, unsigned slot, unsigned prot)
{
	for (unsigned i = 0; i < BLOCK; i++) {
		if (!e->page[slot + i].flags) /* protect wants all of them mapped */
			return op_map(e, tx, slot, BLOCK, prot);
	}
	for (unsigned i = 0; i < BLOCK; i++)
		e->page[slot + i].flags = prot;
	e->changed += BLOCK;
	return tx ? pmpt_protect(tx, e->space, slot_va(slot), BLOCK * PAGE, prot) : 0;
}

static int op_move(struct engine *e, pmpt_tx *tx, unsigned from, unsigned to)
{
	int rc = op_unmap(e, tx, to);

	memcpy(&e->page[to], &e->page[from], BLOCK * sizeof(e->page[0]));
	memset(&e->page[from], 0, BLOCK * sizeof(e->page[0]));
	if (rc || !tx)
		return rc;
	return pmpt_move(tx, e->space, slot_va(from), e->space, slot_va(to), BLOCK * PAGE);
}

static int block_op(struct engine *e, pmpt_tx *tx, uint64_t *random, unsigned prot)
{
	unsigned a = draw(random, BLOCKS), b = (a + 1 + draw(random, BLOCKS - 1)) % BLOCKS;

	switch (draw(random, 4)) {
	case 0:
		return op_map(e, tx, a * BLOCK, BLOCK, prot);
	case 1:
		return op_unmap(e, tx, a * BLOCK);
	case 2:
		return op_protect(e, tx, a * BLOCK, prot);
	default:
		return op_move(e, tx, a * BLOCK, b * BLOCK);
	}
}

/* The transaction after e->sequence. */
static int step(struct engine *e, pmpt_tx *tx)
{
	uint64_t s = ++e->sequence, random = mix(s) + mix(~(uint64_t)e->thread);
	unsigned prot = PMPT_R | (s & 1 ? PMPT_W : 0) | (s & 2 ? PMPT_X : 0) | (s & 4 ? PMPT_U : 0);
	unsigned n = 2 + draw(&random, 7);
	int rc = 0;

	for (unsigned i = 0; i < n && !rc; i++)
		rc = op_map(e, tx, draw(&random, ENGINE_SLOTS), 1, prot);
	if (!rc && s % 4 == 0)
		rc = block_op(e, tx, &random, prot);
	return rc;
}

/* ---- the thread ------------------------------------------------------------------------------- */

int engine_open(struct engine *engine, pmpt_pool *pool, unsigned thread, bool create)
{
	char name[32];
	int rc;

	memset(engine, 0, sizeof(*engine));
	engine->thread = thread;
	snprintf(name, sizeof(name), "storm-%u", thread);
	rc = pmpt_space_open(pool, name, &engine->space);
	if (rc == PMPT_E_NO_SPACE && create)
		rc = pmpt_space_create(pool, name, &engine->space);
	if (rc)
		return rc;
	rc = pmpt_user_get(engine->space, 0, &engine->committed);
	if (rc)
		engine_close(engine);
	return rc;
}

void engine_close(struct engine *engine)
{
	if (engine->space)
		pmpt_space_close(engine->space);
	engine->space = NULL;
}

void engine_replay(struct engine *engine, uint64_t sequence)
{
	while (engine->sequence < sequence)
		(void)step(engine, NULL);
}

int engine_next(struct engine *engine)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(pmpt_space_pool(engine->space), 0, &tx);

	if (rc)
		return rc;
	rc = step(engine, tx);
	if (!rc)
		rc = pmpt_user_set(tx, engine->space, 0, engine->sequence);
	return rc ? rc : pmpt_commit(tx, NULL);
}

/* ---- the judge -------------------------------------------------------------------------------- */

struct judge {
	const struct engine *engine;
	struct engine_page found[ENGINE_SLOTS];
	uint64_t stray; /* a page outside of the slots; 0: none */
};

static int note_page(void *ctx, const struct pmpt_mapping *m)
{
	uint64_t table = (m->va >> 21 & 511), slot = table * TABLE_SLOTS + (m->va / PAGE & 511);
	struct judge *j = ctx;

	if (slot >= ENGINE_SLOTS || slot_va((unsigned)slot) != m->va || m->level != 1 ||
	    !(m->flags & PMPT_EXT))
		j->stray = m->va;
	else
		j->found[slot] = (struct engine_page){ m->pfn, m->flags & PMPT_PROT_MASK };
	return 0;
}

static int judge_pages(const struct judge *j, char why[200])
{
	const struct engine *e = j->engine;

	if (j->stray) {
		snprintf(why, 200, "storm-%u: %#" PRIx64 " is mapped, which no transaction does",
			 e->thread, j->stray);
		return 1;
	}
	for (unsigned i = 0; i < ENGINE_SLOTS; i++) {
		const struct engine_page *want = &e->page[i], *found = &j->found[i];

		if (want->pfn == found->pfn && want->flags == found->flags)
			continue;
		snprintf(why, 200,
			 "storm-%u after %" PRIu64 " transactions: %#" PRIx64 " has frame %#" PRIx64
			 " flags %#x, expected %#" PRIx64 " %#x: a transaction is half there",
			 e->thread, e->sequence, slot_va(i), found->pfn, found->flags, want->pfn,
			 want->flags);
		return 1;
	}
	return 0;
}

int engine_verify(struct engine *engine, uint64_t acknowledged, char why[200])
{
	struct judge judge = { .engine = engine };
	uint64_t s = engine->committed;
	int rc;

	why[0] = '\0';
	if (acknowledged && (s < acknowledged || s > acknowledged + 1)) {
		snprintf(why, 200,
			 "storm-%u: %" PRIu64 " is the last acknowledged transaction, %" PRIu64
			 " is the last one there",
			 engine->thread, acknowledged, s);
		return 1;
	}
	engine_replay(engine, s);
	rc = pmpt_walk(engine->space, 0, 0, note_page, &judge);
	return rc ? rc : judge_pages(&judge, why);
}
