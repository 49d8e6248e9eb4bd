#include "soundness.h"

#include <math.h>
#include <stdlib.h>

#include "requests.h"

#define LARGEST_ETA_V 1e9 /* absurd parameters charge the double layer that far, none farther */
#define ANGLE_SLACK 1e-9
#define BALANCE_SLACK 1e-9

static bool between(double value, double low, double high)
{
    return value >= low && value <= high; /* false for a NaN */
}

static bool sum_finite(const LongSum *sum)
{
    return isfinite(sum->high) && isfinite(sum->low);
}

static const char *scalars_unsound(const Model *m)
{
    if (m->tick < 0 || m->clock_ps < 0 || m->clock_ps > LONGEST_CLOCK_PS ||
        m->tick > m->clock_ps / m->tick_ps + 1)
        return "the clock";
    if (m->next_uid < 1 || m->next_uid > FARTHEST_UID)
        return "the next uid";
    if (!between(m->eta, -LARGEST_ETA_V, LARGEST_ETA_V) ||
        !between(m->eta_mean, -LARGEST_ETA_V, LARGEST_ETA_V))
        return "the overpotential";
    if (!between(m->bias, -LARGEST_BIAS_V, LARGEST_BIAS_V))
        return "the bias";
    if (!isfinite(m->current) || !isfinite(m->trend) || !isfinite(m->faradaic_current) || !isfinite(m->kirchhoff))
        return "the current";
    if (!sum_finite(&m->charge) || !sum_finite(&m->net_volume) || !sum_finite(&m->deposited) ||
        !sum_finite(&m->stripped_volume) || !sum_finite(&m->eroded) || !sum_finite(&m->placed))
        return "the sums of charge and volume";
    return NULL;
}

static const char *cap_unsound(const Model *m, size_t i)
{
    const Particles *p = &m->particles;
    const ContactLine *line = &m->d.line;
    const double volume = p->volume[i], base = p->base[i], tau = p->tau[i];
    if (!(volume > 0.0 && isfinite(volume) && base > 0.0 && isfinite(base)))
        return "the volume of a particle";
    if (!between(tau, line->tau_receding * (1.0 - ANGLE_SLACK),
                 line->tau_advancing * (1.0 + ANGLE_SLACK)))
        return "the contact angle of a particle";
    if (!(fabs(cap_volume_factor(tau) * base * base * base - volume) <= ANGLE_SLACK * volume))
        return "a cap that does not have its volume";
    if (!(fabs(cbrt(volume) - p->size[i]) <= ANGLE_SLACK * p->size[i]))
        return "the size of a particle";
    if (!(p->forward[i] >= 0.0 && isfinite(p->forward[i]) && p->backward[i] >= 0.0 &&
          isfinite(p->backward[i])) ||
        !(fabs(p->resist[i] * p->feed[i] * cap_radius(base, tau) - 1.0) <= ANGLE_SLACK))
        return "the exchange of a particle";
    return NULL;
}

static const char *particle_unsound(const Model *m, size_t i)
{
    const Particles *p = &m->particles;
    if (p->uid[i] < 1 || p->uid[i] >= m->next_uid || p->lattice[i] >= m->next_uid ||
        p->lattice_2[i] >= m->next_uid)
        return "the uid of a particle";
    if (p->fibre[i] >= (size_t)m->par.fibre_count ||
        !between(p->s[i], 0.0, m->par.fibre_length_nm) ||
        !(p->y[i] >= 0.0 && p->y[i] < m->d.period))
        return "the place of a particle";
    if (!between(p->phi[i], 0.0, 1.0) || p->level[i] < 0 || p->level[i] > 2)
        return "the facets of a particle";
    if (!between(p->feed[i], FEED_LOW, FEED_HIGH))
        return "the feed of a particle";
    if (!(p->neck[i] >= 0.0 && isfinite(p->neck[i])) || !isfinite(p->neck_direction[i]) ||
        !between(p->neck_share[i], 0.0, 0.5))
        return "the neck of a particle";
    if (!(p->boundary_life[i] >= 0.0 && isfinite(p->boundary_life[i])))
        return "the grain boundary of a particle";
    if ((p->neck[i] > 0.0 || p->boundary_life[i] > 0.0) != (p->joined[i] == 1))
        return "the union of a particle";
    if (!isfinite(p->born[i]) || !isfinite(p->current[i]) || p->side[i] < -1 || p->side[i] > 1)
        return "the growth of a particle";
    return cap_unsound(m, i);
}

static int compare_uids(const void *x, const void *y)
{
    const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static const char *uids_unsound(const Particles *p)
{
    if (p->count < 2)
        return NULL;
    uint64_t *uid = malloc(p->count * sizeof *uid);
    if (!uid)
        return "memory is short";
    for (size_t i = 0; i < p->count; i++)
        uid[i] = p->uid[i];
    qsort(uid, p->count, sizeof *uid, compare_uids);
    bool twice = false;
    for (size_t i = 1; i < p->count; i++)
        twice = twice || uid[i] == uid[i - 1];
    free(uid);
    return twice ? "two particles of one uid" : NULL;
}

static const char *sites_unsound(const Sites *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (!(t->hazard[i] >= 0.0) || !(t->threshold[i] > 0.0 && isfinite(t->threshold[i])) ||
            t->used[i] > 1)
            return "a site of nucleation";
    return NULL;
}

static const char *events_unsound(const Model *m)
{
    for (size_t k = 0; k < m->events.count; k++) {
        const Event *e = &m->events.log[k];
        if (e->kind < 0 || e->kind >= EVENT_KIND_COUNT || e->uid < 1 || e->uid >= m->next_uid ||
            !between(e->time, 0.0, 1e7) || !(e->volume >= 0.0 && isfinite(e->volume)) ||
            e->fibre < 0 || e->fibre >= (int64_t)m->par.fibre_count)
            return "an event";
    }
    return NULL;
}

static const char *balance_unsound(const Model *m)
{
    const double placed = long_sum_value(&m->placed), eroded = long_sum_value(&m->eroded);
    const double turnover = placed + eroded + long_sum_value(&m->deposited) +
                            long_sum_value(&m->stripped_volume);
    const double booked = placed + long_sum_value(&m->net_volume) - eroded;
    return fabs(model_volume(m) - booked) <= BALANCE_SLACK * turnover ? NULL
                                                                      : "the balance of volume";
}

const char *model_unsound(const Model *m)
{
    const char *what = scalars_unsound(m);
    for (size_t i = 0; !what && i < m->particles.count; i++)
        what = particle_unsound(m, i);
    if (!what)
        what = uids_unsound(&m->particles);
    if (!what)
        what = sites_unsound(&m->sites);
    if (!what)
        what = events_unsound(m);
    return what ? what : balance_unsound(m);
}
