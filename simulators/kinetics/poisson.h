/*
 * Exact shot noise from tables.
 *
 * A mean lambda is split into the nearest level below it, (k/LEVELS_PER_ROOT)^2, whose Poisson
 * distribution is an alias table (Walker 1977, Vose 1991), and a rest that is inverted; sums of
 * Poisson numbers are Poisson numbers.  Probabilities are held to 2^-21 of a table entry or
 * better, the inversion to 2^-24.  Means beyond POISSON_TOP use a normal number with its skewness
 * corrected.  Electrons a pixel.
 */
#ifndef STMTEM_POISSON_H
#define STMTEM_POISSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEVELS_PER_ROOT 32
#define POISSON_TOP 8192.0f
#define POISSON_LEVELS 2900u /* more than LEVELS_PER_ROOT sqrt(POISSON_TOP) */
#define QUANTILES 4096u

/* Where the table of a level lies, in one word: the offset of its entries in the pool (32 bits),
 * the smallest number in the table (24) and the bits of a place in it (8).  An entry packs the
 * alias in the low bits of a place and the threshold of staying in the high ones. */
typedef uint64_t PoissonLevel;

typedef struct {
    PoissonLevel level[POISSON_LEVELS];
    size_t levels;              /* so many are there */
    uint32_t *pool;
    size_t used, room;
    float quantile[QUANTILES];  /* of the standard normal, at (i + 1/2)/QUANTILES */
} PoissonTables;

PoissonTables *poisson_create(void); /* NULL when memory is short */
void poisson_free(PoissonTables *t);

/* Have all levels up to this mean.  false when memory is short. */
bool poisson_prepare(PoissonTables *t, double mean);

#define TERMS_MOST 64u

/* Terms of the inversion (at most TERMS_MOST) that are needed for means up to this one. */
unsigned poisson_terms(float mean);

#endif
