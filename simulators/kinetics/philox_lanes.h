/*
 * Philox blocks of many identities at once: the same words as rng_draw() gives, in the vectors of
 * the instruction set that this file is compiled for.
 *
 * A compiler does not see by itself that the product of two 32-bit words is one instruction in
 * the 64-bit lanes of a vector; here it is named.
 */
#ifndef STMTEM_PHILOX_LANES_H
#define STMTEM_PHILOX_LANES_H

#include <stddef.h>
#include <string.h>

#include "rng.h"

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#if defined(__AVX512F__)
#define PHILOX_LANES 8
#define PHILOX_TIMES(a, b) _mm512_mul_epu32((__m512i)(a), (__m512i)(b))
#elif defined(__AVX2__)
#define PHILOX_LANES 4
#define PHILOX_TIMES(a, b) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))
#else
#define PHILOX_LANES 2
#define PHILOX_TIMES(a, b) _mm_mul_epu32((__m128i)(a), (__m128i)(b))
#endif
#endif

/* Word k of the block of identity[i] is the low half of words[k * count + i]; what the high half
 * has is of no meaning. */
static inline void philox_lanes(uint64_t seed, uint32_t purpose, uint64_t when, size_t count,
                                const uint64_t *restrict identity, uint64_t *restrict words)
{
    size_t in_lanes = 0;
#ifdef PHILOX_LANES
    in_lanes = count - count % PHILOX_LANES;
    typedef uint64_t Lanes __attribute__((vector_size(8 * PHILOX_LANES)));
    const Lanes zero = {0}, factor_0 = zero + 0xD2511F53u, factor_1 = zero + 0xCD9E8D57u;
    for (size_t i = 0; i < in_lanes; i += PHILOX_LANES) {
        Lanes c0, c2 = zero + (when & 0xFFFFFFFFu), c3 = zero + (when >> 32);
        memcpy(&c0, identity + i, sizeof c0);
        Lanes c1 = ((c0 >> 32) & (zero + 0x00FFFFFFu)) | (zero + ((uint64_t)purpose << 24));
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        for (int round = 0; round < 10; round++) { /* high halves never come into the product */
            const Lanes p0 = (Lanes)PHILOX_TIMES(c0, factor_0);
            const Lanes p1 = (Lanes)PHILOX_TIMES(c2, factor_1);
            c0 = (p1 >> 32) ^ c1 ^ (zero + k0);
            c2 = (p0 >> 32) ^ c3 ^ (zero + k1);
            c1 = p1;
            c3 = p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        memcpy(words + i, &c0, sizeof c0);
        memcpy(words + count + i, &c1, sizeof c1);
        memcpy(words + 2 * count + i, &c2, sizeof c2);
        memcpy(words + 3 * count + i, &c3, sizeof c3);
    }
#endif
    for (size_t i = in_lanes; i < count; i++) {
        const PhiloxBlock block = rng_draw(seed, purpose, identity[i], when);
        for (size_t k = 0; k < 4; k++)
            words[k * count + i] = block.v[k];
    }
}

#endif
