/* SPDX-License-Identifier: BSD-3-Clause */
/* rules -- in a test build each rule of the protocol can be switched off, to show that its test
 * fails without it.  In the library rule_on() is the constant true. */
#ifndef PMPT_RULES_H
#define PMPT_RULES_H

#include <stdbool.h>
#include <stdint.h>

enum rule {
	RULE_W1_FENCE,      /* the fence between a transaction's lines and its home stores */
	RULE_W1_BULK_FENCE, /* the same in the bulk lane */
	RULE_W2_LAST,       /* recovery asks for LAST */
	RULE_W2_CONTIGUOUS, /* recovery asks for n contiguous LSNs before LAST */
	RULE_W3_ABSOLUTE, /* counts are logged as absolute values taken under the descriptor lock */
	RULE_W4_LOW,      /* a committer announces low before it draws */
	RULE_W4_COUNTER_FIRST, /* the checkpointer reads the counter before the lows */
	RULE_W4_FLUSH,         /* the checkpointer flushes home lines */
	RULE_W4_FENCE,         /* and fences before it stores x */
	RULE_W4_PERSIST,       /* x is durable before a slot is used again */
	RULE_W4_MONOTONE,      /* checkpoint_lsn never goes back; one checkpointer at a time */
	RULE_W5_JUMP,          /* recovery jumps to lsn_limit */
	/* lsn_limit is durable before an LSN at or above the old one is drawn */
	RULE_W5_LIMIT_DURABLE,
	RULE_W6_DURABLE,   /* a half restarts only after a durable checkpoint */
	RULE_W7_LOCKS,     /* LSNs are drawn with the locks held; locks go after the home stores */
	RULE_W7_OWNER,     /* a word is changed by its owner alone */
	RULE_W8_ABORT_END, /* an abort is durable before it unlocks */
	RULE_W8_COMMIT_CHECKPOINT, /* bulk_from = 0 waits for a durable checkpoint over LAST */
	RULE_W8_UNLOCK,            /* a bulk transaction unlocks at its end, not at its commit */
	RULE_W8_FROM_FIRST,        /* bulk_from is under the fence of the first batch */
	RULE_W8_RECOVERY_ORDER,    /* recovery: checkpoint_lsn durable before bulk_from = 0 */
	RULE_W8_FROM_CHECK,        /* recovery: bulk lines below bulk_from are no lines */
	RULE_W9_ROOM,              /* room before commit locks */
	RULE_CRC_SALT,             /* the CRC covers the pool's salt */
	RULE_F1_CONTENT,           /* a fresh table is durable before its link is streamed */
	RULE_F2_TABLE_WAIT,        /* a freed table waits for a durable checkpoint */
	RULE_F2_BULK_WAIT,  /* what a bulk transaction freed or gave back waits for its end */
	RULE_F4_LOGGED,     /* counts change in the transaction, with the entries */
	RULE_F6_SHARE,      /* what two tables hold loses W in both */
	RULE_F6_FORK_WAITS, /* a fork waits for the transactions in its parent */
	RULE_F8_EXCLUDE,    /* freeing a table excludes writers below it */
	RULE_VIEW_SAVE,     /* old values are noted for open views before home words are stored */
	RULE_VIEW_WAIT,     /* a view's open waits for what has drawn its LSN and is not at home */
	RULE_VIEW_FRAMES,   /* frames that an open view may see are not used again */
	RULE_S1_SYNC,       /* a slot is durable in the swap file before an entry refers to it */
	RULE_S2_RESERVE,    /* a slot that is written is no other's */
	RULE_WX_STATE,      /* a frame's state and count are checked under the lock: policy.h P2 */
	RULES
};

#ifdef PMPT_TEST
extern uint64_t rules_off; /* bit per rule */
static inline bool rule_on(enum rule rule) { return !(rules_off >> rule & 1); }
#else
static inline bool rule_on(enum rule rule)
{
	(void)rule;
	return true;
}
#endif

#endif
