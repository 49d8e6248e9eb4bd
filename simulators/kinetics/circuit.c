#include "circuit.h"

#include <math.h>

#include "elementary.h"
#include "growth.h"

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

Relaxation circuit_solve(const Model *m, bool open, double drive_V, double series)
{
    const double feed = open ? 0.0 : 1.0 / series;
    const double shunt = open ? 0.0 : 1.0 / m->d.parallel;
    const double drive = open ? 0.0 : drive_V;
    const double capacity = m->par.double_layer_pF / m->par.tick_s; /* pA per V and tick */
    Relaxation r = {.before = m->eta};
    CurrentSum sum = currents_at(m, r.before);
    r.stiffness = fmin(fmax((feed + shunt + sum.slope) / capacity, 1e-3), 100.0);
    const double decay = elementary_exp(-r.stiffness);
    const double mean_share = (1.0 - decay) / r.stiffness;
    const double lag = (1.0 - decay) / (1.0 - mean_share);
    /* The residual rises with eta; these ends enclose its zero. */
    double low = -(fabs(drive) + fabs(r.before) + 1.0), high = -low, eta = r.before;
    double last = high - low;
    for (int i = 0; i < 100; i++) {
        if (i > 0)
            sum = currents_at(m, eta);
        const double residual = lag * capacity * (eta - r.before) - (drive - eta) * feed +
                                eta * shunt + sum.current;
        double next = eta - residual / (lag * capacity + feed + shunt + sum.slope);
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
    r.mean = eta;
    r.end = r.before + lag * (eta - r.before);
    r.rest = (eta - mean_share * r.before) / (1.0 - mean_share);
    return r;
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
