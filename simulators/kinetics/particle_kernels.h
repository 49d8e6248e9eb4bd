/* Hot loops over particles; compiled once for each set of instructions, see clone_*.c. */
#include "facet_step.h"
#include "growth_step.h"
#include "philox_lanes.h"
#include "rng.h"
#include "shape.h"

static void exchange_kernel(const GrowthConstants *constants, size_t count,
                            const double *restrict base, const double *restrict tau,
                            const double *restrict feed, double *restrict forward,
                            double *restrict backward, double *restrict resist)
{
    const GrowthConstants k = *constants;
    for (size_t i = 0; i < count; i++) {
        const ExchangeFactors x = exchange_factors(&k, base[i], tau[i], feed[i]);
        forward[i] = x.forward;
        backward[i] = x.backward;
        resist[i] = x.resist;
    }
}

/* Sum of count terms over lanes, the first term in the first lane. */
static void add_to_lanes(double *restrict lanes, const double *restrict term, size_t count)
{
    size_t i = 0;
    for (; i + SUM_LANES <= count; i += SUM_LANES)
        for (size_t l = 0; l < SUM_LANES; l++)
            lanes[l] += term[i + l];
    for (size_t l = 0; i < count; i++, l++)
        lanes[l] += term[i];
}

static double lanes_total(const double *lanes)
{
    double total = 0.0;
    for (size_t l = 0; l < SUM_LANES; l++)
        total += lanes[l];
    return total;
}

/* The largest of count numbers that are not negative; 0 when there is none. */
static double largest_of(const double *restrict term, size_t count)
{
    double lanes[SUM_LANES] = {0.0}, most = 0.0;
    size_t i = 0;
    for (; i + SUM_LANES <= count; i += SUM_LANES)
        for (size_t l = 0; l < SUM_LANES; l++)
            lanes[l] = term[i + l] > lanes[l] ? term[i + l] : lanes[l];
    for (; i < count; i++)
        most = term[i] > most ? term[i] : most;
    for (size_t l = 0; l < SUM_LANES; l++)
        most = lanes[l] > most ? lanes[l] : most;
    return most;
}

static CurrentSum currents_kernel(const GrowthConstants *constants, double per_volt, size_t count,
                                  const double *restrict forward, const double *restrict backward,
                                  const double *restrict resist, const double *restrict phi)
{
    const GrowthConstants k = *constants;
    const double up_slope = per_volt * k.up_share, down_slope = per_volt * k.down_share;
    double lanes[SUM_LANES] = {0.0}, slope_lanes[SUM_LANES] = {0.0};
    double current[BLOCK], slope[BLOCK];
    for (size_t start = 0; start < count; start += BLOCK) {
        const size_t n = count - start < BLOCK ? count - start : BLOCK;
        for (size_t i = 0; i < n; i++) {
            const double f = forward[start + i] * k.up, b = backward[start + i] * k.down;
            const double r = resist[start + i], net = f - b;
            const double damping = 1.0 + r * (f * k.plating + b * k.stripping);
            const double factor = facet_factor(&k, phi[start + i], net) / damping;
            const double rise = f * up_slope, fall = b * down_slope;
            current[i] = factor * net;
            slope[i] = factor * (rise + fall - net * r * (rise * k.plating - fall * k.stripping) /
                                                   damping);
        }
        add_to_lanes(lanes, current, n);
        add_to_lanes(slope_lanes, slope, n);
    }
    return (CurrentSum){lanes_total(lanes), lanes_total(slope_lanes)};
}

