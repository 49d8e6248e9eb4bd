/*
 * Random numbers of the kinetic core.
 *
 * Philox4x32-10 (Salmon et al., SC11, 2011) is a pure function of (key, counter): every draw of
 * the model is keyed by what it is for (site, particle, tick), never by the order of calls.
 * xoshiro256++ (Blackman and Vigna, 2019) serves the pixels, see row_kernels.h; one Philox block
 * seeds one row.
 */
#ifndef STMTEM_RNG_H
#define STMTEM_RNG_H

#include <stdint.h>
#include <string.h>

typedef struct {
    uint32_t v[4];
} PhiloxBlock;

/* What a draw is for; part of the counter, so that no two purposes share a stream. */
enum {
    DRAW_SITE_PLACE = 1,
    DRAW_SITE_RATE = 2,
    DRAW_SITE_THRESHOLD = 3,
    DRAW_WALK = 4,
    DRAW_ORIENTATION = 5,
    DRAW_TEXTURE = 6,
    DRAW_EDGE = 7,
    DRAW_PIXELS = 8,
    DRAW_READOUT = 9, /* each purpose of a picture is followed by that of its readout */
    DRAW_DIFFRACTION = 10,
    DRAW_SURVEY = 12,
    DRAW_SCAN_LINE = 14
};

/* Philox4x32 with 10 rounds. */
static inline PhiloxBlock philox4x32(const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (PhiloxBlock){{c0, c1, c2, c3}};
}

/* The block that belongs to (seed; purpose, identity, when). identity < 2^56. */
static inline PhiloxBlock rng_draw(uint64_t seed, uint32_t purpose, uint64_t identity, uint64_t when)
{
    const uint32_t counter[4] = {
        (uint32_t)identity,
        ((uint32_t)(identity >> 32) & 0x00FFFFFFu) | (purpose << 24),
        (uint32_t)when,
        (uint32_t)(when >> 32),
    };
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    return philox4x32(counter, key);
}

/* Uniform in (0, 1) from two words: 52 bits, never 0 or 1. */
static inline double rng_uniform(uint32_t high, uint32_t low)
{
    const uint64_t bits = 0x3FF0000000000000u | (((uint64_t)high << 32 | low) >> 12);
    double x; /* in [1, 2) */
    memcpy(&x, &bits, sizeof x);
    return x - (1.0 - 0x1p-53);
}

/* Two independent standard normal numbers from one block (Box-Muller). */
void rng_normal_pair(PhiloxBlock block, double out[2]);

#endif
