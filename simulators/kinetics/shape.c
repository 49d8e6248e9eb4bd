#include "shape.h"

#include <math.h>

#include "elementary.h"

int level_of(double phi)
{
    return phi >= PHI_COMPLETE ? 2 : (phi >= PHI_LOCAL ? 1 : 0);
}

ShapeConstants shape_constants(const Model *m, double mobility)
{
    return (ShapeConstants){
        .premelting = m->par.premelting_radius_nm,
        .mullins = mobility * m->d.mullins,
        .hop = mobility * m->d.hop,
        .rounding = m->par.rounding_factor,
        .flow = m->par.facet_flow_nm2_s,
        .local_share = m->par.local_facet_share,
        .local_ratio_2 = m->par.local_facet_ratio * m->par.local_facet_ratio,
        .feedback = m->par.switch_feedback,
        .switch_inverse = 1.0 / m->par.switch_ratio,
        .sharpness = m->par.switch_sharpness,
        .rate = m->par.switch_rate,
        .edge = m->par.facet_erosion,
        .tick = m->par.tick_s,
        .stripping = m->eta_mean < 0.0,
    };
}

double mullins_coefficient(const Model *m, double radius, double mobility)
{
    return mobility * m->d.mullins * model_size_factor(m, radius);
}

double facet_equilibrium(const Model *m, double x, double phi)
{
    const double ratio = m->par.local_facet_ratio;
    const double local = m->par.local_facet_share * x * x / (x * x + ratio * ratio);
    const double y = x * (1.0 + m->par.switch_feedback * phi) / m->par.switch_ratio;
    const double power = pow(y, m->par.switch_sharpness);
    return local + (1.0 - local) * (power < 1e300 ? power / (1.0 + power) : 1.0);
}

/* Share of the tick at which phi crossed `level`, its course being an exponential to a goal that
 * the two ends do not tell: taken as a straight line in phi, the difference is of second order. */
static double crossing_share(double before, double after, double level)
{
    const double share = (level - before) / (after - before);
    return share > 0.0 ? (share < 1.0 ? share : 1.0) : 0.0;
}

static void note_level(Model *m, size_t i, int level, double before, double begin)
{
    Particles *p = &m->particles;
    if (level == p->level[i] || !(p->volume[i] > 0.0))
        return;
    const bool rises = level > p->level[i];
    const int crossed = rises ? level : level + 1; /* the boundary next to where it is now */
    const double share =
        crossing_share(before, p->phi[i], crossed == 2 ? PHI_COMPLETE : PHI_LOCAL);
    model_log(m, begin + share * m->par.tick_s, rises ? EVENT_FACET_ON : EVENT_FACET_OFF,
              p->uid[i], level, p->volume[i], p->fibre[i]);
    p->level[i] = (signed char)level;
}

static void close_neck(Model *m, size_t i, double flattening)
{
    Particles *p = &m->particles;
    p->neck[i] *= elementary_exp(-flattening * m->par.tick_s / NECK_FACTOR);
    if (p->neck[i] * p->resist[i] * p->feed[i] < 0.01) /* of the radius */
        p->neck[i] = p->neck_share[i] = 0.0;
}

static void sweep_boundary(Model *m, size_t i, double begin)
{
    Particles *p = &m->particles;
    const double life = p->boundary_life[i];
    p->boundary_life[i] = life - m->par.tick_s;
    if (p->boundary_life[i] > 0.0)
        return;
    p->boundary_life[i] = 0.0;
    if (p->volume[i] > 0.0)
        model_log(m, begin + life, EVENT_BOUNDARY_END, p->uid[i], 0, p->volume[i], p->fibre[i]);
}

void shape_block(Model *m, const ShapeConstants *k, size_t start, size_t count,
                 const double *free_growth, double *spread)
{
    Particles *p = &m->particles;
    const double begin = model_time(m, m->tick);
    double before[BLOCK], flattening[BLOCK];
    signed char level[BLOCK];
    memcpy(before, p->phi + start, count * sizeof *before);
    m->kernels->facets(k, count, p->resist + start, p->feed + start, free_growth,
                       p->phi + start, level, flattening, spread);
    if (memcmp(level, p->level + start, count) != 0)
        for (size_t i = 0; i < count; i++)
            note_level(m, start + i, level[i], before[i], begin);
    if (!memchr(p->joined + start, 1, count))
        return;
    for (size_t i = 0; i < count; i++) {
        const size_t j = start + i;
        if (!p->joined[j])
            continue;
        if (p->neck[j] > 0.0)
            close_neck(m, j, flattening[i]);
        if (p->boundary_life[j] > 0.0)
            sweep_boundary(m, j, begin);
        p->joined[j] = p->neck[j] > 0.0 || p->boundary_life[j] > 0.0;
    }
}
