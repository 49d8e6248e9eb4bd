#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "circuit.h"
#include "elementary.h"
#include "growth.h"
#include "image.h"
#include "motion.h"
#include "nucleation.h"
#include "shape.h"

#define ELEMENTARY_CHARGE 1.602176634e-19 /* C */
#define BOLTZMANN 1.380649e-23            /* J/K */
#define STRIPPING_ETA (-0.010)            /* V; below it lithium is being taken away */
#define SORT_FROM 2048 /* particles; fewer stay in the cache in any order */
#define SORT_EVERY 256  /* ticks */
#define SLACK_PS 1000                     /* a tick may be closed this much before its time */

double model_volume(const Model *m)
{
    LongSum sum = {0.0, 0.0};
    for (size_t i = 0; i < m->particles.count; i++)
        long_sum_add(&sum, m->particles.volume[i]);
    return long_sum_value(&sum);
}

double model_size_factor(const Model *m, double radius)
{
    return elementary_exp(fmin(m->par.premelting_radius_nm / radius, 6.0));
}

void model_log(Model *m, double time, int kind, uint64_t uid, int64_t other, double volume,
               size_t fibre)
{
    events_log(&m->events, (Event){time, kind, uid, other, volume, (int64_t)fibre});
}

double model_time(const Model *m, int64_t ticks)
{
    return (double)(ticks * m->tick_ps) / 1e12;
}

void model_book(Model *m, double before, double after)
{
    /* The difference and its rounding error as two doubles, exactly (Knuth's two-sum). */
    const double change = after - before;
    const double part = change - after;
    const double lost = (after - (change - part)) - (before + part);
    LongSum *gross = change > 0.0 ? &m->deposited : &m->stripped_volume;
    long_sum_add(&m->net_volume, change);
    long_sum_add(&m->net_volume, lost);
    long_sum_add(gross, fabs(change));
}

static const char *placing_complaint(const Model *m, const Placing *q)
{
    if (!(q->fibre >= 0.0 && q->fibre < m->par.fibre_count) || q->fibre != floor(q->fibre))
        return "fibre must be the number of a fibre";
    if (!(q->s >= 0.0 && q->s <= m->par.fibre_length_nm))
        return "s_nm must lie on the fibre";
    if (!(fabs(q->y) <= 1e9))
        return "y_nm must be a finite number";
    if (!(q->volume > m->d.gone_volume && q->volume <= 1e15))
        return "volume_nm3 must lie between a tenth of a nucleus and 1e15";
    if (!isnan(q->angle) && !(q->angle > 0.0 && q->angle < PI))
        return "contact_angle_rad must lie in 0 ... pi";
    if (!(q->phi >= 0.0 && q->phi <= 1.0))
        return "phi must lie in 0 ... 1";
    if (!(q->feed >= 1e-6 && q->feed <= 1e6))
        return "feed must lie in 1e-6 ... 1e6";
    return NULL;
}

const char *model_place(Model *m, const Placing *list, size_t count, uint64_t *first_uid)
{
    Particles *p = &m->particles;
    for (size_t k = 0; k < count; k++) {
        const char *complaint = placing_complaint(m, &list[k]);
        if (complaint)
            return complaint;
    }
    if (!particles_reserve(p, p->count + count))
        return "memory is short";
    *first_uid = m->next_uid;
    for (size_t k = 0; k < count; k++) {
        const Placing *q = &list[k];
        const size_t i = particles_append(p);
        p->uid[i] = p->lattice[i] = m->next_uid++;
        p->fibre[i] = (size_t)q->fibre;
        p->s[i] = q->s;
        p->y[i] = wrap_around(q->y, m->d.period);
        p->volume[i] = q->volume;
        p->phi[i] = q->phi;
        p->feed[i] = q->feed;
        p->born[i] = model_time(m, m->tick);
        const double asked = isnan(q->angle) ? m->d.line.tau_advancing
                                             : elementary_tan(0.5 * q->angle);
        /* At either end the line rests on it exactly, whatever a cube root rounds to. */
        const double base = asked >= m->d.line.tau_advancing ? 0.0
                            : asked <= m->d.line.tau_receding
                                ? INFINITY
                                : elementary_cbrt(q->volume / cap_volume_factor(asked));
        const Cap cap = cap_resting(&m->d.line, q->volume, base);
        p->size[i] = cap.size;
        p->base[i] = cap.base;
        p->tau[i] = cap.tau;
        p->side[i] = (signed char)cap_side(&m->d.line, cap.tau);
        exchange_refresh(m, i);
        p->level[i] = (signed char)level_of(q->phi);
        long_sum_add(&m->placed, q->volume);
    }
    return NULL;
}