static void grow_kernel(const GrowthConstants *constants, size_t count, const GrowthInput *in,
                        GrowthOutput *restrict out)
{
    const GrowthConstants k = *constants;
    const double *restrict volume = in->volume, *restrict size = in->size;
    const double *restrict base = in->base, *restrict tau = in->tau, *restrict feed = in->feed;
    const double *restrict phi = in->phi, *restrict forward = in->forward;
    const double *restrict backward = in->backward, *restrict resist = in->resist;
    double slope[BLOCK], mean[BLOCK], base_2[BLOCK], tau_2[BLOCK];
    for (size_t i = 0; i < count; i++) { /* predictor */
        const Cap body = {volume[i], size[i], base[i], tau[i]};
        const double current = free_current(&k, forward[i], backward[i], resist[i]);
        slope[i] = k.faraday * current * facet_factor(&k, phi[i], current) -
                   k.erosion * base[i] * base[i];
        const Cap ahead = cap_near(&k, body, volume[i] + k.tick * slope[i]);
        base_2[i] = ahead.base;
        tau_2[i] = ahead.tau;
    }
    for (size_t i = 0; i < count; i++) { /* corrector */
        const ExchangeFactors x = exchange_factors(&k, base_2[i], tau_2[i], feed[i]);
        const double current = free_current(&k, x.forward, x.backward, x.resist);
        const double slope_2 = k.faraday * current * facet_factor(&k, phi[i], current) -
                               k.erosion * base_2[i] * base_2[i];
        mean[i] = 0.5 * (slope[i] + slope_2);
        out->turn[i] = slope_2 - slope[i] + k.erosion * (base_2[i] * base_2[i] - base[i] * base[i]);
        out->eroded[i] = 0.5 * k.tick * k.erosion * (base[i] * base[i] + base_2[i] * base_2[i]);
    }
    for (size_t i = 0; i < count; i++) {
        const Cap old = {volume[i], size[i], base[i], tau[i]};
        const Cap body = cap_near(&k, old, volume[i] + k.tick * mean[i]);
        out->volume[i] = body.volume;
        out->size[i] = body.size;
        out->base[i] = body.base;
        out->tau[i] = body.tau;
    }
    for (size_t i = 0; i < count; i++) {
        const ExchangeFactors x = exchange_factors(&k, out->base[i], out->tau[i], feed[i]);
        out->forward[i] = x.forward;
        out->backward[i] = x.backward;
        out->resist[i] = x.resist;
        out->free_growth[i] = free_current(&k, x.forward, x.backward, x.resist) * k.faraday /
                              (3.0 * out->volume[i] * x.inverse_radius);
    }
    for (size_t i = 0; i < count; i++) {
        const double most = fabs(slope[i]) * (1.0 / LARGEST_CHANGE);
        const double most_mean = fabs(mean[i]) * (1.0 / LARGEST_MEAN);
        const double swing = most > most_mean ? most : most_mean;
        const int fits = swing * k.tick <= volume[i];
        const int stays = (out->volume[i] >= k.gone) | (mean[i] >= 0.0);
        out->alone[i] = (unsigned char)!(fits & stays);
    }
    unsigned char any = 0;
    for (size_t i = 0; i < count; i++)
        any |= out->alone[i];
    out->any_alone = any;
    for (size_t i = 0; i < count; i++)
        out->side[i] = (signed char)((out->tau[i] == k.tau_advancing) -
                                     (out->tau[i] == k.tau_receding));
}

static void ledger_kernel(size_t count, const double *restrict before,
                          const double *restrict after, const double *restrict eroded,
                          const double *restrict turn, double *restrict change, LedgerLanes *restrict lanes)
{
    double gained[BLOCK], lost[BLOCK], rounding[BLOCK];
    for (size_t i = 0; i < count; i++) {
        /* after - before and its rounding error, exactly (Knuth's two-sum) */
        const double difference = after[i] - before[i];
        const double part = difference - after[i];
        rounding[i] = (after[i] - (difference - part)) - (before[i] + part);
        change[i] = difference + eroded[i];
        const double by_charge = change[i];
        rounding[i] += (difference - (by_charge - eroded[i])) +
                       (eroded[i] - (by_charge - (by_charge - eroded[i])));
        gained[i] = by_charge > 0.0 ? by_charge : 0.0;
        lost[i] = by_charge < 0.0 ? -by_charge : 0.0;
    }
    add_to_lanes(lanes->by_charge, change, count);
    add_to_lanes(lanes->trend, turn, count);
    add_to_lanes(lanes->deposited, gained, count);
    add_to_lanes(lanes->stripped, lost, count);
    for (size_t i = 0; i < count; i += SUM_LANES) {
        const size_t n = count - i < SUM_LANES ? count - i : SUM_LANES;
        for (size_t l = 0; l < n; l++) {
            const double sum = lanes->net[l] + change[i + l];
            const double back = sum - lanes->net[l];
            lanes->net_low[l] += (lanes->net[l] - (sum - back)) + (change[i + l] - back) +
                                 rounding[i + l];
            lanes->net[l] = sum;
        }
    }
}

