/* SPDX-License-Identifier: BSD-3-Clause */
/* backup_swap -- see backup_swap.h. */
#include "backup_swap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "rcu.h"
#include "view.h"

int backup_swap_begin(struct backup_swap *b, struct pmpt_pool *pool, const char *copy)
{
	struct swap *s = &pool->swap;
	int rc;

	*b = (struct backup_swap){ .pool = pool, .area = s->area };
	b->file.fd = -1;
	if (!b->area.off)
		return 0;
	if (s->missing)
		return error_set(PMPT_E_SWAP, "%s", s->why);
	rc = swap_path_set(b->path, copy, ".swap");
	if (!rc &&
	    !access(b->path, F_OK)) /* it may be the swap file of another copy, or this pool's */
		rc = error_set(-EEXIST, "%s: exists", b->path);
	if (rc)
		return rc;
	b->id = s->file.id;
	b->file.path = b->path;
	memcpy(b->file.uuid, s->file.uuid, sizeof(b->file.uuid));
	b->file.salt = s->file.salt;
	b->file.id = s->file.id;
	b->file.slots = s->file.slots;
	b->room = mem_alloc(&pool->mem, sizeof(*b->room));
	return b->room ? 0 : error_set(-ENOMEM, "no memory for a copy of the swap file");
}

static int changed(const struct backup_swap *b)
{
	return error_set(PMPT_E_SWAP, "the pool's swap file was turned %s meanwhile",
			 b->area.off ? "off" : "on");
}

static bool is_same(const struct backup_swap *b)
{
	const struct swap *s = &b->pool->swap;

	return s->area.off == b->area.off && (!b->area.off || s->file.id == b->id);
}

int backup_swap_still(struct backup_swap *b)
{
	bool same;

	pthread_rwlock_rdlock(&b->pool->swap.file_lock);
	same = is_same(b);
	pthread_rwlock_unlock(&b->pool->swap.file_lock);
	return same ? 0 : changed(b);
}

/* n pages in a row; room->generation has theirs. */
static int run_copy(struct backup_swap *b, const struct pmpt_view *view, uint64_t first, unsigned n)
{
	struct swap *s = &b->pool->swap;
	struct swap_room *room = b->room;
	int rc, stale;

	if (!n)
		return 0;
	pthread_rwlock_rdlock(&s->file_lock);
	rc = is_same(b) ? swap_file_read_run(&s->file, first, n, room->generation, room->page,
					     room->slot)
			: changed(b);
	pthread_rwlock_unlock(&s->file_lock);
	stale = pmpt_view_check(view);
	if (stale || rc)
		return stale ? stale : rc;
	return swap_file_write(&b->file, first, n, room->generation, room->page, room->slot);
}

static int slots_copy(struct backup_swap *b, const struct pmpt_view *view)
{
	const pm_word *desc = region_at(b->pool->rg, swap_area_descs(&b->area));
	unsigned n = 0;
	int rc = 0;

	for (uint64_t slot = 0; slot < b->area.slots && !rc; slot++) {
		uint64_t d;

		reader_begin();
		d = view_load(view, &desc[slot]);
		reader_end();
		if (desc_count(d))
			b->room->generation[n++] = desc_generation(d);
		if (!desc_count(d) || n == SWAP_BATCH) {
			rc = run_copy(b, view, slot + !!desc_count(d) - n, n);
			n = 0;
		}
	}
	return rc ? rc : run_copy(b, view, b->area.slots - n, n);
}

int backup_swap_copy(struct backup_swap *b, const struct pmpt_view *view)
{
	int rc;

	if (!b->area.off)
		return 0;
	rc = swap_file_create(&b->file);
	b->made = !rc;
	if (!rc)
		rc = slots_copy(b, view);
	return rc ? rc : swap_file_sync(&b->file);
}

void backup_swap_head(const struct backup_swap *b, struct swap_area_head *head)
{
	memcpy(head, region_at(b->pool->rg, b->area.off), sizeof(*head));
	memset(head->path, 0, sizeof(head->path));
	memcpy(head->path, b->path, strlen(b->path));
	swap_area_seal(head);
}

void backup_swap_end(struct backup_swap *b, bool keep)
{
	if (b->file.fd >= 0)
		swap_file_close(&b->file);
	if (b->made && !keep)
		(void)swap_io->unlink(b->path);
	if (b->pool)
		mem_free(&b->pool->mem, b->room, sizeof(*b->room));
}
