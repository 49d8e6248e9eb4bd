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
 */
#ifndef STMTEM_IMAGE_H
#define STMTEM_IMAGE_H

#include <stdint.h>

#include "contrast.h"
#include "detector.h"

typedef struct {
    size_t height, width;
    double pixel;              /* nm */
    double origin_x, origin_y; /* nm, stage point in the middle of the picture */
} View;

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
} FrameRequest;

/* Lithium thickness, nm.  `out` has height*width elements.  false when memory is short. */
bool thickness_render(Model *m, const View *view, float *out);

/* One frame of counts.  false when memory is short. */
bool frame_render(Model *m, const FrameRequest *request, uint16_t *out);

void imaging_free(void *imaging);

/* ---- pieces shared by projection.c and scene.c ---- */

typedef struct {
    double x, y, z;         /* centre of the sphere, nm, y from the middle of all fibres */
    double radius;          /* outer sphere */
    double fibre_y, fibre_radius;
    double out_y, out_z;    /* outward direction at the particle */
    int faces;              /* 0 or 12 */
    double face[12][3], face_distance;
} Solid;

/* Length of the beam's path through the solid made smaller by `skin` on all free sides. */
double solid_path(const Solid *solid, double x, double y, double skin);

/* Add all particles: thickness in nm, or loss (-ln transmission) when `at` is given. */
void project_particles(Model *m, const View *view, const Attenuation *at, double energy_keV,
                       float *map);

/* Add the carbon fibres and the probe to the loss map. */
void draw_fibres(const Model *m, const View *view, const Attenuation *at, const float *texture,
                 float *edges, float *map);
void draw_probe(const Model *m, const FrameRequest *request, const Attenuation *at, float *map);

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
