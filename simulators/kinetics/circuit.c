#include "circuit.h"

#include <math.h>

#include "elementary.h"
#include "growth.h"

double circuit_solve(const Model *m, bool open, double drive_V, double series)
{
    const double capacity = m->par.double_layer_pF / m->par.tick_s; /* pA per V and tick */
    const double feed = open ? 0.0 : 1.0 / series;
    const double shunt = open ? 0.0 : 1.0 / m->d.parallel;
    const double drive = open ? 0.0 : drive_V;
    const double before = m->eta;
    const Particles *p = &m->particles;
    /* The residual rises with eta; these ends enclose its zero. */
    double low = -(fabs(drive) + fabs(before) + 1.0), high = -low, eta = before;
    for (int i = 0; i < 100; i++) {
        const GrowthConstants k = growth_constants(m, eta, 0.0);
        const CurrentSum sum = m->kernels->currents(&k, m->d.f, p->count, p->forward, p->backward,
                                                    p->resist, p->phi);
        const double residual =
            capacity * (eta - before) - (drive - eta) * feed + eta * shunt + sum.current;
        double next = eta - residual / (capacity + feed + shunt + sum.slope);
        if (residual > 0.0)
            high = eta;
        else
            low = eta;
        if (!(next >= low && next <= high))
            next = 0.5 * (low + high);
        const double step = fabs(next - eta);
        eta = next;
        if (step <= 1e-13 * (1.0 + fabs(eta)))
            break;
    }
    return eta;
}

void circuit_measure(Model *m, const Drive *drive, double bias, double eta_before, double faradaic,
                     double solved_eta, double series)
{
    const double tick = m->par.tick_s;
    const double charging = m->par.double_layer_pF * (m->eta - eta_before) / tick;
    double current = 0.0;
    m->kirchhoff = 0.0;
    if (!drive->open) {
        const double carbon = solved_eta / m->d.parallel;
        const double through = (-bias - solved_eta) / series;
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
