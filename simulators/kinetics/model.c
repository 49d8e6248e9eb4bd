#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "circuit.h"
#include "image.h"
#include "motion.h"
#include "nucleation.h"
#include "shape.h"

#define ELEMENTARY_CHARGE 1.602176634e-19 /* C */
#define BOLTZMANN 1.380649e-23            /* J/K */
#define STRIPPING_ETA (-0.010)            /* V; below it lithium is being taken away */
#define SLACK_PS 1000                     /* a tick may be closed this much before its time */

void long_sum_add(LongSum *sum, double term)
{
    const double total = sum->high + term;
    const double back = total - sum->high;
    const double lost = (sum->high - (total - back)) + (term - back);
    sum->low += lost;
    sum->high = total + sum->low;
    sum->low -= sum->high - total;
}

double model_volume(const Model *m)
{
    LongSum sum = {0.0, 0.0};
    for (size_t i = 0; i < m->particles.count; i++)
        long_sum_add(&sum, m->particles.volume[i]);
    return long_sum_value(&sum);
}

double model_size_factor(const Model *m, double radius)
{
    return exp(fmin(m->par.premelting_radius_nm / radius, 6.0));
}

bool particles_reserve(Particles *p, size_t room)
{
    if (room <= p->room)
        return true;
    room = room < 64 ? 64 : 2 * room;
#define X(type, name)                                                   \
    {                                                                   \
        type *grown = realloc(p->name, room * sizeof *grown);           \
        if (!grown)                                                     \
            return false;                                               \
        p->name = grown;                                                \
    }
    PARTICLE_FIELDS(X)
#undef X
    p->room = room;
    return true;
}

size_t particles_append(Particles *p)
{
    return p->count++;
}

void particles_remove(Particles *p, size_t i)
{
    const size_t last = --p->count;
#define X(type, name) p->name[i] = p->name[last];
    PARTICLE_FIELDS(X)
#undef X
}

static void particles_free(Particles *p)
{
#define X(type, name) free(p->name);
    PARTICLE_FIELDS(X)
#undef X
    *p = (Particles){0};
}

static bool scratch_reserve(Scratch *w, size_t room)
{
    if (room <= w->room)
        return true;
    room *= 2;
    double **fields[] = {&w->forward,   &w->backward, &w->plating,
                         &w->stripping, &w->m_plate,  &w->m_strip};
    for (size_t k = 0; k < sizeof fields / sizeof fields[0]; k++) {
        double *grown = realloc(*fields[k], room * sizeof *grown);
        if (!grown)
            return false;
        *fields[k] = grown;
    }
    unsigned char *taken = realloc(w->taken, room);
    if (!taken)
        return false;
    w->taken = taken;
    w->room = room;
    return true;
}

static void scratch_free(Scratch *w)
{
    free(w->forward);
    free(w->backward);
    free(w->plating);
    free(w->stripping);
    free(w->m_plate);
    free(w->m_strip);
    free(w->pair);
    free(w->taken);
    *w = (Scratch){0};
}

void model_log(Model *m, double time, int kind, uint64_t uid, int64_t other, double volume,
               size_t fibre)
{
    Events *e = &m->events;
    if (e->count == e->room) {
        if (e->count >= EVENTS_KEPT) { /* drop the older half */
            const size_t half = e->count / 2;
            memmove(e->log, e->log + half, (e->count - half) * sizeof *e->log);
            e->count -= half;
            e->lost += half;
        } else {
            const size_t room = e->room ? 2 * e->room : 256;
            Event *grown = realloc(e->log, room * sizeof *grown);
            if (!grown) {
                e->failed = true;
                return;
            }
            e->log = grown;
            e->room = room;
        }
    }
    e->log[e->count++] = (Event){time, kind, uid, other, volume, (int64_t)fibre};
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

void model_set_volume(Model *m, size_t i, double volume)
{
    model_book(m, m->particles.volume[i], volume);
    m->particles.volume[i] = volume;
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
    if (!(q->feed > 0.0 && q->feed <= 1e6))
        return "feed must lie in 0 ... 1e6";
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
#define X(type, name) p->name[i] = 0;
        PARTICLE_FIELDS(X)
#undef X
        p->uid[i] = p->lattice[i] = m->next_uid++;
        p->fibre[i] = (size_t)q->fibre;
        p->s[i] = q->s;
        p->y[i] = q->y - m->d.period * floor(q->y / m->d.period);
        if (!(p->y[i] < m->d.period))
            p->y[i] = 0.0;
        p->volume[i] = q->volume;
        p->phi[i] = q->phi;
        p->feed[i] = q->feed;
        p->born[i] = model_time(m, m->tick);
        if (!isnan(q->angle))
            p->base[i] = cbrt(q->volume / cap_volume_factor(tan(0.5 * q->angle)));
        p->tau[i] = contact_line_slide(&m->d.line, q->volume, &p->base[i], &p->side[i]);
        p->level[i] = level_of(q->phi);
        long_sum_add(&m->placed, q->volume);
    }
    return NULL;
}

static Derived derive(const Parameters *par)
{
    Derived d;
    const double kt = BOLTZMANN * par->temperature_K;                /* J */
    const double gamma = par->surface_energy_J_m2 * 1e-18;           /* J/nm2 */
    const double step = pow(par->atomic_volume_nm3, 4.0 / 3.0);      /* nm4 */
    const double degree = PI / 180.0;
    d.f = ELEMENTARY_CHARGE / kt;
    d.faraday = par->atomic_volume_nm3 * 1e-12 / ELEMENTARY_CHARGE;
    d.critical = 2.0 * gamma * par->atomic_volume_nm3 / ELEMENTARY_CHARGE;
    d.kelvin = par->kelvin * d.critical;
    d.mullins = par->surface_diffusivity_nm2_s * gamma * step / kt;
    d.hop = par->migration_factor * exp(-par->pinning_energy_eV * d.f) *
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
    m->d = derive(par);
    m->seed = seed;
    m->tick_ps = (int64_t)llround(par->tick_s * 1e12);
    m->par.tick_s = (double)m->tick_ps / 1e12;
    m->next_uid = 1;
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
    grid_free(&m->particle_grid);
    scratch_free(&m->scratch);
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
    if (m->eta < STRIPPING_ETA) {
        m->stripped = true;
    } else if (m->stripped && m->eta > 0.0) {
        m->stripped = false;
        m->cycle++;
        sites_rearm(m);
    }
}

static bool tick_once(Model *m, const Drive *drive)
{
    const size_t most = m->particles.count + m->sites.count + 1;
    if (!particles_reserve(&m->particles, most) || !scratch_reserve(&m->scratch, most))
        return false;
    const double tick = m->par.tick_s;
    const double bias = drive->terminals_off ? m->bias : bias_now(m, drive);
    const double series =
        (m->d.series + drive->series) / (1.0 + m->par.beam_conduction_nm2_s * drive->beam);
    const double mobility = 1.0 + m->par.beam_diffusion_nm2_s * drive->beam;
    const double eta_before = m->eta;

    m->eta = circuit_solve(m, drive->open, -bias, series);
    const double solved_eta = m->eta;
    follow_cycle(m);
    double charged = growth_step(m, drive->beam);
    shape_step(m, mobility);
    motion_step(m, mobility);
    const double born = nucleation_step(m);
    charged += born;
    m->eta -= born / m->d.faraday / m->par.double_layer_pF;
    const bool merged = coalescence_step(m);
    circuit_measure(m, drive, bias, eta_before, charged / (m->d.faraday * tick), solved_eta,
                    series);
    m->tick++;
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
