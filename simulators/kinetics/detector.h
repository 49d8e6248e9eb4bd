/*
 * From expected electrons to counts.
 *
 * Shot noise is exactly Poisson: a mean is split into grid means whose distributions are
 * tabulated (Walker/Vose alias tables) and a rest below 1/16 that is inverted; sums of Poisson
 * numbers are Poisson numbers.  Means above 8192 use a normal number with skewness corrected.
 */
#ifndef STMTEM_DETECTOR_H
#define STMTEM_DETECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rng.h"

typedef struct PoissonTables PoissonTables;

PoissonTables *poisson_tables_create(void); /* NULL when memory is short */
void poisson_tables_free(PoissonTables *t);

/* Make `mean` (electrons a pixel in vacuum) the one that has a table of its own. */
void poisson_tables_vacuum(PoissonTables *t, double mean);

/* Draw one row of electrons. */
void poisson_row(const PoissonTables *t, Xoshiro *stream, size_t width, const float *mean,
                 uint16_t *counts);

typedef struct {
    bool ccd;       /* else each electron is one count, without gain, offset or spread */
    double gain;    /* counts per electron */
    double offset;  /* counts */
    double readout; /* counts rms */
    double spread;  /* share of a pixel's charge that each of the two neighbours in a line gets */
} Detector;

/* Camera with charge spread, gain, offset and readout noise, applied to a whole frame of
 * electrons in place.  `rows` holds 4*width floats.  */
void ccd_frame(const PoissonTables *t, const Detector *detector, uint64_t seed, uint64_t index,
               size_t height, size_t width, uint16_t *frame, float *rows);

#endif
