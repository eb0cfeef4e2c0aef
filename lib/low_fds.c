/* SPDX-License-Identifier: BSD-3-Clause */
/* low_fds -- see low_fds.h. */
#include "low_fds.h"

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "error.h"

static bool one_closed(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			return true;
	}
	return false;
}

int low_fds_hold(struct low_fds *low)
{
	low->held = 0;
	while (one_closed()) {
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC), rc;

		if (fd < 0) {
			rc = error_sys("/dev/null",
				       "open in place of a closed standard descriptor");
			low_fds_release(low);
			return rc;
		}
		if (fd <= STDERR_FILENO)
			low->held |= 1u << fd;
		else /* another thread was faster: it is open now */
			(void)close(fd);
	}
	return 0;
}

void low_fds_release(const struct low_fds *low)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (low->held >> fd & 1)
			(void)close(fd);
	}
}
