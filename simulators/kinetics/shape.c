#include "shape.h"

#include <math.h>

#include "circuit.h"

#define LARGEST_CHANGE 0.15 /* of the volume in one sub-step */
#define MOST_SUBSTEPS 4000

typedef struct {
    double volume, base, tau;
    int side;
} Body;

/* Volume rate, nm3/s: by charge, and by the beam through *erosion. */
static double volume_rate(const Model *m, size_t i, Exchange x, Body b, double beam,
                          double *erosion)
{
    *erosion = m->par.beam_erosion_nm3 * beam * PI * b.base * b.base;
    return m->d.faraday * particle_current(m, i, x, b.base, b.tau, NULL);
}

static Body moved_to(const Model *m, Body b, double volume)
{
    b.volume = volume;
    b.tau = contact_line_slide(&m->d.line, volume, &b.base, &b.side);
    return b;
}

/* One particle over one tick.  Returns the volume lost to the beam; the body may end empty. */
static double grow_one(const Model *m, size_t i, Exchange x, double beam, Body *body)
{
    double left = m->par.tick_s, lost = 0.0;
    Body b = *body;
    for (int n = 0; n < MOST_SUBSTEPS && left > 0.0; n++) {
        double erosion, erosion_2;
        const double rate = volume_rate(m, i, x, b, beam, &erosion);
        const double change = rate - erosion;
        double step = left;
        if (fabs(change) * step > LARGEST_CHANGE * b.volume)
            step = LARGEST_CHANGE * b.volume / fabs(change);
        const Body ahead = moved_to(m, b, b.volume + step * change);
        const double rate_2 = volume_rate(m, i, x, ahead, beam, &erosion_2);
        const double mean = 0.5 * (change + rate_2 - erosion_2);
        const double taken = 0.5 * (erosion + erosion_2) * step;
        b = moved_to(m, b, b.volume + step * mean);
        lost += taken;
        left -= step;
        if (mean < 0.0 && b.volume < m->d.gone_volume) {
            b.volume = 0.0;
            break;
        }
    }
    *body = b;
    return lost;
}

double growth_step(Model *m, double beam)
{
    Particles *p = &m->particles;
    const Exchange x = exchange_at(m, m->eta);
    const double tick = m->par.tick_s, end = model_time(m, m->tick + 1);
    double sum = 0.0;
    for (size_t i = p->count; i-- > 0;) {
        Body b = {p->volume[i], p->base[i], p->tau[i], p->side[i]};
        const double before = b.volume;
        const double eroded = grow_one(m, i, x, beam, &b);
        const double by_charge = b.volume - before + eroded;
        model_set_volume(m, i, b.volume);
        if (eroded > 0.0) {
            long_sum_add(&m->eroded, eroded);
            long_sum_add(&m->net_volume, eroded);
            long_sum_add(by_charge > 0.0 ? &m->deposited : &m->stripped_volume,
                         by_charge > 0.0 ? eroded : -eroded);
        }
        sum += by_charge;
        p->current[i] = by_charge / (m->d.faraday * tick);
        if (b.volume > 0.0) {
            double unfaceted;
            (void)particle_current(m, i, x, b.base, b.tau, &unfaceted);
            p->free_growth[i] = unfaceted * m->d.faraday * cap_radius(b.base, b.tau) /
                                (3.0 * b.volume);
            p->base[i] = b.base;
            p->tau[i] = b.tau;
            if (b.side < 0 && p->side[i] >= 0)
                model_log(m, end, EVENT_DEPIN, p->uid[i], 0, b.volume, p->fibre[i]);
            p->side[i] = b.side;
            continue;
        }
        model_log(m, end, EVENT_GONE, p->uid[i], 0, before, p->fibre[i]);
        particles_remove(p, i);
    }
    return sum;
}

double mullins_coefficient(const Model *m, double radius, double beam)
{
    return beam * m->d.mullins * model_size_factor(m, radius);
}

double facet_equilibrium(const Model *m, double x, double phi)
{
    const double ratio = m->par.local_facet_ratio;
    const double local = m->par.local_facet_share * x * x / (x * x + ratio * ratio);
    const double y = x * (1.0 + m->par.switch_feedback * phi) / m->par.switch_ratio;
    const double power = pow(y, m->par.switch_sharpness);
    return local + (1.0 - local) * (power < 1e300 ? power / (1.0 + power) : 1.0);
}

static void facet_order(Model *m, size_t i, double radius, double rounding_coefficient)
{
    Particles *p = &m->particles;
    const double tick = m->par.tick_s, square = radius * radius;
    const double speed = p->free_growth[i];
    const double k_round = m->par.rounding_factor * rounding_coefficient / (square * square);
    if (speed < 0.0 && m->eta < 0.0) { /* stripping: the edges dissolve first */
        const double rate = k_round + m->par.facet_erosion * fabs(speed) / radius;
        p->phi[i] *= exp(-rate * tick);
        if (p->phi[i] < 1e-12)
            p->phi[i] = 0.0;
        return;
    }
    const double k_facet =
        (m->par.facet_flow_nm2_s + radius * fmax(speed, 0.0)) / square;
    const double goal = k_round > 0.0 ? facet_equilibrium(m, k_facet / k_round, p->phi[i]) : 1.0;
    const double rate = m->par.switch_rate * (k_facet + k_round);
    p->phi[i] = goal + (p->phi[i] - goal) * exp(-rate * tick);
}

int level_of(double phi)
{
    return phi >= PHI_COMPLETE ? 2 : (phi >= PHI_LOCAL ? 1 : 0);
}

static void facet_events(Model *m, size_t i, double time)
{
    Particles *p = &m->particles;
    const int level = level_of(p->phi[i]);
    if (level == p->level[i])
        return;
    model_log(m, time, level > p->level[i] ? EVENT_FACET_ON : EVENT_FACET_OFF, p->uid[i], level,
              p->volume[i], p->fibre[i]);
    p->level[i] = level;
}

void shape_step(Model *m, double beam)
{
    Particles *p = &m->particles;
    const double tick = m->par.tick_s, end = model_time(m, m->tick + 1);
    for (size_t i = 0; i < p->count; i++) {
        const double radius = cap_radius(p->base[i], p->tau[i]);
        const double coefficient = mullins_coefficient(m, radius, beam);
        facet_order(m, i, radius, coefficient);
        facet_events(m, i, end);
        if (p->neck[i] > 0.0) {
            const double square = radius * radius;
            p->neck[i] *= exp(-coefficient * tick / (0.89 * square * square));
            if (p->neck[i] < 0.01 * radius)
                p->neck[i] = p->neck_share[i] = 0.0;
        }
        if (p->boundary_life[i] > 0.0) {
            p->boundary_life[i] -= tick;
            if (p->boundary_life[i] <= 0.0) {
                p->boundary_life[i] = 0.0;
                model_log(m, end, EVENT_BOUNDARY_END, p->uid[i], 0, p->volume[i], p->fibre[i]);
            }
        }
    }
}
