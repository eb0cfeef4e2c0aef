/* SPDX-License-Identifier: BSD-3-Clause */
/* system -- the C library's own functions of the names that crashsim stands before. */
#ifndef SYSTEM_H
#define SYSTEM_H

void *system_function(const char *name);

#define SYSTEM(name)                                                               \
	({                                                                         \
		static __typeof__(&name) system_##name;                            \
		if (!system_##name)                                                \
			system_##name = (__typeof__(&name))system_function(#name); \
		system_##name;                                                     \
	})

#endif
