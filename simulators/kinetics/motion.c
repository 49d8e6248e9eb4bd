#include "motion.h"

#include <math.h>
#include <stdlib.h>

#include "rng.h"

double around_distance(double dy, double period)
{
    return dy - period * floor(dy / period + 0.5);
}

static double wrap_around(double y, double period)
{
    const double w = y - period * floor(y / period);
    return w < period ? w : 0.0;
}

static double reflect(double s, double length)
{
    const double w = fabs(fmod(s, 2.0 * length));
    return w <= length ? w : 2.0 * length - w;
}

static size_t cell_index(double x, double cell, size_t cells)
{
    const double k = x / cell;
    if (!(k > 0.0))
        return 0;
    const size_t index = (size_t)k;
    return index < cells ? index : cells - 1;
}

static bool grid_reserve(Grid *g, size_t cells, size_t items)
{
    if (cells + 1 > g->room_cells) {
        const size_t room = 2 * (cells + 1);
        size_t *start = realloc(g->start, room * sizeof *start);
        if (!start)
            return false;
        g->start = start;
        g->room_cells = room;
    }
    if (items > g->room_items) {
        const size_t room = 2 * items;
        size_t *item = realloc(g->item, room * sizeof *item);
        if (!item)
            return false;
        g->item = item;
        size_t *cell = realloc(g->cell, room * sizeof *cell);
        if (!cell)
            return false;
        g->cell = cell;
        g->room_items = room;
    }
    return true;
}

bool grid_build(Grid *g, const Parameters *par, double period, size_t count, const size_t *fibre,
                const double *s, const double *y)
{
    const size_t fibres = (size_t)par->fibre_count;
    const double area = par->fibre_length_nm * period * (double)fibres;
    const double spacing = sqrt(area / (double)(count + 1));
    g->fibres = fibres;
    g->length = par->fibre_length_nm;
    g->period = period;
    g->along = 1 + (size_t)fmin(g->length / spacing, 4096.0);
    g->around = 1 + (size_t)fmin(period / spacing, 4096.0);
    g->cell_s = g->length / (double)g->along;
    g->cell_y = period / (double)g->around;
    const size_t cells = fibres * g->along * g->around;
    if (!grid_reserve(g, cells, count + 1))
        return false;
    for (size_t c = 0; c <= cells; c++)
        g->start[c] = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t cs = cell_index(s[i], g->cell_s, g->along);
        const size_t cy = cell_index(y[i], g->cell_y, g->around);
        g->cell[i] = (fibre[i] * g->along + cs) * g->around + cy;
        g->start[g->cell[i] + 1]++;
    }
    for (size_t c = 0; c < cells; c++)
        g->start[c + 1] += g->start[c];
    for (size_t i = count; i-- > 0;) { /* from the end, so that a cell lists rising indices */
        const size_t c = g->cell[i];
        g->item[--g->start[c + 1]] = i;
    }
    /* Each start[c + 1] was moved down to the first item of c: shift the table back. */
    for (size_t c = 0; c < cells; c++)
        g->start[c] = g->start[c + 1];
    g->start[cells] = count;
    return true;
}

void grid_free(Grid *g)
{
    free(g->start);
    free(g->item);
    free(g->cell);
    *g = (Grid){0};
}

GridWindow grid_window(const Grid *g, size_t fibre, double s, double y, double reach)
{
    GridWindow w;
    const size_t last_s = cell_index(s + reach, g->cell_s, g->along);
    w.first_s = cell_index(s - reach, g->cell_s, g->along);
    if (2.0 * (reach + g->cell_y) >= g->period) {
        w.first_y = 0;
        w.wide_y = g->around;
    } else {
        w.first_y = cell_index(wrap_around(y - reach, g->period), g->cell_y, g->around);
        w.wide_y = 2 + (size_t)(2.0 * reach / g->cell_y);
        if (w.wide_y > g->around)
            w.wide_y = g->around;
    }
    w.cells = (last_s - w.first_s + 1) * w.wide_y;
    w.base = fibre * g->along * g->around;
    return w;
}

double particle_diffusivity(const Model *m, double radius, double phi, double beam)
{
    const double square = radius * radius;
    const double loose = 1.0 - phi;
    return beam * m->d.hop * model_size_factor(m, radius) / (square * square) * loose * loose;
}

void motion_step(Model *m, double beam)
{
    Particles *p = &m->particles;
    for (size_t i = 0; i < p->count; i++) {
        const double radius = cap_radius(p->base[i], p->tau[i]);
        const double spread =
            sqrt(2.0 * particle_diffusivity(m, radius, p->phi[i], beam) * m->par.tick_s);
        if (spread < 1e-6)
            continue; /* a millionth of a nanometre a tick */
        double z[2];
        rng_normal_pair(rng_draw(m->seed, DRAW_WALK, p->uid[i], (uint64_t)m->tick), z);
        p->s[i] = reflect(p->s[i] + spread * z[0], m->par.fibre_length_nm);
        p->y[i] = wrap_around(p->y[i] + spread * z[1], m->d.period);
    }
}

