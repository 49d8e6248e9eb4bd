/*
 * Where particles are: Brownian steps of whole particles, contact, fusion, and the cell list.
 *
 * D_c = c_m D_s(R) (Omega^(1/3)/R)^4 (1-phi)^2 exp(-E_pin/kT): mean-field N^(-4/3) of cluster
 * diffusion by surface hops (Lai, Campbell, Evans 2023), slowed by functional groups and facets.
 * Two particles fuse when the gap of their contact lines is below touch_gap_nm.
 */
#ifndef STMTEM_MOTION_H
#define STMTEM_MOTION_H

#include "model.h"

/* Shortest way around the fibre, in [-period/2, period/2]. */
double around_distance(double dy, double period);

/* Sort points into cells of about their mean spacing.  false when memory is short. */
bool grid_build(Grid *g, const Parameters *par, double period, size_t count, const size_t *fibre,
                const double *s, const double *y);
void grid_free(Grid *g);

/* The cells that a circle touches. */
typedef struct {
    size_t first_s, first_y, wide_y, cells, base;
} GridWindow;

GridWindow grid_window(const Grid *g, size_t fibre, double s, double y, double reach);

static inline size_t grid_window_cell(const Grid *g, const GridWindow *w, size_t k)
{
    const size_t row = (w->first_y + k % w->wide_y) % g->around;
    return w->base + (w->first_s + k / w->wide_y) * g->around + row;
}

/* Diffusivity of a whole particle, nm2/s, for a surface diffusivity enhanced by `beam` (>= 1). */
double particle_diffusivity(const Model *m, double radius, double phi, double beam);

/* One Brownian step of every particle, keyed by (seed, uid, tick). */
void motion_step(Model *m, double beam);

/* Fuse what touches, pairs in order (i, j), until nothing touches.  false when memory is short. */
bool coalescence_step(Model *m);

/* Make one particle of i and j; the larger one keeps its identity.  Returns the index that the
 * absorbed one had, for the caller to remove. */
size_t fuse(Model *m, size_t i, size_t j);

#endif
