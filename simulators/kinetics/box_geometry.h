/*
 * Particles of the reaction box and their distances, as its hot loops see them.
 *
 * Lengths in any one unit.  Positions are not folded back into the box: the nearest image is
 * taken of differences, so that a walk shows its whole way.
 */
#ifndef STMTEM_BOX_GEOMETRY_H
#define STMTEM_BOX_GEOMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOX_TILE ((size_t)64)  /* particles that are moved at a time */
#define BOX_BLOCK ((size_t)64) /* pairs that are looked at at a time */

/* What a draw is for; see rng.h. */
enum { DRAW_BOX_PLACE = 32, DRAW_BOX_STEP = 33 };

typedef struct BoxMove {
    size_t count; /* of particles, whole tiles; a NaN position stays one */
    const uint64_t *uid;
    double *x[3];           /* the third is NULL in two dimensions */
    const double *start[3]; /* where they were when the pairs were listed */
    uint64_t seed, step;
    double spread;     /* rms displacement along an axis */
    double far_square; /* square of the way that a particle may go before pairs are listed anew */
} BoxMove;

typedef struct BoxPairs {
    size_t count; /* of pairs, whole blocks */
    const int32_t *a, *b;
    const double *x[3]; /* the third is NULL in two dimensions */
    double length, per_length;
    double near_square;
} BoxPairs;

/* Difference of two coordinates, to the nearest periodic image. */
static inline double box_nearest(double difference, double length, double per_length)
{
    const double periods = (difference * per_length + 0x1.8p52) - 0x1.8p52; /* see elementary.h */
    return difference - length * periods;
}

/* Square of the distance of two particles; the pairs of `p` are not used. */
static inline double box_square(const BoxPairs *p, size_t a, size_t b)
{
    double sum = 0.0;
    for (size_t axis = 0; axis < 3 && p->x[axis]; axis++) {
        const double d =
            box_nearest(p->x[axis][b] - p->x[axis][a], p->length, p->per_length);
        sum += d * d;
    }
    return sum;
}

#endif
