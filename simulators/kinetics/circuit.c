#include "circuit.h"

#include <math.h>

static double bounded_exp(double x)
{
    return exp(x > 300.0 ? 300.0 : (x < -300.0 ? -300.0 : x));
}

Exchange exchange_at(const Model *m, double eta)
{
    const double alpha = m->par.transfer_coefficient;
    const double x = m->d.f * eta;
    return (Exchange){bounded_exp(alpha * x), bounded_exp(-(1.0 - alpha) * x)};
}

/* exp(-alpha f G/R) and exp((1-alpha) f G/R) times j0 S. */
static void exchange_factors(const Model *m, double base, double tau, double radius,
                             double *forward, double *backward)
{
    const double alpha = m->par.transfer_coefficient;
    const double k = m->par.exchange_current_pA_nm2 * cap_free_area(base, tau);
    const double x = m->d.f * m->d.kelvin / radius;
    *forward = k * bounded_exp(-alpha * x);
    *backward = k * bounded_exp((1.0 - alpha) * x);
}

static double facet_factor_plate(const Model *m, double phi)
{
    return 1.0 - m->par.facet_growth_slowing * phi;
}

static double facet_factor_strip(const Model *m, double phi)
{
    return 1.0 - m->par.facet_strip_slowing * phi * phi * (3.0 - 2.0 * phi);
}

double particle_current(const Model *m, size_t i, Exchange x, double base, double tau,
                        double *unfaceted)
{
    double forward, backward;
    const double radius = cap_radius(base, tau);
    exchange_factors(m, base, tau, radius, &forward, &backward);
    forward *= x.up;
    backward *= x.down;
    const double feed = radius * m->particles.feed[i];
    const double current = (forward - backward) /
                           (1.0 + forward / (m->par.plating_limit_pA_nm * feed) +
                            backward / (m->par.stripping_limit_pA_nm * feed));
    const double phi = m->particles.phi[i];
    if (unfaceted)
        *unfaceted = current;
    return current *
           (current > 0.0 ? facet_factor_plate(m, phi) : facet_factor_strip(m, phi));
}

static void gather(Model *m)
{
    const Particles *p = &m->particles;
    Scratch *w = &m->scratch;
    for (size_t i = 0; i < p->count; i++) {
        const double radius = cap_radius(p->base[i], p->tau[i]);
        exchange_factors(m, p->base[i], p->tau[i], radius, &w->forward[i], &w->backward[i]);
        w->plating[i] = 1.0 / (m->par.plating_limit_pA_nm * radius * p->feed[i]);
        w->stripping[i] = 1.0 / (m->par.stripping_limit_pA_nm * radius * p->feed[i]);
        w->m_plate[i] = facet_factor_plate(m, p->phi[i]);
        w->m_strip[i] = facet_factor_strip(m, p->phi[i]);
    }
}

/* Sum of the particle currents and its slope at eta; no exponentials in the loop. */
static double total_current(const Model *m, double eta, double *slope)
{
    const Scratch *w = &m->scratch;
    const Exchange x = exchange_at(m, eta);
    const double up = m->d.f * m->par.transfer_coefficient;
    const double down = m->d.f * (1.0 - m->par.transfer_coefficient);
    double sum = 0.0, sum_slope = 0.0;
    for (size_t i = 0; i < m->particles.count; i++) {
        const double forward = w->forward[i] * x.up;
        const double backward = w->backward[i] * x.down;
        const double net = forward - backward;
        const double damping = 1.0 + forward * w->plating[i] + backward * w->stripping[i];
        const double factor = (net > 0.0 ? w->m_plate[i] : w->m_strip[i]) / damping;
        const double current = factor * net;
        const double damping_slope =
            forward * up * w->plating[i] - backward * down * w->stripping[i];
        sum += current;
        sum_slope += factor * (forward * up + backward * down) - current * damping_slope / damping;
    }
    *slope = sum_slope;
    return sum;
}

double circuit_solve(Model *m, bool open, double drive_V, double series)
{
    const double capacity = m->par.double_layer_pF / m->par.tick_s; /* pA per V and tick */
    const double feed = open ? 0.0 : 1.0 / series;
    const double shunt = open ? 0.0 : 1.0 / m->d.parallel;
    const double drive = open ? 0.0 : drive_V;
    const double before = m->eta;
    gather(m);
    /* The residual rises with eta; these ends enclose its zero. */
    double low = -(fabs(drive) + fabs(before) + 1.0), high = -low, eta = before;
    for (int i = 0; i < 100; i++) {
        double slope;
        const double currents = total_current(m, eta, &slope);
        const double residual =
            capacity * (eta - before) - (drive - eta) * feed + eta * shunt + currents;
        double next = eta - residual / (capacity + feed + shunt + slope);
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
        m->bias *= exp(-tick / (m->d.leak * m->par.stray_pF)); /* the cable leaks its charge */
    } else {
        m->bias = 0.0;
    }
    m->current = current;
    m->faradaic_current = faradaic;
    long_sum_add(&m->charge, current * tick);
}
