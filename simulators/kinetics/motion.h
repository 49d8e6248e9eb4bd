/*
 * Brownian motion of whole particles and their fusion.
 *
 * D_c = c_m D_s(R) (Omega^(1/3)/R)^4 (1-phi)^2 exp(-E_pin/kT): mean-field N^(-4/3) of cluster
 * diffusion by surface hops (Lai, Campbell, Evans 2023), slowed by functional groups and facets.
 * Two particles fuse when the gap of their contact lines is below touch_gap_nm.  nm and s.
 */
#ifndef STMTEM_MOTION_H
#define STMTEM_MOTION_H

#include "model.h"

/* Diffusivity of a whole particle, nm2/s; `mobility` multiplies the surface diffusivity. */
double particle_diffusivity(const Model *m, double radius, double phi, double mobility);

/* Life of a grain boundary in a particle of this radius, s. */
double boundary_life(const Model *m, double radius);

/* Fuse what touches, pairs in order of uid, until nothing touches.  false when memory is short. */
bool coalescence_step(Model *m, double mobility);

/* Make one particle of i and j; the larger one keeps its identity.  `time`: when they met, s.
 * Returns the index of the absorbed one, for the caller to remove. */
size_t fuse(Model *m, size_t i, size_t j, double time);

#endif
