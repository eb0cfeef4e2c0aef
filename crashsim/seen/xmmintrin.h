/* SPDX-License-Identifier: BSD-3-Clause */
/* xmmintrin -- the compiler's header; then its fences and streaming stores by crashsim's functions,
 * because the instructions are not seen.  Each in the header that declares it. */
#include_next <xmmintrin.h>
#ifndef CRASHSIM_SEEN_XMMINTRIN_H
#define CRASHSIM_SEEN_XMMINTRIN_H

#include <crashsim.h>

static __inline__ __attribute__((unused)) void crashsim_stream_ps(void *to, __m128 value)
{
	crashsim_movnt(to, &value, sizeof(value));
}

#define _mm_sfence()             crashsim_sfence()
#define _mm_stream_ps(to, value) crashsim_stream_ps(to, value)

#endif
