#include "motion.h"

#include <math.h>
#include <stdlib.h>

#include "elementary.h"
#include "growth.h"
#include "rng.h"

double particle_diffusivity(const Model *m, double radius, double phi, double mobility)
{
    const double square = radius * radius;
    const double loose = 1.0 - phi;
    return mobility * m->d.hop * model_size_factor(m, radius) / (square * square) * loose * loose;
}

double boundary_life(const Model *m, double radius)
{
    return radius * radius / m->par.boundary_sweep_nm2_s;
}

/* Grain structure of the fused particle: a small partner adopts the lattice of the large one,
 * otherwise a boundary lives for R^2/q. */
static void fuse_grains(Model *m, size_t keep, size_t gone, double ratio, double radius)
{
    Particles *p = &m->particles;
    if (ratio < m->par.adoption_ratio)
        return;
    p->lattice_2[keep] = p->lattice[gone];
    p->boundary_life[keep] = boundary_life(m, radius);
}

/* Keep the neck that shows more. */
static void fuse_neck(Particles *p, size_t keep, double distance, double direction, double share)
{
    if (distance * share < p->neck[keep] * p->neck_share[keep])
        return;
    p->neck[keep] = distance;
    p->neck_direction[keep] = direction;
    p->neck_share[keep] = share;
}

/* Angle of (ds, dy) against s, -pi ... pi. */
static double direction_of(double ds, double dy)
{
    const double along = fabs(ds), across = fabs(dy);
    const double acute = across <= along
                             ? (along > 0.0 ? elementary_atan(across / along) : 0.0)
                             : 0.5 * PI - elementary_atan(along / across);
    const double upper = ds < 0.0 ? PI - acute : acute;
    return dy < 0.0 ? -upper : upper;
}

size_t fuse(Model *m, size_t i, size_t j, double time)
{
    Particles *p = &m->particles;
    const bool first = p->volume[i] > p->volume[j] ||
                       (p->volume[i] == p->volume[j] && p->uid[i] < p->uid[j]);
    const size_t keep = first ? i : j, gone = first ? j : i;
    const double large = p->volume[keep], small = p->volume[gone], total = large + small;
    const double share = small / total;
    const double ds = p->s[gone] - p->s[keep];
    const double dy = around_distance(p->y[gone] - p->y[keep], m->d.period);
    const double ratio =
        cap_radius(p->base[gone], p->tau[gone]) / cap_radius(p->base[keep], p->tau[keep]);
    const double theta =
        (1.0 - share) * cap_angle(p->tau[keep]) + share * cap_angle(p->tau[gone]);
    const double factor = cap_volume_factor(elementary_tan(0.5 * theta));

    p->s[keep] += share * ds;
    p->y[keep] = wrap_around(p->y[keep] + share * dy, m->d.period);
    p->phi[keep] += share * (p->phi[gone] - p->phi[keep]);
    p->feed[keep] += share * (p->feed[gone] - p->feed[keep]);
    p->current[keep] += p->current[gone];
    /* The sum of two doubles is not always one: what the rounding leaves goes to the circuit. */
    const double back = total - large;
    const double lost = (large - (total - back)) + (small - back);
    long_sum_add(&m->net_volume, -lost);
    const Cap cap = cap_resting(&m->d.line, total, elementary_cbrt(total / factor));
    p->volume[keep] = total;
    p->size[keep] = cap.size;
    p->base[keep] = cap.base;
    p->tau[keep] = cap.tau;
    p->side[keep] = (signed char)cap_side(&m->d.line, cap.tau);
    exchange_refresh(m, keep);
    m->events.failed |= !contacts_loosen(&m->contacts, p, keep);

    p->joined[keep] = 1;
    fuse_neck(p, keep, sqrt(ds * ds + dy * dy), direction_of(ds, dy), share);
    fuse_grains(m, keep, gone, ratio, cap_radius(p->base[keep], p->tau[keep]));
    model_log(m, time, EVENT_MERGE, p->uid[keep], (int64_t)p->uid[gone], total, p->fibre[keep]);
    return gone;
}


/* Where a particle was, and its base radius, before the growth and the step of this tick. */
typedef struct {
    double s, y, base;
} Earlier;

static Earlier earlier_of(const Model *m, size_t i, double mobility)
{
    const Particles *p = &m->particles;
    double z[2];
    const double radius = cap_radius(p->base[i], p->tau[i]);
    const double spread = sqrt(2.0 * particle_diffusivity(m, radius, p->phi[i], mobility) *
                               m->par.tick_s);
    const double before = p->volume[i] - p->current[i] * m->d.faraday * m->par.tick_s;
    const double shrunk = before > 0.0 ? elementary_cbrt(before / p->volume[i]) : 0.0;
    rng_normal_pair(rng_draw(m->seed, DRAW_WALK, p->uid[i], (uint64_t)m->tick), z);
    return (Earlier){p->s[i] - spread * z[0], p->y[i] - spread * z[1],
                     p->side[i] == 0 ? p->base[i] : p->base[i] * shrunk};
}

/* Share of the tick at which two that touch now met, from the gaps at its start and its end. */
static double meeting_share(const Model *m, const Pair *pair, double mobility)
{
    const Particles *p = &m->particles;
    const size_t i = pair->i, j = pair->j;
    const Earlier a = earlier_of(m, i, mobility), b = earlier_of(m, j, mobility);
    const double begin = model_time(m, m->tick), touch = m->par.touch_gap_nm;
    if (p->born[i] > begin || p->born[j] > begin)
        return 1.0; /* met as soon as it was there */
    const double ds = b.s - a.s, dy = around_distance(b.y - a.y, m->d.period);
    const double now_s = p->s[j] - p->s[i];
    const double now_y = around_distance(p->y[j] - p->y[i], m->d.period);
    const double before = sqrt(ds * ds + dy * dy) - a.base - b.base - touch;
    const double after = sqrt(now_s * now_s + now_y * now_y) - p->base[i] - p->base[j] - touch;
    return before > 0.0 ? before / (before - after) : 0.0;
}

static bool taken_reserve(Model *m, size_t room)
{
    if (room <= m->room_taken)
        return true;
    unsigned char *taken = realloc(m->taken, 2 * room);
    if (!taken)
        return false;
    m->taken = taken;
    m->room_taken = 2 * room;
    return true;
}

bool coalescence_step(Model *m, double mobility)
{
    Particles *p = &m->particles;
    const double begin = model_time(m, m->tick);
    if (!taken_reserve(m, p->count + 1))
        return false;
    unsigned char *taken = m->taken; /* 1: fused this round, 2: to be removed */
    for (bool first = true;; first = false) {
        const ptrdiff_t found =
            contacts_find(&m->contacts, &m->par, m->d.period, p);
        if (found <= 0)
            return found == 0;
        memset(taken, 0, p->count);
        for (size_t k = 0; k < (size_t)found; k++) {
            const Pair pair = m->contacts.pair[k];
            if (taken[pair.i] || taken[pair.j])
                continue;
            /* a chain of fusions ends with the tick, so that its events stay in order */
            const double share = first ? meeting_share(m, &pair, mobility) : 1.0;
            taken[pair.i] = taken[pair.j] = 1;
            taken[fuse(m, pair.i, pair.j, begin + share * m->par.tick_s)] = 2;
        }
        for (size_t i = p->count; i-- > 0;)
            if (taken[i] == 2) { /* what moves here from the end has been looked at */
                contacts_forget(&m->contacts, p, i);
                particles_remove(p, i);
            }
    }
}
