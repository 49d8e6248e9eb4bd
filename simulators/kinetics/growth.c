#include "growth.h"

#include <math.h>

#include "growth_step.h"
#include "motion.h"
#include "shape.h"

#define MOST_SUBSTEPS 4000

GrowthConstants growth_constants(const Model *m, double eta, double beam)
{
    const double alpha = m->par.transfer_coefficient, x = m->d.f * eta;
    return (GrowthConstants){
        .up_share = alpha,
        .down_share = 1.0 - alpha,
        .exchange = PI * m->par.exchange_current_pA_nm2,
        .capillary = m->d.f * m->d.kelvin,
        .plating = 1.0 / m->par.plating_limit_pA_nm,
        .stripping = 1.0 / m->par.stripping_limit_pA_nm,
        .slow_growth = m->par.facet_growth_slowing,
        .slow_strip = m->par.facet_strip_slowing,
        .up = elementary_exp(alpha * x),
        .down = elementary_exp((alpha - 1.0) * x),
        .faraday = m->d.faraday,
        .erosion = PI * m->par.beam_erosion_nm3 * beam,
        .advancing = m->d.line.slide_advancing,
        .receding = m->d.line.slide_receding,
        .tau_advancing = m->d.line.tau_advancing,
        .tau_receding = m->d.line.tau_receding,
        .gone = m->d.gone_volume,
        .tick = m->par.tick_s,
    };
}

void exchange_refresh(Model *m, size_t i)
{
    Particles *p = &m->particles;
    const GrowthConstants k = growth_constants(m, 0.0, 0.0);
    const ExchangeFactors x = exchange_factors(&k, p->base[i], p->tau[i], p->feed[i]);
    p->forward[i] = x.forward;
    p->backward[i] = x.backward;
    p->resist[i] = x.resist;
}

/* What happens to one particle in smaller steps. */
typedef struct {
    Cap cap;
    double eroded;   /* nm3 */
    double time;     /* done, s */
    double depinned; /* time at which the line began to recede; negative: it did not */
    bool gone;       /* at `time` */
} Alone;

/* Volume rates at a cap: all of it, and what the beam takes, nm3/s. */
static double rate_at(const GrowthConstants *k, Cap cap, double feed, double phi, double *erosion)
{
    const ExchangeFactors x = exchange_factors(k, cap.base, cap.tau, feed);
    const double current = free_current(k, x.forward, x.backward, x.resist);
    *erosion = k->erosion * cap.base * cap.base;
    return k->faraday * current * facet_factor(k, phi, current) - *erosion;
}

/* The cap at any other volume, from scratch where the step is a large one. */
static Cap cap_moved(const Model *m, const GrowthConstants *k, Cap old, double volume)
{
    if (fabs(volume - old.volume) <= 0.3 * old.volume)
        return cap_near(k, old, volume);
    return cap_resting(&m->d.line, volume > 0.0 ? volume : 1e-9 * k->gone, old.base);
}

/* Share of a sub-step at which the volume falls below that of a receding line at this base. */
static double depinning_share(const Model *m, Cap from, double to)
{
    const double limit = cap_volume_factor(m->d.line.tau_receding) * from.base * from.base *
                         from.base;
    const double share = (from.volume - limit) / (from.volume - to);
    return share > 0.0 ? (share < 1.0 ? share : 1.0) : 0.0;
}

static Alone grow_alone(const Model *m, const GrowthConstants *k, Cap cap, double feed, double phi,
                        double seconds)
{
    Alone a = {.cap = cap, .depinned = -1.0};
    for (int n = 0; n < MOST_SUBSTEPS && a.time < seconds; n++) {
        double erosion, erosion_2;
        const double left = seconds - a.time;
        const double rate = rate_at(k, a.cap, feed, phi, &erosion);
        double step = left;
        if (fabs(rate) * step > LARGEST_CHANGE * a.cap.volume)
            step = LARGEST_CHANGE * a.cap.volume / fabs(rate);
        const Cap ahead = cap_moved(m, k, a.cap, a.cap.volume + step * rate);
        const double rate_2 = rate_at(k, ahead, feed, phi, &erosion_2);
        const double mean = 0.5 * (rate + rate_2), volume = a.cap.volume + step * mean;
        a.eroded += 0.5 * (erosion + erosion_2) * step;
        if (mean < 0.0 && volume < k->gone) {
            const double share = a.cap.volume / (-mean * step);
            a.time += step * (share < 1.0 ? share : 1.0);
            a.gone = true;
            a.cap.volume = 0.0;
            break;
        }
        const Cap next = cap_moved(m, k, a.cap, volume);
        if (next.tau == k->tau_receding && a.cap.tau != k->tau_receding && a.depinned < 0.0)
            a.depinned = a.time + step * depinning_share(m, a.cap, volume);
        a.cap = next;
        a.time = step < left ? a.time + step : seconds;
    }
    return a;
}

