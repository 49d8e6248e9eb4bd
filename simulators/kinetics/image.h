/*
 * The picture: lithium thickness projected along the beam, and a frame of counts.
 *
 * View coordinates: x to the right along the fibres, y up, nm, (0, 0) in the middle of the
 * picture; row 0 is the top row.  The beam runs along z.  x = 0 is the middle of the fibre, y = 0
 * the middle of all fibres; origin moves the picture over the specimen (drift).
 * A particle is the part of its sphere that lies outside the fibre (with phi > 0.1 cut by the
 * {110} planes of its lattice), scaled so that the sum over pixels is its volume.  An image mean is
 *   N0 exp(-t_C/l_C - T/l_Li - t_oxide/l_oxide) (1 - diffracted share of the grain)
 * times, out of focus, 1 + lambda df/(2 pi) laplace(phase), the first order of transport of
 * intensity; the phase is taken as proportional to the loss.
 * Rows are shared out to threads; the number of threads changes no bit.
 */
#ifndef STMTEM_IMAGE_H
#define STMTEM_IMAGE_H

#include <stdint.h>

#include "contrast.h"
#include "rows.h"

typedef struct {
    size_t height, width;
    double pixel;              /* nm */
    double origin_x, origin_y; /* nm, stage point in the middle of the picture */
} View;

typedef struct {
    bool ccd;       /* else each electron is one count, without gain, offset or spread */
    double gain;    /* counts per electron */
    double offset;  /* counts */
    double readout; /* counts rms */
    double spread;  /* share of a pixel's charge that each of the two neighbours in a line gets */
} Detector;

typedef struct {
    View view;
    double electrons_per_A2; /* on the specimen, this exposure */
    uint64_t index;          /* names the noise */
    double energy_keV;
    double underfocus;       /* nm; Fresnel fringes at edges, 0 for none */
    Detector detector;
    bool probe;              /* the tip is in the picture */
    double probe_x, probe_y; /* of its apex, view coordinates, nm */
    double probe_axis_rad;   /* direction of its body from the apex */
    size_t threads;
} FrameRequest;

/* Lithium thickness, nm.  `out` has height*width elements.  false when memory is short. */
bool thickness_render(Model *m, const View *view, float *out);

/* One frame of counts.  false when memory is short. */
bool frame_render(Model *m, const FrameRequest *request, uint16_t *out);

/* Add the expected electrons of this instant to `sum`; for an exposure over several.  false when
 * memory is short. */
bool means_add(Model *m, const FrameRequest *request, float *sum);

/* Counts that the detector makes of expected electrons (as a map); `index` and `purpose` name the
 * noise, pictures of different kinds have different purposes.  false when memory is short. */
typedef struct {
    const float *mean; /* height*width */
    size_t height, width;
    uint64_t index;
    uint32_t purpose;  /* DRAW_PIXELS or another of rng.h; the readout takes the next one */
    const Detector *detector;
    size_t threads;
} CountsRequest;

bool counts_render(Model *m, const CountsRequest *request, uint16_t *out);

void imaging_free(void *imaging);

#define SKIN_NM 3.5 /* oxide on lithium in the residual gas of the column */

/* ---- pieces shared by projection.c and scene.c ---- */

/* The particles of a picture: boxes of pixels and what they hold. */
typedef struct {
    size_t particle;
    size_t first_row, last_row, first_column, last_column; /* in the view, inclusive */
    size_t offset; /* of its pixels in the pool */
} Patch;

typedef struct {
    Patch *patch;
    size_t count, room;
    float *pool;    /* what is drawn, `pixels` of them, and as many for work */
    size_t pixels, room_pool;
} Patches;

void patches_free(Patches *patches);

/* Draw all particles that are in the view: thickness in nm, or loss (-ln transmission) when `at`
 * is given.  false when memory is short. */
bool patches_draw(const Model *m, const RowKernels *rows, const View *view, const Attenuation *at,
                  double energy_keV, size_t threads, Patches *patches);

/* Add the parts that lie in this row of the picture. */
void patches_add(const Patches *patches, size_t row, float *line);

/* Add the carbon fibres to the loss map.  `edges` has room for two rows. */
void draw_fibres(const Model *m, const View *view, const Attenuation *at, const float *texture,
                 float *edges, float *map);

#define BUMP_ROOM 2048

/* The tip in a picture. */
typedef struct {
    double bumps[2][BUMP_ROOM]; /* roughness of its coat along both sides, nm, one a pixel */
} Tip;

void tip_shape(const Model *m, const FrameRequest *request, Tip *tip);
void tip_add(const FrameRequest *request, const Tip *tip, const Attenuation *at, size_t row,
             float *line);

#define TEXTURE_SIZE 128u
void texture_fill(uint64_t seed, float *texture);

double fibre_centre(const Model *m, size_t fibre);

static inline double view_x(const View *v, size_t column)
{
    return v->origin_x + ((double)column + 0.5 - 0.5 * (double)v->width) * v->pixel;
}

static inline double view_y(const View *v, size_t row)
{
    return v->origin_y - ((double)row + 0.5 - 0.5 * (double)v->height) * v->pixel;
}

#endif
