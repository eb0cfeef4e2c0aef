/* SPDX-License-Identifier: BSD-3-Clause */
/* immintrin -- see xmmintrin.h. */
#include_next <immintrin.h>
#ifndef CRASHSIM_SEEN_IMMINTRIN_H
#define CRASHSIM_SEEN_IMMINTRIN_H

#include <crashsim.h>

#define _mm_clwb(line)       crashsim_clwb(line)
#define _mm_clflushopt(line) crashsim_clwb(line)
/* macros, because the types need the target options of the source that uses them */
#define CRASHSIM_STREAM(to, value)                                           \
	__extension__({                                                      \
		__typeof__(value) crashsim_value = (value);                  \
		crashsim_movnt(to, &crashsim_value, sizeof(crashsim_value)); \
	})
#define _mm256_stream_si256(to, value) CRASHSIM_STREAM(to, value)
#define _mm256_stream_pd(to, value)    CRASHSIM_STREAM(to, value)
#define _mm256_stream_ps(to, value)    CRASHSIM_STREAM(to, value)
#define _mm512_stream_si512(to, value) CRASHSIM_STREAM(to, value)
#define _mm512_stream_pd(to, value)    CRASHSIM_STREAM(to, value)
#define _mm512_stream_ps(to, value)    CRASHSIM_STREAM(to, value)

#endif
