/*
 * Where the facet order of one particle goes, as an inline piece: used by the kernels for whole
 * blocks and by shape.c for the time of an event.  Equations: shape.h.
 */
#ifndef STMTEM_FACET_STEP_H
#define STMTEM_FACET_STEP_H

#include "elementary.h"
#include "kernels.h"

/* phi relaxes to *aim at *rate (1/s); `inverse` is 1/R, `flattening` B/R^4, `speed` dR/dt without
 * facets. */
static inline void facet_course(const ShapeConstants *k, double inverse, double flattening,
                                double speed, double phi, double *aim, double *rate)
{
    const double round = k->rounding * flattening;
    const double advance = speed > 0.0 ? speed : 0.0;
    const double facet = (k->flow * inverse + advance) * inverse;
    const double plain = facet / (round > 1e-290 ? round : 1e-290);
    const double x = plain < 1e60 ? plain : 1e60;
    const double local = k->local_share * x * x / (x * x + k->local_ratio_2);
    const double y = x * (1.0 + k->feedback * phi) * k->switch_inverse;
    const double power = elementary_exp(k->sharpness * elementary_log(y > 1e-60 ? y : 1e-60));
    const double goal = local + (1.0 - local) * (power / (1.0 + power));
    /* stripping: the edges dissolve first */
    const double slowest = k->stripping ? 0.0 : -INFINITY;
    const double strip_rate = round - k->edge * speed * inverse;
    *aim = speed < slowest ? 0.0 : goal;
    *rate = speed < slowest ? strip_rate : k->rate * (facet + round);
}

#endif