/* Replace what the kernel made of those that need smaller steps.  depinned[i]: when within the
 * tick, or negative; those that are gone have no volume.  Returns whether one is. */
static bool regrow(Model *m, const GrowthConstants *k, size_t start, size_t count,
                   GrowthOutput *out, double *depinned)
{
    const Particles *p = &m->particles;
    bool any_gone = false;
    for (size_t i = 0; i < count; i++) {
        depinned[i] = -1.0;
        if (!out->alone[i])
            continue;
        const size_t j = start + i;
        const Cap cap = {p->volume[j], p->size[j], p->base[j], p->tau[j]};
        const Alone a = grow_alone(m, k, cap, p->feed[j], p->phi[j], k->tick);
        out->volume[i] = a.cap.volume;
        out->eroded[i] = a.eroded;
        out->turn[i] = 0.0;
        depinned[i] = a.depinned;
        if (a.gone) {
            any_gone = true;
            out->free_growth[i] = 0.0;
            out->side[i] = a.depinned >= 0.0 ? -1 : p->side[j];
            model_log(m, model_time(m, m->tick) + a.time, EVENT_GONE, p->uid[j], 0, cap.volume,
                      p->fibre[j]);
            continue;
        }
        const ExchangeFactors x = exchange_factors(k, a.cap.base, a.cap.tau, p->feed[j]);
        out->size[i] = a.cap.size;
        out->base[i] = a.cap.base;
        out->tau[i] = a.cap.tau;
        out->side[i] = (signed char)cap_side(&m->d.line, a.cap.tau);
        out->forward[i] = x.forward;
        out->backward[i] = x.backward;
        out->resist[i] = x.resist;
        out->free_growth[i] = free_current(k, x.forward, x.backward, x.resist) * k->faraday /
                              (3.0 * a.cap.volume * x.inverse_radius);
    }
    return any_gone;
}

/* Log who began to recede, and note on which side the lines are now. */
static void note_sides(Model *m, size_t start, size_t count, const GrowthOutput *out,
                       const double *depinned)
{
    Particles *p = &m->particles;
    if (memcmp(out->side, p->side + start, count) == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        const size_t j = start + i;
        if (out->side[i] < 0 && p->side[j] >= 0) {
            const Cap before = {p->volume[j], p->size[j], p->base[j], p->tau[j]};
            const double after =
                out->any_alone && depinned[i] >= 0.0
                    ? depinned[i]
                    : m->par.tick_s * depinning_share(m, before, out->volume[i]);
            model_log(m, model_time(m, m->tick) + after, EVENT_DEPIN, p->uid[j], 0,
                      out->volume[i], p->fibre[j]);
        }
        p->side[j] = out->side[i];
    }
}

static void commit(Model *m, size_t start, size_t count, const GrowthOutput *out)
{
    Particles *p = &m->particles;
    const size_t bytes = count * sizeof(double);
    memcpy(p->volume + start, out->volume, bytes);
    memcpy(p->size + start, out->size, bytes);
    memcpy(p->base + start, out->base, bytes);
    memcpy(p->tau + start, out->tau, bytes);
    memcpy(p->forward + start, out->forward, bytes);
    memcpy(p->backward + start, out->backward, bytes);
    memcpy(p->resist + start, out->resist, bytes);
}

