/* SPDX-License-Identifier: BSD-3-Clause */
/* main -- the command where the program has no main of its own. */
#include "crashsim.h"

__attribute__((weak)) int main(int argc, char **argv) { return crashsim_main(argc, argv); }
