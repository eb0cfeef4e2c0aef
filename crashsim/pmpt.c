/* SPDX-License-Identifier: BSD-3-Clause */
/* pmpt -- the command with libpmpt's own workloads: the library's pm layer, its accessors and the bridge
 * to them are wrappers. */
#include "crashsim.h"

int main(int argc, char **argv)
{
	crashsim_wrappers("pm.c pm.h entry.h pm_bridge.c");
	return crashsim_main(argc, argv);
}