static void facets_kernel(const ShapeConstants *constants, size_t count,
                          const double *restrict resist, const double *restrict feed,
                          const double *restrict free_growth, double *restrict phi,
                          signed char *restrict level, double *restrict flattening,
                          double *restrict spread)
{
    const ShapeConstants k = *constants;
    double soft[BLOCK], order[BLOCK], aim[BLOCK], rate[BLOCK];
    for (size_t i = 0; i < count; i++) {
        const double inverse = resist[i] * feed[i], depth = k.premelting * inverse;
        const double square = inverse * inverse;
        soft[i] = elementary_exp(depth < 6.0 ? depth : 6.0) * square * square;
        flattening[i] = k.mullins * soft[i];
    }
    for (size_t i = 0; i < count; i++)
        facet_course(&k, resist[i] * feed[i], flattening[i], free_growth[i], phi[i], &aim[i],
                     &rate[i]);
    for (size_t i = 0; i < count; i++) {
        const double reached = aim[i] + (phi[i] - aim[i]) * elementary_exp(-rate[i] * k.tick);
        order[i] = reached < 1e-12 ? 0.0 : reached;
    }
    for (size_t i = 0; i < count; i++) {
        const double loose = 1.0 - order[i];
        const double root = sqrt(2.0 * k.hop * soft[i] * loose * loose * k.tick);
        spread[i] = root >= 1e-6 ? root : 0.0; /* a millionth of a nanometre a tick */
        phi[i] = order[i];
    }
    for (size_t i = 0; i < count; i++)
        level[i] = (signed char)((order[i] >= PHI_LOCAL) + (order[i] >= PHI_COMPLETE));
}

static inline double floor_of(double x)
{
    const double r = (x + 0x1.8p52) - 0x1.8p52;
    return r > x ? r - 1.0 : r;
}

static void walk_kernel(uint64_t seed, uint64_t tick, double length, double period, size_t count,
                        const uint64_t *restrict uid, const double *restrict spread,
                        double *restrict s, double *restrict y)
{
    double u[BLOCK], v[BLOCK];
    uint64_t words[4 * BLOCK];
    if (!(largest_of(spread, count) > 0.0))
        return;
    philox_lanes(seed, DRAW_WALK, tick, count, uid, words);
    for (size_t i = 0; i < count; i++) { /* as rng_uniform() */
        const uint64_t high = words[i] << 32, low = words[count + i] & 0xFFFFFFFFu;
        u[i] = double_of(0x3FF0000000000000u | ((high | low) >> 12)) - (1.0 - 0x1p-53);
    }
    for (size_t i = 0; i < count; i++) {
        const uint64_t high = words[2 * count + i] << 32, low = words[3 * count + i] & 0xFFFFFFFFu;
        v[i] = double_of(0x3FF0000000000000u | ((high | low) >> 12)) - (1.0 - 0x1p-53);
    }
    const double inverse_period = 1.0 / period, double_length = 2.0 * length;
    const double inverse_double = 1.0 / double_length;
    for (size_t i = 0; i < count; i++) {
        double sine, cosine;
        elementary_turn(v[i], &sine, &cosine);
        const double radius = spread[i] * sqrt(-2.0 * elementary_log(u[i]));
        const double to = fabs(s[i] + radius * cosine);
        const double folded = to - double_length * floor_of(to * inverse_double);
        const double inside = folded <= length ? folded : double_length - folded;
        s[i] = inside > 0.0 ? (inside < length ? inside : length) : 0.0;
        const double around = y[i] + radius * sine;
        const double wrapped = around - period * floor_of(around * inverse_period);
        y[i] = ((wrapped >= 0.0) & (wrapped < period)) ? wrapped : 0.0;
    }
}

static double excursion_kernel(size_t count, const double *restrict s, const double *restrict y,
                               const double *restrict base, const double *restrict anchor_s,
                               const double *restrict anchor_y,
                               const double *restrict anchor_base)
{
    double moved[BLOCK];
    for (size_t i = 0; i < count; i++) {
        const double wider = base[i] - anchor_base[i];
        moved[i] = fabs(s[i] - anchor_s[i]) + fabs(y[i] - anchor_y[i]) +
                   (wider > 0.0 ? wider : 0.0);
    }
    return largest_of(moved, count);
}
