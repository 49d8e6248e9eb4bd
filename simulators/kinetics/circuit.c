#include "circuit.h"

#include <math.h>

#include "elementary.h"
#include "growth.h"

#define STIFFER 2.0 /* at the mean than at the start: once again with the greater stiffness */
#define PATIENCE 5 /* steps of Newton's rule before it must at least halve its steps */

/* Sum of the particle currents at eta and its slope, pA and pA/V. */
static CurrentSum currents_at(const Model *m, double eta)
{
    const Particles *p = &m->particles;
    const GrowthConstants k = growth_constants(m, eta, 0.0);
    CurrentSum sum = m->kernels->currents(&k, m->d.f, p->count, p->forward, p->backward,
                                          p->resist, p->phi);
    sum.current += 0.5 * m->trend;
    return sum;
}

/* Loads of the circuit besides the particles, 1/TOhm, and the drive, V. */
typedef struct {
    double drive, feed, shunt;
    double capacity; /* pA per V and tick */
} Loads;

/* The mean eta for a relaxation of this stiffness; *slope receives that of the currents there. */
static double mean_eta(const Model *m, const Loads *l, double lag, CurrentSum sum, double *slope)
{
    const double before = m->eta, held = lag * l->capacity + l->feed + l->shunt;
    /* The residual rises with eta; these ends enclose its zero. */
    double low = -(fabs(l->drive) + fabs(before) + 0.5 * fabs(m->trend) / held +
                   20.0 * m->d.kelvin + 1.0);
    double high = -low, eta = before, last = high - low;
    for (int i = 0; i < 200; i++) {
        if (i > 0)
            sum = currents_at(m, eta);
        const double residual = lag * l->capacity * (eta - before) - (l->drive - eta) * l->feed +
                                eta * l->shunt + sum.current;
        double next = eta - residual / (held + sum.slope);
        if (residual > 0.0)
            high = eta;
        else
            low = eta;
        /* Between the two limits of transport the curve is too bent for Newton's rule. */
        const bool halved = !(next >= low && next <= high) ||
                            (i >= PATIENCE && fabs(next - eta) > 0.5 * last);
        if (halved)
            next = 0.5 * (low + high);
        last = fabs(next - eta);
        eta = next;
        /* V: what is left after a step of Newton's of this size is below 4e-15 */
        if (last <= (halved ? 1e-15 : 1e-8))
            break;
    }
    *slope = sum.slope;
    return eta;
}

static double stiffness_at(const Loads *l, double slope)
{
    return fmin(fmax((l->feed + l->shunt + slope) / l->capacity, 1e-3), 100.0);
}

Relaxation circuit_solve(const Model *m, bool open, double drive_V, double series)
{
    const Loads loads = {
        .drive = open ? 0.0 : drive_V,
        .feed = open ? 0.0 : 1.0 / series,
        .shunt = open ? 0.0 : 1.0 / m->d.parallel,
        .capacity = m->par.double_layer_pF / m->par.tick_s,
    };
    Relaxation r = {.before = m->eta};
    const CurrentSum start = currents_at(m, r.before);
    r.stiffness = stiffness_at(&loads, start.slope);
    for (int pass = 0;; pass++) {
        double slope;
        const double decay = elementary_exp(-r.stiffness);
        const double mean_share = (1.0 - decay) / r.stiffness;
        const double lag = (1.0 - decay) / (1.0 - mean_share);
        r.mean = mean_eta(m, &loads, lag, start, &slope);
        r.end = r.before + lag * (r.mean - r.before);
        r.rest = (r.mean - mean_share * r.before) / (1.0 - mean_share);
        /* From a plateau of limited current into a steep part eta would shoot through. */
        const double there = stiffness_at(&loads, slope);
        if (pass > 0 || there <= STIFFER * r.stiffness)
            return r;
        r.stiffness = there;
    }
}

double relaxation_at(const Relaxation *r, double share)
{
    return r->rest + (r->before - r->rest) * elementary_exp(-r->stiffness * share);
}

void circuit_measure(Model *m, const Drive *drive, double bias, const Relaxation *eta,
                     double faradaic, double series)
{
    const double tick = m->par.tick_s;
    const double charging = m->par.double_layer_pF * (m->eta - eta->before) / tick;
    double current = 0.0;
    m->kirchhoff = 0.0;
    if (!drive->open) {
        const double carbon = eta->mean / m->d.parallel;
        const double through = (-bias - eta->mean) / series;
        const double scale = fmax(fmax(fabs(through), fabs(carbon)), fabs(faradaic));
        current = -(faradaic + carbon + charging);
        if (scale > 0.0)
            m->kirchhoff = (through + current) / scale;
    }
    if (!drive->terminals_off) {
        current += bias / m->d.leak + m->par.stray_pF * (bias - m->bias) / tick;
        m->bias = bias;
    } else if (m->par.stray_pF > 0.0) {
        m->bias *= elementary_exp(-tick / (m->d.leak * m->par.stray_pF)); /* the cable leaks its charge */
    } else {
        m->bias = 0.0;
    }
    m->current = current;
    m->faradaic_current = faradaic;
    long_sum_add(&m->charge, current * tick);
}
