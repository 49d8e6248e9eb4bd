/*
 * Nucleation at fixed sites ("mixed" mode): each site i fires at the rate
 *   k_i = k0 e^(z_i) exp(-B ((eta_ref/eta)^2 - 1)),  eta > 0,
 * and 0 inside the exclusion zone of a particle.  Random time change: it fires when the integral
 * of k_i reaches a unit exponential drawn for (site, cycle), whatever the step.
 */
#ifndef STMTEM_NUCLEATION_H
#define STMTEM_NUCLEATION_H

#include "circuit.h"
#include "model.h"

/* Places, strengths and thresholds of all sites.  false when memory is short. */
bool sites_create(Model *m);
void sites_free(Sites *sites);

/* New thresholds for a new deposition half-cycle. */
void sites_rearm(Model *m);

/* Rate of a site of average strength at this overpotential (V), 1/s; 0 unless eta > 0. */
double nucleation_rate(const Model *m, double eta);

/* Radius of the critical nucleus, nm, and volume of a new one, nm3, at this overpotential (V). */
double critical_radius(const Model *m, double eta);
double nucleus_volume(const Model *m, double eta);

/* Raise the hazards by one tick under the overpotential that relaxes as told and bring the fired sites to life; a nucleus grows over
 * what is left of its tick.  Returns the volume that took charge, nm3. */
double nucleation_step(Model *m, const Relaxation *eta, double beam);

#endif
