#include "nucleation.h"

#include <math.h>
#include <stdlib.h>

#include "elementary.h"
#include "growth.h"
#include "rng.h"

#define QUADRATURE 8 /* points over a tick, for a rate that changes with eta */

static bool sites_allocate(Sites *t, size_t count)
{
    const size_t room = count ? count : 1;
    t->fibre = malloc(room * sizeof *t->fibre);
    t->s = malloc(room * sizeof *t->s);
    t->y = malloc(room * sizeof *t->y);
    t->rate_factor = malloc(room * sizeof *t->rate_factor);
    t->feed = malloc(room * sizeof *t->feed);
    t->hazard = malloc(room * sizeof *t->hazard);
    t->threshold = malloc(room * sizeof *t->threshold);
    t->used = calloc(room, 1);
    t->blocked = calloc(room, 1);
    t->count = count;
    return t->fibre && t->s && t->y && t->rate_factor && t->feed && t->hazard && t->threshold &&
           t->used && t->blocked;
}

void sites_free(Sites *t)
{
    free(t->fibre);
    free(t->s);
    free(t->y);
    free(t->rate_factor);
    free(t->feed);
    free(t->hazard);
    free(t->threshold);
    free(t->used);
    free(t->blocked);
    *t = (Sites){0};
}

bool sites_create(Model *m)
{
    Sites *t = &m->sites;
    const size_t per_fibre = (size_t)m->par.site_count;
    if (!sites_allocate(t, per_fibre * (size_t)m->par.fibre_count))
        return false;
    t->per_fibre = per_fibre;
    for (size_t i = 0; i < t->count; i++) {
        const PhiloxBlock place = rng_draw(m->seed, DRAW_SITE_PLACE, i, 0);
        double z[2];
        rng_normal_pair(rng_draw(m->seed, DRAW_SITE_RATE, i, 0), z);
        t->fibre[i] = i / per_fibre;
        t->s[i] = m->par.fibre_length_nm * rng_uniform(place.v[0], place.v[1]);
        t->y[i] = m->d.period * rng_uniform(place.v[2], place.v[3]);
        t->rate_factor[i] = elementary_exp(m->par.site_scatter * z[0]);
        t->feed[i] = elementary_exp(m->par.feed_scatter * z[1]);
        if (i % per_fibre == 0 && m->par.first_site_feed > 0.0) {
            t->feed[i] = m->par.first_site_feed; /* a chosen crystal, in the middle of the view */
            t->s[i] = 0.5 * m->par.fibre_length_nm;
            t->y[i] = 0.04 * m->d.period;
        }
        t->feed[i] *= pow(m->par.fibre_feed_ratio, (double)t->fibre[i]);
    }
    sites_rearm(m);
    return grid_build(&m->site_grid, &m->par, m->d.period, t->count, t->fibre, t->s, t->y);
}

void sites_rearm(Model *m)
{
    Sites *t = &m->sites;
    for (size_t i = 0; i < t->count; i++) {
        const PhiloxBlock b = rng_draw(m->seed, DRAW_SITE_THRESHOLD, i, m->cycle);
        t->threshold[i] = -elementary_log(rng_uniform(b.v[0], b.v[1]));
        t->hazard[i] = 0.0;
        t->used[i] = 0;
    }
}

/* Mark the sites that lie in the exclusion zone of a particle; particles look for sites, so the
 * work is the covered area, whatever the sizes. */
static void block_sites(Model *m)
{
    Sites *t = &m->sites;
    const Particles *p = &m->particles;
    const Grid *g = &m->site_grid;
    for (size_t i = 0; i < t->count; i++)
        t->blocked[i] = 0;
    for (size_t i = 0; i < p->count; i++) {
        const double reach =
            (1.0 + m->par.exclusion_factor) * p->base[i] + m->par.exclusion_gap_nm;
        const GridWindow window = grid_window(g, p->fibre[i], p->s[i], p->y[i], reach);
        for (size_t c = 0; c < window.cells; c++) {
            const size_t cell = grid_window_cell(g, &window, c);
            for (size_t k = g->start[cell]; k < g->start[cell + 1]; k++) {
                const size_t site = g->item[k];
                if (t->used[site] | t->blocked[site])
                    continue;
                const double ds = t->s[site] - p->s[i];
                const double dy = around_distance(t->y[site] - p->y[i], m->d.period);
                if (ds * ds + dy * dy < reach * reach)
                    t->blocked[site] = 1;
            }
        }
    }
}

