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

/* Solve (C) for the eta at the end of the tick (implicit Euler, volumes of its start).
 * drive_V is D, or anything when open. */
double circuit_solve(const Model *m, bool open, double drive_V, double series);

/* Read the meter: tick averages, sign of the instrument; books the charge.  `faradaic` is the
 * mean of sum I over the tick, pA. */
void circuit_measure(Model *m, const Drive *drive, double bias, double eta_before, double faradaic,
                     double solved_eta, double series);

#endif
