#include "rng.h"

#include <math.h>

#include "elementary.h"

void rng_normal_pair(PhiloxBlock block, double out[2])
{
    const double radius = sqrt(-2.0 * elementary_log(rng_uniform(block.v[0], block.v[1])));
    double sine, cosine;
    elementary_turn(rng_uniform(block.v[2], block.v[3]), &sine, &cosine);
    out[0] = radius * cosine;
    out[1] = radius * sine;
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
