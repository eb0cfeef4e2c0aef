/* SPDX-License-Identifier: BSD-3-Clause */
/* declare -- crashsim-cc includes this before all else: gcc makes small copies by __builtin_memcpy
 * and the like without a call, which nobody would see; so the builtins are crashsim's calls. */
#ifndef CRASHSIM_SEEN_DECLARE_H
#define CRASHSIM_SEEN_DECLARE_H

#ifdef __cplusplus
extern "C" {
#endif
void *crashsim_memcpy(void *, const void *, __SIZE_TYPE__) __attribute__((nothrow));
void *crashsim_memmove(void *, const void *, __SIZE_TYPE__) __attribute__((nothrow));
void *crashsim_memset(void *, int, __SIZE_TYPE__) __attribute__((nothrow));
int crashsim_memcmp(const void *, const void *, __SIZE_TYPE__) __attribute__((nothrow));
#ifdef __cplusplus
}
#endif

#ifndef __clang__
#define __builtin_memcpy  crashsim_memcpy
#define __builtin_memmove crashsim_memmove
#define __builtin_memset  crashsim_memset
#define __builtin_memcmp  crashsim_memcmp
#endif

#endif
