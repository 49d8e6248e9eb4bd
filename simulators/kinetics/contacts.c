#include "contacts.h"

#include <math.h>
#include <stdlib.h>

#define SKIN_SHARE 0.05
#define GIANTS_MOST 64   /* particles that every look-up of a neighbourhood compares with */
#define CANDIDATES_MOST(count) (64 * (count) + 65536)

/* The array with room for `wanted` items, moved if it must be; NULL when memory is short. */
static void *enlarged(void *array, size_t *room, size_t wanted, size_t item)
{
    if (wanted <= *room)
        return array;
    const size_t enough = wanted + wanted / 2 + 64;
    void *grown = realloc(array, enough * item);
    if (grown)
        *room = enough;
    return grown;
}

static bool slots_reserve(Contacts *c, size_t slots)
{
    size_t room = c->room_slots, same = room, again = room;
    size_t *index = enlarged(c->index, &room, slots, sizeof *index);
    if (!index)
        return false;
    c->index = index;
    size_t *next = enlarged(c->next, &same, slots, sizeof *next);
    if (!next)
        return false;
    c->next = next;
    size_t *cell = enlarged(c->cell, &again, slots, sizeof *cell);
    if (!cell)
        return false;
    c->cell = cell;
    c->room_slots = room;
    return true;
}

static double gap_between(const Particles *p, size_t i, size_t j, double period)
{
    const double ds = p->s[j] - p->s[i], dy = around_distance(p->y[j] - p->y[i], period);
    return sqrt(ds * ds + dy * dy) - p->base[i] - p->base[j];
}

/* Gap from the present place of i to the anchor of j. */
static double gap_to_anchor(const Particles *p, size_t i, size_t j, double period)
{
    const double ds = p->anchor_s[j] - p->s[i];
    const double dy = around_distance(p->anchor_y[j] - p->y[i], period);
    return sqrt(ds * ds + dy * dy) - p->base[i] - p->anchor_base[j];
}

static bool add_candidate(Contacts *c, size_t a, size_t b, double gap)
{
    Candidate *list =
        enlarged(c->candidate, &c->room_candidates, c->candidates + 1, sizeof *list);
    if (!list)
        return false;
    c->candidate = list;
    c->candidate[c->candidates++] = (Candidate){gap, a, b};
    return true;
}

static void put_in_cell(Contacts *c, const Particles *p, size_t i)
{
    const size_t slot = p->slot[i];
    const size_t cell = grid_cell_at(&c->grid, p->fibre[i], p->s[i], p->y[i]);
    c->cell[slot] = cell;
    c->next[slot] = c->head[cell];
    c->head[cell] = slot;
}

static void take_from_cell(Contacts *c, size_t slot)
{
    size_t *link = &c->head[c->cell[slot]];
    while (*link != slot)
        link = &c->next[*link];
    *link = c->next[slot];
}

static void anchor(Particles *p, size_t i)
{
    p->anchor_s[i] = p->s[i];
    p->anchor_y[i] = p->y[i];
    p->anchor_base[i] = p->base[i];
}

static bool note_giant(Contacts *c, const Particles *p, size_t i)
{
    if (!(p->base[i] > c->wide))
        return true;
    size_t *list = enlarged(c->giant, &c->room_giants, c->giants + 1, sizeof *list);
    if (!list)
        return false;
    c->giant = list;
    c->giant[c->giants++] = p->slot[i];
    return true;
}

/* Add the pairs of particle i with those of the others that pass the test of `smaller_only`: of
 * two particles that are looked up together, the larger looks for the smaller. */
static bool look_around(Contacts *c, const Particles *p, double period, double touch, size_t i,
                        bool smaller_only)
{
    const double most = smaller_only || p->base[i] > c->wide ? p->base[i] : c->wide;
    const double near = touch + c->skin;
    /* anchors of the others may lie skin/2 from where their contact lines are now */
    const GridWindow w = grid_window(&c->grid, p->fibre[i], p->s[i], p->y[i],
                                     p->base[i] + most + near);
    for (size_t k = 0; k < w.cells; k++)
        for (size_t slot = c->head[grid_window_cell(&c->grid, &w, k)]; slot != NO_SLOT;
             slot = c->next[slot]) {
            const size_t j = c->index[slot];
            if (j == i || (smaller_only && (p->base[j] > p->base[i] ||
                                            (p->base[j] == p->base[i] && j > i))))
                continue;
            const double gap = gap_to_anchor(p, i, j, period);
            if (gap < near && !add_candidate(c, p->slot[i], slot, gap))
                return false;
        }
    if (smaller_only)
        return true;
    for (size_t k = 0; k < c->giants; k++) {
        const size_t j = c->index[c->giant[k]];
        if (j == NO_SLOT || j == i || p->fibre[j] != p->fibre[i] ||
            p->anchor_base[j] <= most) /* the window has found it */
            continue;
        const double gap = gap_to_anchor(p, i, j, period);
        if (gap < near && !add_candidate(c, p->slot[i], c->giant[k], gap))
            return false;
    }
    return true;
}

