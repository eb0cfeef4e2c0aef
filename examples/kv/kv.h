/* SPDX-License-Identifier: BSD-3-Clause */
/* kv -- an ordered map of byte strings: a B+-tree in the data pages of a space of libpmpt.
 *
 * A map is a space, and an empty space an empty map: libpmpt's own calls create, open, fork, snapshot,
 * rename and delete maps.  Nothing else writes to the space, or sets its user words.
 * Functions return 0 or a negative error, of libpmpt or a negated errno; kv_errormsg() has the detail.
 * Threads: a handle is one thread's; any number may be open, of one map, and beside each other.
 */
#ifndef KV_H
#define KV_H 1

#include <string.h>

#include <libpmpt.h>

#define KV_KEY_MAX  511u  /* bytes of a key, 1 at least; ordered as by memcmp, a prefix first */
#define KV_PAIR_MAX 2030u /* bytes of a key and its value together */

struct kv;
struct kv_slice {
	const void *data;
	size_t len;
};
#define KV_STR(s) ((struct kv_slice){ (s), strlen(s) })
int kv_compare(struct kv_slice a, struct kv_slice b); /* of keys: below, at or above 0 */
const char *kv_errormsg(int rc); /* of the error that this thread got last; until its next call */

/* A handle of a map, for one transaction at a time.  NULL: no memory.  Close it before the space. */
struct kv *kv_open(pmpt_space *map);
void kv_close(struct kv *kv);

/* Begin a transaction: it sees the map as the last commit before left it, and its own changes.
 * Returns 0; PMPT_E_CORRUPT (the user words are something else's); as pmpt_view_open(). */
int kv_begin(struct kv *kv);
/* End it: all of it, durable on 0, and all that was found is right; else nothing has happened, and the
 * map is as it was: PMPT_E_CONFLICT (another has changed it meanwhile, or just does: begin anew),
 * PMPT_E_VIEW_STALE (too much was overwritten meanwhile: begin anew, or pmpt_view_limit()),
 * PMPT_E_NO_FRAMES (the pool is full), PMPT_E_TX_TOO_LARGE (for a half of a redo lane),
 * PMPT_E_SNAPSHOT; what has spoilt it; as pmpt_commit().  What has changed nothing costs nothing. */
int kv_commit(struct kv *kv);
void kv_abort(struct kv *kv);

/* -EINVAL: a length; -ENOENT of kv_delete: no such key.  Any other error spoils the transaction: all
 * that follows, and the commit, give it again. */
int kv_put(struct kv *kv, struct kv_slice key, struct kv_slice value);
int kv_delete(struct kv *kv, struct kv_slice key);

/* The value of a key; the first pair that is not before `from`; the pair behind the one that these
 * three found last.  Slices lie in the page itself: valid until the next kv_put() or kv_delete().
 * Returns 0; -ENOENT: there is none; PMPT_E_VIEW_STALE; PMPT_E_CORRUPT. */
int kv_get(struct kv *kv, struct kv_slice key, struct kv_slice *value);
int kv_seek(struct kv *kv, struct kv_slice from, struct kv_slice *key, struct kv_slice *value);
int kv_next(struct kv *kv, struct kv_slice *key, struct kv_slice *value);

struct kv_stat {
	uint64_t keys, height, pages, findings;
};
/* Read everything; fn gets each thing that is wrong, with the address of its page.
 * Returns 0, whatever it found, or why it could not read. */
int kv_check(struct kv *kv, void (*fn)(void *ctx, uint64_t va, const char *message), void *ctx,
	     struct kv_stat *stat);

#endif
