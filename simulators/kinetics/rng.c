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
