/*
 * Nucleation at fixed sites ("mixed" mode): each site i fires at the rate
 *   k_i = k0 e^(z_i) exp(-B ((eta_ref/eta)^2 - 1)),  eta > 0,
 * and 0 inside the exclusion zone of a particle.  Random time change: it fires when the integral
 * of k_i reaches a unit exponential drawn for (site, cycle), whatever the step.
 */
#ifndef STMTEM_NUCLEATION_H
#define STMTEM_NUCLEATION_H

#include "model.h"

/* Places, strengths and thresholds of all sites.  false when memory is short. */
bool sites_create(Model *m);
void sites_free(Sites *sites);

/* New thresholds for a new deposition half-cycle. */
void sites_rearm(Model *m);

/* Raise the hazards by one tick at m->eta and bring the fired sites to life; a nucleus grows over
 * what is left of its tick.  Returns the volume that took charge, nm3. */
double nucleation_step(Model *m, double beam);

#endif
