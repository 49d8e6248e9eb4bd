/*
 * One tick of all particles: volume and contact line, facets, necks and grain boundaries, and the
 * Brownian step; block by block, so that a block stays in the cache.
 *
 * Volume: Heun at the overpotential of the tick, in sub-steps of at most 15 % of the volume, the
 * contact line moved inside the right-hand side; the step ends exactly where the volume does.
 */
#ifndef STMTEM_GROWTH_H
#define STMTEM_GROWTH_H

#include "model.h"

/* Constants at an overpotential (V) and a beam (e/(nm2 s)). */
GrowthConstants growth_constants(const Model *m, double eta, double beam);

/* Fill forward, backward and resist of particle i after its shape was set. */
void exchange_refresh(Model *m, size_t i);

/* Advance all particles by one tick at m->eta_mean; takes the gone ones away.  `mobility` multiplies
 * the surface diffusivity.  Returns the volume gained by charge, nm3. */
double particles_step(Model *m, double beam, double mobility);

/* Let a newborn particle grow for `seconds`.  Returns the volume gained by charge, nm3. */
double growth_catch_up(Model *m, size_t i, double beam, double seconds);

#endif