static int by_gap(const void *x, const void *y)
{
    const Candidate *a = x, *b = y;
    return a->gap < b->gap ? -1 : (a->gap > b->gap);
}

/* A base radius that at most GIANTS_MOST particles exceed, if there is one at three times the
 * mean; else the largest. */
static double wide_base(const Particles *p)
{
    double sum = 0.0, most = 0.0;
    for (size_t i = 0; i < p->count; i++) {
        sum += p->base[i];
        most = p->base[i] > most ? p->base[i] : most;
    }
    const double wide = 3.0 * sum / (double)p->count;
    size_t giants = 0;
    for (size_t i = 0; i < p->count; i++)
        giants += p->base[i] > wide;
    return giants <= GIANTS_MOST ? wide : most;
}

static bool too_many(const Contacts *c, const Particles *p)
{
    return c->candidates > CANDIDATES_MOST(p->count);
}

/* Look up all neighbourhoods, with a smaller skin where that would be too many candidates. */
static bool look_at_all(Contacts *c, const Parameters *par, double period, const Particles *p)
{
    enum { SKINS = 3 };
    static const double share[SKINS] = {SKIN_SHARE, SKIN_SHARE / 8.0, 0.0};
    const double area = par->fibre_length_nm * period * par->fibre_count;
    for (size_t k = c->crowd ? SKINS - 1 : 0; k < SKINS; k++) {
        c->skin = share[k] * sqrt(area / (double)p->count);
        c->candidates = 0;
        for (size_t i = 0; i < p->count && !too_many(c, p); i++)
            if (!look_around(c, p, period, par->touch_gap_nm, i, true))
                return false;
        if (!too_many(c, p))
            break;
    }
    return true;
}

/* When even the touching pairs are too many, valid stays false and crowd is set. */
static bool rebuild(Contacts *c, const Parameters *par, double period, Particles *p)
{
    Grid *g = &c->grid;
    c->valid = false;
    if (!slots_reserve(c, p->count) ||
        !grid_build(g, par, period, p->count, p->fibre, p->s, p->y))
        return false;
    size_t *head = enlarged(c->head, &c->room_cells, grid_cells(g), sizeof *head);
    if (!head)
        return false;
    c->head = head;
    c->wide = wide_base(p);
    c->slots = p->count;
    c->giants = c->candidates = c->looses = 0;
    c->excursion = 0.0;
    for (size_t cell = 0; cell < grid_cells(g); cell++)
        c->head[cell] = NO_SLOT;
    for (size_t i = p->count; i-- > 0;) {
        p->slot[i] = i;
        c->index[i] = i;
        anchor(p, i);
        put_in_cell(c, p, i);
        if (!note_giant(c, p, i))
            return false;
    }
    if (!look_at_all(c, par, period, p))
        return false;
    c->crowd = too_many(c, p);
    if (c->crowd)
        return true;
    if (c->candidates > 1)
        qsort(c->candidate, c->candidates, sizeof *c->candidate, by_gap);
    c->sorted = c->candidates;
    c->valid = true;
    return true;
}

/* Look up the neighbourhood of a particle that has moved, or is new, at its present place. */
static bool look_up(Contacts *c, const Parameters *par, double period, Particles *p, size_t i)
{
    if (p->slot[i] == NO_SLOT) {
        if (!slots_reserve(c, c->slots + 1))
            return false;
        p->slot[i] = c->slots++;
        c->index[p->slot[i]] = i;
    } else {
        take_from_cell(c, p->slot[i]);
    }
    anchor(p, i);
    put_in_cell(c, p, i);
    return note_giant(c, p, i) && look_around(c, p, period, par->touch_gap_nm, i, false);
}

static double excursion_of(const Particles *p, size_t i)
{
    const double wider = p->base[i] - p->anchor_base[i];
    return fabs(p->s[i] - p->anchor_s[i]) + fabs(p->y[i] - p->anchor_y[i]) +
           (wider > 0.0 ? wider : 0.0);
}

/* Bring the candidates up to date.  *reach: how far any two may have come closer since. */
static bool refresh(Contacts *c, const Parameters *par, double period,
                    Particles *p, double *reach)
{
    *reach = 0.0;
    if (!c->valid || c->candidates > c->sorted + c->sorted / 4 + 256 ||
        c->slots > 2 * p->count + 64 || c->giants > 2 * GIANTS_MOST)
        return rebuild(c, par, period, p);
    const double allowed = 0.5 * c->skin;
    /* the newborn are the last of all */
    for (size_t i = p->count; i-- > 0 && p->slot[i] == NO_SLOT && !too_many(c, p);)
        if (!look_up(c, par, period, p, i))
            return false;
    if (c->excursion > allowed)
        for (size_t i = 0; i < p->count && !too_many(c, p); i++)
            if (excursion_of(p, i) > allowed && !look_up(c, par, period, p, i))
                return false;
    for (size_t k = 0; k < c->looses && !too_many(c, p); k++) {
        const size_t i = c->index[c->loose[k]];
        if (i != NO_SLOT && p->anchor_s[i] == NO_ANCHOR && !look_up(c, par, period, p, i))
            return false;
    }
    if (too_many(c, p))
        return rebuild(c, par, period, p);
    c->looses = 0;
    *reach = 2.0 * (c->excursion < allowed ? c->excursion : allowed);
    return true;
}