/* Grain structure of the fused particle: a small partner adopts the lattice of the large one,
 * otherwise a boundary lives for R^2/q. */
static void fuse_grains(Model *m, size_t keep, size_t gone, double ratio, double radius)
{
    Particles *p = &m->particles;
    if (ratio < m->par.adoption_ratio)
        return;
    p->lattice_2[keep] = p->lattice[gone];
    p->boundary_life[keep] = radius * radius / m->par.boundary_sweep_nm2_s;
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

size_t fuse(Model *m, size_t i, size_t j)
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

    p->s[keep] += share * ds;
    p->y[keep] = wrap_around(p->y[keep] + share * dy, m->d.period);
    p->phi[keep] += share * (p->phi[gone] - p->phi[keep]);
    p->feed[keep] += share * (p->feed[gone] - p->feed[keep]);
    p->current[keep] += p->current[gone];
    /* The sum of two doubles is not always one: what the rounding leaves goes to the circuit. */
    p->volume[keep] = total;
    const double back = total - large;
    const double lost = (large - (total - back)) + (small - back);
    long_sum_add(&m->net_volume, -lost);
    p->base[keep] = cbrt(total / cap_volume_factor(tan(0.5 * theta)));
    p->tau[keep] = contact_line_slide(&m->d.line, total, &p->base[keep], &p->side[keep]);

    fuse_neck(p, keep, sqrt(ds * ds + dy * dy), atan2(dy, ds), share);
    fuse_grains(m, keep, gone, ratio, cap_radius(p->base[keep], p->tau[keep]));
    model_log(m, model_time(m, m->tick + 1), EVENT_MERGE, p->uid[keep],
              (int64_t)p->uid[gone], total, p->fibre[keep]);
    return gone;
}

static bool pairs_reserve(Scratch *w, size_t room)
{
    if (room <= w->room_pairs)
        return true;
    Pair *pair = realloc(w->pair, 2 * room * sizeof *pair);
    if (!pair)
        return false;
    w->pair = pair;
    w->room_pairs = 2 * room;
    return true;
}

/* All touching pairs; the larger particle looks for the smaller.  -1 when memory is short. */
static ptrdiff_t find_contacts(Model *m)
{
    const Particles *p = &m->particles;
    const Grid *g = &m->particle_grid;
    size_t found = 0;
    for (size_t i = 0; i < p->count; i++) {
        const double a = p->base[i], gap = m->par.touch_gap_nm;
        const GridWindow w = grid_window(g, p->fibre[i], p->s[i], p->y[i], 2.0 * a + gap);
        for (size_t c = 0; c < w.cells; c++) {
            const size_t cell = grid_window_cell(g, &w, c);
            for (size_t k = g->start[cell]; k < g->start[cell + 1]; k++) {
                const size_t j = g->item[k];
                if (p->base[j] > a || (p->base[j] == a && j >= i))
                    continue;
                const double ds = p->s[j] - p->s[i];
                const double dy = around_distance(p->y[j] - p->y[i], m->d.period);
                const double reach = a + p->base[j] + gap;
                if (ds * ds + dy * dy >= reach * reach)
                    continue;
                if (!pairs_reserve(&m->scratch, found + 1))
                    return -1;
                m->scratch.pair[found++] = i < j ? (Pair){i, j} : (Pair){j, i};
            }
        }
    }
    return (ptrdiff_t)found;
}

static int compare_pairs(const void *x, const void *y)
{
    const Pair *a = x, *b = y;
    if (a->i != b->i)
        return a->i < b->i ? -1 : 1;
    return a->j < b->j ? -1 : (a->j > b->j);
}

bool coalescence_step(Model *m)
{
    Particles *p = &m->particles;
    while (p->count > 1) {
        if (!grid_build(&m->particle_grid, &m->par, m->d.period, p->count, p->fibre, p->s, p->y))
            return false;
        const ptrdiff_t found = find_contacts(m);
        if (found < 0)
            return false;
        if (found == 0)
            break;
        qsort(m->scratch.pair, (size_t)found, sizeof(Pair), compare_pairs);
        unsigned char *taken = m->scratch.taken; /* 1: merged this round, 2: to be removed */
        for (size_t i = 0; i < p->count; i++)
            taken[i] = 0;
        for (size_t k = 0; k < (size_t)found; k++) {
            const Pair pair = m->scratch.pair[k];
            if (taken[pair.i] || taken[pair.j])
                continue;
            taken[pair.i] = taken[pair.j] = 1;
            taken[fuse(m, pair.i, pair.j)] = 2;
        }
        for (size_t i = p->count; i-- > 0;)
            if (taken[i] == 2)
                particles_remove(p, i); /* what moves here from the end has been looked at */
    }
    return true;
}
