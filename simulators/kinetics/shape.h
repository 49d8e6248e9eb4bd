/*
 * Facets, necks and grain boundaries.
 *
 * With x = k_f/k_r of facet development k_f = (kappa + R v)/R^2 and rounding k_r = c_r B/R^4
 * (Mullins 1957), B = D_s gamma Omega^(4/3)/(kB T) exp(min(R_D/R, 6)):
 *   phi_L = share x^2/(x^2 + x_L^2),  y = x (1 + b phi)/x_G,
 *   phi_eq = phi_L + (1 - phi_L) y^m/(1 + y^m),   d phi/dt = M (k_f + k_r)(phi_eq - phi);
 *   while stripping d phi/dt = -phi (k_r + beta |v|/R).
 * Neck: exp(-t/tau), tau = 0.89 R^4/B (Nichols and Mullins 1965).  nm and s.
 */
#ifndef STMTEM_SHAPE_H
#define STMTEM_SHAPE_H

#include "model.h"

/* Order parameters at which a droplet counts as locally and as completely faceted. */
#define PHI_LOCAL 0.10
#define PHI_COMPLETE 0.60

#define NECK_FACTOR 0.89

/* 0 droplet, 1 local facets, 2 faceted. */
int level_of(double phi);

/* `mobility` multiplies the surface diffusivity. */
ShapeConstants shape_constants(const Model *m, double mobility);

/* Facets, necks and boundaries of a block over one tick, after its growth (dR/dt without facets,
 * nm/s); `spread` receives the rms of the Brownian step to come, nm. */
void shape_block(Model *m, const ShapeConstants *k, size_t start, size_t count,
                 const double *free_growth, double *spread);

/* B for particles of this radius, nm4/s. */
double mullins_coefficient(const Model *m, double radius, double mobility);

/* phi towards which a particle goes while depositing or at rest. */
double facet_equilibrium(const Model *m, double x, double phi);

#endif