/* Returns whether one is gone. */
static bool grow_block(Model *m, const GrowthConstants *k, size_t start, size_t count,
                       GrowthOutput *out, LedgerLanes *lanes)
{
    Particles *p = &m->particles;
    double depinned[BLOCK];
    const double per_pC = 1.0 / (m->d.faraday * k->tick);
    const GrowthInput in = {p->volume + start, p->size + start,    p->base + start,
                            p->tau + start,    p->feed + start,    p->phi + start,
                            p->forward + start, p->backward + start, p->resist + start};
    m->kernels->grow(k, count, &in, out);
    const bool any_gone = out->any_alone && regrow(m, k, start, count, out, depinned);
    m->kernels->ledger(count, p->volume + start, out->volume, out->eroded, out->turn,
                       p->current + start, lanes);
    note_sides(m, start, count, out, depinned);
    for (size_t i = 0; i < count; i++)
        p->current[start + i] *= per_pC;
    if (k->erosion > 0.0)
        for (size_t i = 0; i < count; i++)
            long_sum_add(&m->eroded, out->eroded[i]);
    commit(m, start, count, out);
    return any_gone;
}

static double book_lanes(Model *m, const LedgerLanes *lanes)
{
    double sum = 0.0, trend = 0.0;
    for (size_t l = 0; l < SUM_LANES; l++) {
        long_sum_add(&m->net_volume, lanes->net[l]);
        long_sum_add(&m->net_volume, lanes->net_low[l]);
        long_sum_add(&m->deposited, lanes->deposited[l]);
        long_sum_add(&m->stripped_volume, lanes->stripped[l]);
        sum += lanes->by_charge[l];
        trend += lanes->trend[l];
    }
    m->trend = trend / m->d.faraday;
    return sum;
}

double particles_step(Model *m, double beam, double mobility)
{
    Particles *p = &m->particles;
    const GrowthConstants k = growth_constants(m, m->eta_mean, beam);
    const ShapeConstants shape = shape_constants(m, mobility);
    LedgerLanes lanes = {{0.0}, {0.0}, {0.0}, {0.0}, {0.0}, {0.0}};
    GrowthOutput out;
    bool any_gone = false;
    double excursion = 0.0;
    for (size_t start = 0; start < p->count; start += BLOCK) {
        const size_t count = p->count - start < BLOCK ? p->count - start : BLOCK;
        double spread[BLOCK];
        any_gone |= grow_block(m, &k, start, count, &out, &lanes);
        shape_block(m, &shape, start, count, out.free_growth, spread);
        m->kernels->walk(m->seed, (uint64_t)m->tick, m->par.fibre_length_nm, m->d.period, count,
                         p->uid + start, spread, p->s + start, p->y + start);
        const double furthest = m->kernels->excursion(
            count, p->s + start, p->y + start, p->base + start, p->anchor_s + start,
            p->anchor_y + start, p->anchor_base + start);
        excursion = furthest > excursion ? furthest : excursion;
    }
    m->contacts.excursion = excursion;
    if (any_gone)
        for (size_t i = p->count; i-- > 0;)
            if (!(p->volume[i] > 0.0)) {
                contacts_forget(&m->contacts, p, i);
                particles_remove(p, i);
            }
    return book_lanes(m, &lanes);
}

double growth_catch_up(Model *m, size_t i, double beam, double seconds)
{
    Particles *p = &m->particles;
    if (!(seconds > 0.0))
        return 0.0;
    const GrowthConstants k = growth_constants(m, m->eta_mean, beam);
    const Cap cap = {p->volume[i], p->size[i], p->base[i], p->tau[i]};
    const Alone a = grow_alone(m, &k, cap, p->feed[i], p->phi[i], seconds);
    const double gained = a.cap.volume - cap.volume + a.eroded;
    /* The circuit did not count on it: where it would strain the double layer, it waits. */
    const double layer = m->d.faraday * m->par.double_layer_pF * fabs(m->eta_mean);
    if (a.gone || fabs(gained) > 0.01 * layer)
        return 0.0;
    model_book(m, cap.volume, a.cap.volume);
    if (a.eroded > 0.0) {
        long_sum_add(&m->eroded, a.eroded);
        long_sum_add(&m->net_volume, a.eroded);
        long_sum_add(&m->deposited, a.eroded);
    }
    p->volume[i] = a.cap.volume;
    p->size[i] = a.cap.size;
    p->base[i] = a.cap.base;
    p->tau[i] = a.cap.tau;
    p->side[i] = (signed char)cap_side(&m->d.line, a.cap.tau);
    exchange_refresh(m, i);
    return gained;
}
