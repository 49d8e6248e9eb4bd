/*
 * How particles change: volume, contact line, facets, neck, grain boundary.
 *
 * Volume: Heun at the eta of the tick, with sub-steps of at most 15 % of the volume, the contact
 * line moved inside the right-hand side; the step ends exactly where the volume does.
 * Facets: with x = k_f/k_r of facet development k_f = (kappa + R v)/R^2 and rounding
 * k_r = c_r B/R^4 (Mullins), B = D_s gamma Omega^(4/3)/(kB T),
 *   phi_L = share x^2/(x^2 + x_L^2),  y = x (1 + b phi)/x_G,
 *   phi_eq = phi_L + (1 - phi_L) y^m/(1 + y^m),   d phi/dt = M (k_f + k_r)(phi_eq - phi);
 *   while stripping d phi/dt = -phi (k_r + beta |v|/R).
 * Neck: exp(-t/tau), tau = 0.89 R^4/B (Nichols and Mullins 1965).
 */
#ifndef STMTEM_SHAPE_H
#define STMTEM_SHAPE_H

#include "model.h"

/* Order parameters at which a droplet counts as locally and as completely faceted. */
#define PHI_LOCAL 0.10
#define PHI_COMPLETE 0.60

/* 0 droplet, 1 local facets, 2 faceted. */
int level_of(double phi);

/* Grow or dissolve all particles over one tick; takes the gone ones away.
 * Returns the volume change by charge, nm3 (erosion by the beam is booked apart). */
double growth_step(Model *m, double beam);

/* Facet order, neck, grain boundary and contact-line events of all particles. */
void shape_step(Model *m, double beam);

/* Mullins' B(R), nm4/s, for a surface diffusivity enhanced by `beam` (>= 1). */
double mullins_coefficient(const Model *m, double radius, double beam);

/* Order parameter that phi relaxes to while the particle grows or rests. */
double facet_equilibrium(const Model *m, double x, double phi);

#endif
