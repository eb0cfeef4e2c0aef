/* SPDX-License-Identifier: BSD-3-Clause */
/* emmintrin -- see xmmintrin.h, which comes first: gcc's own xmmintrin.h includes this one, and the names
 * below must not be macros before it has declared them. */
#include <xmmintrin.h>
#include_next <emmintrin.h>
#ifndef CRASHSIM_SEEN_EMMINTRIN_H
#define CRASHSIM_SEEN_EMMINTRIN_H

#include <crashsim.h>

static __inline__ __attribute__((unused)) void crashsim_stream_si128(void *to, __m128i value)
{
	crashsim_movnt(to, &value, sizeof(value));
}

static __inline__ __attribute__((unused)) void crashsim_stream_pd(void *to, __m128d value)
{
	crashsim_movnt(to, &value, sizeof(value));
}

static __inline__ __attribute__((unused)) void crashsim_stream_si32(void *to, int value)
{
	crashsim_movnt(to, &value, sizeof(value));
}

static __inline__ __attribute__((unused)) void crashsim_stream_si64(void *to, long long value)
{
	crashsim_movnt(to, &value, sizeof(value));
}

#define _mm_clflush(line)           crashsim_clflush(line)
#define _mm_mfence()                crashsim_mfence()
#define _mm_stream_si128(to, value) crashsim_stream_si128(to, value)
#define _mm_stream_pd(to, value)    crashsim_stream_pd(to, value)
#define _mm_stream_si32(to, value)  crashsim_stream_si32(to, value)
#define _mm_stream_si64(to, value)  crashsim_stream_si64(to, value)

#endif