Derived derive_constants(const Parameters *par)
{
    Derived d;
    const double kt = BOLTZMANN * par->temperature_K;                /* J */
    const double gamma = par->surface_energy_J_m2 * 1e-18;           /* J/nm2 */
    const double step = par->atomic_volume_nm3 * elementary_cbrt(par->atomic_volume_nm3); /* nm4 */
    const double degree = PI / 180.0;
    d.f = ELEMENTARY_CHARGE / kt;
    d.faraday = par->atomic_volume_nm3 * 1e-12 / ELEMENTARY_CHARGE;
    d.critical = 2.0 * gamma * par->atomic_volume_nm3 / ELEMENTARY_CHARGE;
    d.kelvin = par->kelvin * d.critical;
    d.mullins = par->surface_diffusivity_nm2_s * gamma * step / kt;
    d.hop = par->migration_factor * elementary_exp(-par->pinning_energy_eV * d.f) *
            par->surface_diffusivity_nm2_s * step;
    d.series = par->series_resistance_GOhm * 1e-3;
    d.parallel = par->parallel_resistance_GOhm * 1e-3;
    d.leak = par->leak_resistance_GOhm * 1e-3;
    d.birth_volume = par->nucleus_atoms * par->atomic_volume_nm3;
    d.gone_volume = 0.1 * d.birth_volume;
    d.period = 2.0 * PI * par->fibre_radius_nm;
    d.line = contact_line(par->advancing_angle_deg * degree, par->receding_angle_deg * degree);
    return d;
}

Model *model_create(const Parameters *par, uint64_t seed)
{
    Model *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->par = *par;
    m->d = derive_constants(par);
    m->seed = seed;
    m->tick_ps = (int64_t)llround(par->tick_s * 1e12);
    m->par.tick_s = (double)m->tick_ps / 1e12;
    m->next_uid = 1;
    m->kernels = kernels_named("auto");
    if (!sites_create(m)) {
        model_free(m);
        return NULL;
    }
    return m;
}

void model_free(Model *m)
{
    if (!m)
        return;
    particles_free(&m->particles);
    sites_free(&m->sites);
    grid_free(&m->site_grid);
    contacts_free(&m->contacts);
    free(m->taken);
    free(m->events.log);
    imaging_free(m->imaging);
    free(m);
}

void model_begin(Model *m, Drive *drive, double seconds)
{
    drive->start_ps = m->clock_ps;
    drive->duration_ps = (int64_t)llround(seconds * 1e12);
    m->clock_ps += drive->duration_ps;
}

void model_cancel(Model *m)
{
    m->clock_ps = m->tick * m->tick_ps;
}

/* Bias at the end of the tick that is next, rounded to 2^-30 V so that the same ramp in other
 * pieces gives the same bits. */
static double bias_now(const Model *m, const Drive *drive)
{
    double bias = drive->bias;
    if (drive->bias_end != drive->bias && drive->duration_ps > 0) {
        const int64_t elapsed = (m->tick + 1) * m->tick_ps - drive->start_ps;
        const double part = (double)elapsed / (double)drive->duration_ps;
        bias += (drive->bias_end - drive->bias) * fmin(1.0, fmax(0.0, part));
    }
    return nearbyint(bias * 0x1p30) * 0x1p-30;
}

/* A new half-cycle of deposition gives the sites new thresholds. */
static void follow_cycle(Model *m)
{
    if (m->eta_mean < STRIPPING_ETA) {
        m->stripped = true;
    } else if (m->stripped && m->eta_mean > 0.0) {
        m->stripped = false;
        m->cycle++;
        sites_rearm(m);
    }
}

static bool tick_once(Model *m, const Drive *drive)
{
    if (!particles_reserve(&m->particles, m->particles.count + m->sites.count + 1))
        return false;
    /* By tick, never by state of the work space: the order decides the last bits of sums. */
    if (m->particles.count >= SORT_FROM && m->tick % SORT_EVERY == 0 &&
        !contacts_sort(&m->contacts, &m->par, m->d.period, &m->particles))
        return false;
    const double tick = m->par.tick_s;
    const double bias = drive->terminals_off ? m->bias : bias_now(m, drive);
    const double series =
        (m->d.series + drive->series) / (1.0 + m->par.beam_conduction_nm2_s * drive->beam);
    const double mobility = 1.0 + m->par.beam_diffusion_nm2_s * drive->beam;
    const Relaxation eta = circuit_solve(m, drive->open, -bias, series);

    m->eta = eta.end;
    m->eta_mean = eta.mean;
    follow_cycle(m);
    double charged = particles_step(m, drive->beam, mobility);
    const double born = nucleation_step(m, &eta, drive->beam);
    charged += born;
    m->eta -= born / m->d.faraday / m->par.double_layer_pF;
    const bool merged = coalescence_step(m, mobility);
    circuit_measure(m, drive, bias, &eta, charged / (m->d.faraday * tick), series);
    m->tick++;
    events_settle(&m->events);
    return merged && !m->events.failed;
}

int64_t model_run(Model *m, const Drive *drive, int64_t most_ticks)
{
    int64_t done = 0;
    while (done < most_ticks && (m->tick + 1) * m->tick_ps <= m->clock_ps + SLACK_PS) {
        if (!tick_once(m, drive))
            return -1;
        done++;
    }
    return done;
}
