#include "rng.h"

#include <math.h>

PhiloxBlock philox4x32(const uint32_t counter[4], const uint32_t key[2])
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

PhiloxBlock rng_draw(uint64_t seed, uint32_t purpose, uint64_t identity, uint64_t when)
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

double rng_uniform(uint32_t high, uint32_t low)
{
    const uint64_t bits = (((uint64_t)high << 32) | low) >> 12;
    return ((double)bits + 0.5) * 0x1p-52;
}

void rng_normal_pair(PhiloxBlock block, double out[2])
{
    const double radius = sqrt(-2.0 * log(rng_uniform(block.v[0], block.v[1])));
    const double angle = 6.283185307179586 * rng_uniform(block.v[2], block.v[3]);
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

Xoshiro rng_row_stream(uint64_t seed, uint64_t frame_index, uint32_t row)
{
    Xoshiro x;
    for (uint32_t half = 0; half < 2; half++) {
        const uint64_t place = ((uint64_t)half << 32) | row;
        const PhiloxBlock b = rng_draw(seed, DRAW_PIXELS, place, frame_index);
        x.s[2 * half] = ((uint64_t)b.v[0] << 32) | b.v[1];
        x.s[2 * half + 1] = ((uint64_t)b.v[2] << 32) | b.v[3];
    }
    x.s[0] |= 1u; /* the all-zero state is the one that xoshiro must not have */
    return x;
}
