#include "shape.h"

#include <math.h>

#include "elementary.h"
#include "facet_step.h"

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

/* How long after the start of the tick phi came to `level` on its way from `before`, s. */
static double crossing_time(const Model *m, const ShapeConstants *k, size_t i, double before,
                            double level, double flattening, double speed)
{
    const Particles *p = &m->particles;
    double aim, rate;
    facet_course(k, p->resist[i] * p->feed[i], flattening, speed, before, &aim, &rate);
    const double ratio = (before - aim) / (level - aim);
    const double time = ratio > 1.0 && rate > 0.0 ? elementary_log(ratio) / rate : 0.0;
    return time < k->tick ? time : k->tick;
}

/* What happened to one particle of a block. */
typedef struct {
    size_t index;
    int level;
    double before, flattening, speed;
} FacetChange;

static void note_level(Model *m, const ShapeConstants *k, FacetChange c)
{
    Particles *p = &m->particles;
    const size_t i = c.index;
    if (c.level == p->level[i] || !(p->volume[i] > 0.0))
        return;
    const bool rises = c.level > p->level[i];
    const int crossed = rises ? c.level : c.level + 1; /* the boundary next to where it is now */
    const double after = crossing_time(m, k, i, c.before, crossed == 2 ? PHI_COMPLETE : PHI_LOCAL,
                                       c.flattening, c.speed);
    model_log(m, model_time(m, m->tick) + after, rises ? EVENT_FACET_ON : EVENT_FACET_OFF,
              p->uid[i], c.level, p->volume[i], p->fibre[i]);
    p->level[i] = (signed char)c.level;
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
            note_level(m, k, (FacetChange){start + i, level[i], before[i], flattening[i],
                                           free_growth[i]});
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
