/*
 * Rows of pictures: the loops behind image.c, in several builds of the same source like those of
 * kernels.h, all with the same bits.
 */
#ifndef STMTEM_ROWS_H
#define STMTEM_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "poisson.h"

/* A sphere cut by planes, standing on a fibre; nm, see image.h. */
typedef struct {
    double x, y, z;         /* centre of the sphere, y from the middle of all fibres */
    double radius;          /* outer sphere */
    double fibre_y, fibre_radius;
    double out_y, out_z;    /* outward direction at the particle */
    int faces, above;       /* 0 or 12; the first so many look up along the beam */
    double face[12][3], face_distance;
    double inverse[12];     /* 1/n_z of each face, bounded */
} Solid;

/* Key of a picture row's random numbers. */
typedef struct {
    uint64_t seed, index;
    uint32_t row, purpose;
} RowKey;

typedef struct RowKernels {
    /* Length of the beam's path through the solid at y and x0, x0 + dx, ..., and, if `core` is
     * not NULL, through the solid made smaller by `skin` on all free sides; nm. */
    void (*path)(const Solid *solid, double skin, double x0, double dx, double y, size_t count,
                 float *out, float *core);

    /* mean[i] = vacuum exp(-(loss - fringe)), fringe = strength laplace(loss) within -0.4 ...
     * 0.3; `above` and `below` are the neighbouring rows. */
    void (*transmit)(size_t width, const float *above, const float *here, const float *below,
                     float strength, float vacuum, float *mean);

    /* Electrons of one row. */
    void (*electrons)(const PoissonTables *t, const RowKey *key, unsigned terms, size_t width,
                      const float *mean, float *counts);

    /* Horizontal half of the charge spread. */
    void (*spread)(size_t width, float share, const float *counts, float *out);

    /* Vertical half, gain, offset and readout noise. */
    void (*readout)(const PoissonTables *t, const RowKey *key, size_t width, float share,
                    float gain, float offset, float noise, const float *above, const float *here,
                    const float *below, uint16_t *out);

    /* Counts as they are, up to 65535. */
    void (*count)(size_t width, const float *counts, uint16_t *out);
} RowKernels;

/* By the name of the set of instructions, as kernels_named(). */
const RowKernels *row_kernels_named(const char *name);

#endif
