/*
 * One particle's growth, as inline pieces: used by the kernels for whole blocks and by growth.c
 * for a particle that needs smaller steps than a tick.
 *
 *   F = j0 S exp(-alpha f G/R),  B = j0 S exp((1-alpha) f G/R)      (without the overpotential)
 *   I = m (F up - B down) / (1 + F up/(K_Lc R g) + B down/(K_La R g))                      (BV)
 */
#ifndef STMTEM_GROWTH_STEP_H
#define STMTEM_GROWTH_STEP_H

#include "elementary.h"
#include "geometry.h"
#include "kernels.h"

#define LARGEST_CHANGE 0.15 /* of the volume in one sub-step, by the rate at its start */
#define LARGEST_MEAN 0.25   /* and by the mean rate, for a whole tick at once */

typedef struct {
    double forward, backward, resist, inverse_radius;
} ExchangeFactors;

static inline ExchangeFactors exchange_factors(const GrowthConstants *k, double base, double tau,
                                               double feed)
{
    ExchangeFactors x;
    const double stretch = 1.0 + tau * tau;
    x.resist = 2.0 * tau / (base * stretch * feed);
    x.inverse_radius = x.resist * feed;
    const double strength = k->exchange * base * base * stretch;
    const double shift = k->capillary * x.inverse_radius;
    x.forward = strength * elementary_exp(-k->up_share * shift);
    x.backward = strength * elementary_exp(k->down_share * shift);
    return x;
}

/* Current without the facet factor, pA. */
static inline double free_current(const GrowthConstants *k, double forward, double backward,
                                  double resist)
{
    const double f = forward * k->up, b = backward * k->down;
    return (f - b) / (1.0 + resist * (f * k->plating + b * k->stripping));
}

/* The facet factor m for a current of this sign. */
static inline double facet_factor(const GrowthConstants *k, double phi, double current)
{
    const double plate = 1.0 - k->slow_growth * phi;
    const double strip = 1.0 - k->slow_strip * phi * phi * (3.0 - 2.0 * phi);
    return current > 0.0 ? plate : strip;
}

/* The cap at another volume, the contact line moved if it must.  The cube root and tau start
 * from the old ones: good to rounding for changes of up to 30 %. */
static inline Cap cap_near(const GrowthConstants *k, Cap old, double volume)
{
    Cap b;
    b.volume = volume;
    const double e = volume / old.volume - 1.0;
    const double g = old.size * (1.0 + e * (1.0 / 3.0 + e * (-1.0 / 9.0 + e * (5.0 / 81.0 +
                                 e * (-10.0 / 243.0)))));
    const double g3 = g * g * g;
    b.size = g * (g3 + 2.0 * volume) / (2.0 * g3 + volume);
    const double lowest = k->advancing * b.size, highest = k->receding * b.size;
    const double wide = old.base > lowest ? old.base : lowest;
    b.base = wide < highest ? wide : highest;
    /* tau^3 + 3 tau = 6V/(pi a^3), Halley's rule */
    const double q = volume * (6.0 / PI) / (b.base * b.base * b.base);
    double t = old.tau;
    for (int i = 0; i < 2; i++) {
        const double value = t * (t * t + 3.0) - q, slope = 3.0 * (t * t + 1.0);
        t -= value * slope / (slope * slope - 3.0 * t * value);
    }
    const double pinned = b.base < highest ? t : k->tau_receding;
    b.tau = b.base > lowest ? pinned : k->tau_advancing;
    return b;
}

#endif