double critical_radius(const Model *m, double eta)
{
    return m->d.critical / eta;
}

/* n0 atoms, or a cap 10 % above the critical radius if that is more. */
double nucleus_volume(const Model *m, double eta)
{
    const double radius = 1.1 * critical_radius(m, eta);
    const double tau = m->d.line.tau_advancing;
    const double base = radius * 2.0 * tau / (1.0 + tau * tau);
    const double cap = cap_volume_factor(tau) * base * base * base;
    return fmax(m->d.birth_volume, cap);
}

/* Returns the index of the newborn. */
static size_t bring_to_life(Model *m, size_t site, double volume, double time)
{
    const Sites *t = &m->sites;
    Particles *p = &m->particles;
    const size_t i = particles_append(p);
    const Cap cap = cap_resting(&m->d.line, volume, 0.0);
    p->uid[i] = m->next_uid++;
    p->lattice[i] = p->uid[i];
    p->fibre[i] = t->fibre[site];
    p->s[i] = t->s[site];
    p->y[i] = t->y[site];
    p->volume[i] = volume;
    p->size[i] = cap.size;
    p->base[i] = cap.base;
    p->tau[i] = cap.tau;
    p->side[i] = (signed char)cap_side(&m->d.line, cap.tau);
    p->feed[i] = t->feed[site];
    p->born[i] = time;
    exchange_refresh(m, i);
    model_book(m, 0.0, volume);
    model_log(m, time, EVENT_BIRTH, p->uid[i], 0, volume, p->fibre[i]);
    return i;
}

/* Mean of k0 exp(-B ((eta_ref/eta)^2 - 1)) over the tick, 1/s. */
static double mean_rate(const Model *m, const Relaxation *eta)
{
    double sum = 0.0;
    for (int k = 0; k < QUADRATURE; k++) {
        const double here = relaxation_at(eta, (k + 0.5) / QUADRATURE);
        sum += nucleation_rate(m, here);
    }
    return sum / QUADRATURE;
}

double nucleation_rate(const Model *m, double eta)
{
    if (!(eta > 0.0))
        return 0.0;
    const double ratio = m->par.nucleation_overpotential_V / eta;
    return m->par.nucleation_rate_Hz *
           elementary_exp(-m->par.nucleation_barrier * (ratio * ratio - 1.0));
}

double nucleation_step(Model *m, const Relaxation *eta, double beam)
{
    Sites *t = &m->sites;
    if (!(m->eta_mean > 0.0) || t->count == 0)
        return 0.0;
    const double rate = mean_rate(m, eta);
    if (!(rate > 0.0))
        return 0.0;
    const double tick = m->par.tick_s, now = model_time(m, m->tick);
    const double volume = nucleus_volume(m, m->eta_mean);
    double born = 0.0;
    /* Near eta = 0 a critical nucleus would take more than all the charge that is there. */
    if (!(volume <= m->d.faraday * m->par.double_layer_pF * m->eta))
        return 0.0;
    block_sites(m);
    for (size_t i = 0; i < t->count; i++) {
        if (t->used[i] || t->blocked[i])
            continue;
        const double gain = rate * t->rate_factor[i] * tick;
        const double missing = t->threshold[i] - t->hazard[i];
        t->hazard[i] += gain;
        if (gain < missing)
            continue;
        t->used[i] = 1;
        const double wait = tick * fmin(1.0, fmax(0.0, missing / gain));
        const size_t newborn = bring_to_life(m, i, volume, now + wait);
        born += volume + growth_catch_up(m, newborn, beam, tick - wait);
    }
    return born;
}
