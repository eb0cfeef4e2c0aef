/* SPDX-License-Identifier: BSD-3-Clause */
/* low_fds -- in a program that was started with a standard descriptor closed, the next file that is
 * opened becomes it, and what the program prints goes into that file.  So the free ones are held
 * while files of a pool are opened; afterwards they are as they were.
 */
#ifndef PMPT_LOW_FDS_H
#define PMPT_LOW_FDS_H

struct low_fds {
	unsigned held; /* bit per descriptor, 0 to 2 */
};

/* Returns 0; the negated errno of opening /dev/null, and holds nothing. */
int low_fds_hold(struct low_fds *low);
void low_fds_release(const struct low_fds *low);

#endif