static int by_uid(const void *x, const void *y)
{
    const Pair *a = x, *b = y;
    if (a->uid_i != b->uid_i)
        return a->uid_i < b->uid_i ? -1 : 1;
    return a->uid_j < b->uid_j ? -1 : (a->uid_j > b->uid_j);
}

static bool note_pair(Contacts *c, const Particles *p, size_t i, size_t j, size_t *found)
{
    Pair *list = enlarged(c->pair, &c->room_pairs, *found + 1, sizeof *list);
    if (!list)
        return false;
    c->pair = list;
    c->pair[(*found)++] = p->uid[i] < p->uid[j] ? (Pair){i, j, p->uid[i], p->uid[j]}
                                                : (Pair){j, i, p->uid[j], p->uid[i]};
    return true;
}

/* Pair up particles that touch and lie within most_reach, each at most once, so that time and
 * memory stay bounded however many lie on one spot.  After rebuild(): slots are indices.  Those
 * that are taken leave their cells. */
static bool pair_up(Contacts *c, const Particles *p, double period, double touch,
                    double most_reach, size_t *found)
{
    for (size_t i = 0; i < p->count; i++) {
        const double reach = fmin(2.0 * p->base[i] + touch, most_reach);
        const GridWindow w = grid_window(&c->grid, p->fibre[i], p->s[i], p->y[i], reach);
        for (size_t k = 0; k < w.cells && c->index[i] != NO_SLOT; k++) {
            size_t *link = &c->head[grid_window_cell(&c->grid, &w, k)];
            while (*link != NO_SLOT &&
                   (*link == i || gap_between(p, i, *link, period) >= touch))
                link = &c->next[*link];
            const size_t j = *link;
            if (j == NO_SLOT)
                continue;
            if (!note_pair(c, p, i, j, found))
                return false;
            c->index[i] = c->index[j] = NO_SLOT;
            *link = c->next[j];
            take_from_cell(c, i);
        }
    }
    return true;
}

static ptrdiff_t thin_out(Contacts *c, const Particles *p, double period, double touch)
{
    size_t found = 0;
    const double near = fmin(c->grid.cell_s, c->grid.cell_y);
    if (!pair_up(c, p, period, touch, near, &found) ||
        (found == 0 && !pair_up(c, p, period, touch, INFINITY, &found)))
        return -1;
    return (ptrdiff_t)found;
}

ptrdiff_t contacts_find(Contacts *c, const Parameters *par, double period, Particles *p)
{
    const double touch = par->touch_gap_nm;
    double reach;
    size_t found = 0;
    if (p->count < 2)
        return 0;
    if (!refresh(c, par, period, p, &reach)) {
        c->valid = false;
        return -1;
    }
    if (c->crowd)
        return thin_out(c, p, period, touch);
    for (size_t k = 0; k < c->candidates; k++) {
        const Candidate *q = &c->candidate[k];
        if (k < c->sorted && q->gap - reach >= touch) {
            k = c->sorted - 1; /* the others of the ordered part are further apart still */
            continue;
        }
        const size_t i = c->index[q->a], j = c->index[q->b];
        if (i == NO_SLOT || j == NO_SLOT || gap_between(p, i, j, period) >= touch)
            continue;
        if (!note_pair(c, p, i, j, &found))
            return -1;
    }
    if (found > 1)
        qsort(c->pair, found, sizeof *c->pair, by_uid);
    return (ptrdiff_t)found;
}

bool contacts_sort(Contacts *c, const Parameters *par, double period, Particles *p)
{
    c->valid = false;
    return grid_build(&c->grid, par, period, p->count, p->fibre, p->s, p->y) &&
           particles_reorder(p, c->grid.item);
}

void contacts_forget(Contacts *c, Particles *p, size_t i)
{
    const size_t last = p->count - 1;
    if (!c->valid)
        return;
    if (p->slot[i] != NO_SLOT) {
        take_from_cell(c, p->slot[i]);
        c->index[p->slot[i]] = NO_SLOT;
    }
    if (last != i && p->slot[last] != NO_SLOT)
        c->index[p->slot[last]] = i;
}

bool contacts_loosen(Contacts *c, Particles *p, size_t i)
{
    p->anchor_s[i] = NO_ANCHOR;
    if (!c->valid || p->slot[i] == NO_SLOT)
        return true;
    size_t *list = enlarged(c->loose, &c->room_loose, c->looses + 1, sizeof *list);
    if (!list)
        return false;
    c->loose = list;
    c->loose[c->looses++] = p->slot[i];
    return true;
}

void contacts_free(Contacts *c)
{
    grid_free(&c->grid);
    free(c->index);
    free(c->next);
    free(c->cell);
    free(c->head);
    free(c->giant);
    free(c->candidate);
    free(c->loose);
    free(c->pair);
    *c = (Contacts){0};
}
