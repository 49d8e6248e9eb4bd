/*
 * The electrical side: eq. (C) of one contact that all particles share, and Butler-Volmer with
 * both mass-transport limits and the Gibbs-Thomson shift for one particle.
 *
 *   C_dl d(eta)/dt = (D - eta)/R_s - eta/R_p - sum I_i(eta),   D = -U                      (C)
 *   I = m (F - B) / (1 + F/I_Lc + B/I_La)                                                 (BV)
 *   F = j0 S exp(alpha f (eta - G/R)),  B = j0 S exp(-(1-alpha) f (eta - G/R)),
 *   G = 2 gamma Omega/e0
 */
#ifndef STMTEM_CIRCUIT_H
#define STMTEM_CIRCUIT_H

#include "model.h"

/*
 * One tick of (C).  The volumes are those of its middle, as far as the growth of the last tick
 * foretells (trend); eta relaxes exponentially from `before` to `rest` with dt/tau = `stiffness`.
 * With phi = (1 - e^-r)/r and K = (1 - e^-r)/(1 - phi) the mean over the tick solves
 *   K C_dl (mean - before)/dt = (D - mean)/R_s - mean/R_p - sum I_i(mean)
 * and the end is before + K (mean - before): K = 1 is Euler's implicit rule (slow change), 2 the
 * midpoint rule (fine ticks).  The charge balance holds exactly for the mean.
 */
typedef struct {
    double before, mean, end, rest; /* V */
    double stiffness;
} Relaxation;

/* drive_V is D, or anything when open. */
Relaxation circuit_solve(const Model *m, bool open, double drive_V, double series);

/* eta at a share (0 ... 1) of the tick, V. */
double relaxation_at(const Relaxation *r, double share);

/* Read the meter: tick averages, sign of the instrument; books the charge.  `faradaic` is the
 * mean of sum I over the tick, pA. */
void circuit_measure(Model *m, const Drive *drive, double bias, const Relaxation *eta,
                     double faradaic, double series);

#endif
