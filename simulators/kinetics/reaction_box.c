#include "reaction_box.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rng.h"

#define LARGEST_COUNT 100000000u
#define LARGEST_CROWD 10.0 /* mean number of others within the radius */

const char *box_complaint(const BoxSettings *set)
{
    if (set->count < 1 || set->count > LARGEST_COUNT)
        return "count must lie in 1 ... 1e8";
    if (set->dimensions != 2 && set->dimensions != 3)
        return "dimensions must be 2 or 3";
    if (!(set->length >= 1e-100 && set->length <= 1e100))
        return "length must lie in 1e-100 ... 1e100";
    if (!(set->step_s >= 1e-100 && set->step_s <= 1e100))
        return "step_s must lie in 1e-100 ... 1e100";
    if (!(set->diffusivity >= 0.0 &&
          sqrt(2.0 * set->diffusivity) * sqrt(set->step_s) <= set->length))
        return "diffusivity must be 0 or more, and a step at most as wide as the box";
    if (!(set->radius >= 0.0 && set->radius <= 0.5 * set->length))
        return "radius must lie in 0 ... length/2";
    if (set->radius > 0.0 && set->radius < 1e-9 * set->length)
        return "radius must be 0 or at least 1e-9 length";
    const double share = set->radius / set->length;
    const double crowd = set->dimensions == 2 ? share * share * 3.141592653589793
                                              : share * share * share * 4.1887902047863905;
    if ((double)(set->count - 1) * crowd > LARGEST_CROWD)
        return "radius is too large for so many particles: more than 10 others within it";
    if (!kernels_named(set->instructions))
        return "instructions must be \"auto\" or the name of a set that this processor has";
    return NULL;
}

/* Places that are not in use hold NaN: nothing is near them or far from its start. */
static void clear_places(ReactionBox *b, size_t from)
{
    for (size_t i = from; i < b->room; i++) {
        b->uid[i] = 0;
        for (int axis = 0; axis < b->set.dimensions; axis++)
            b->x[axis][i] = b->start[axis][i] = (double)NAN;
    }
}

static bool allocate_places(ReactionBox *b)
{
    b->uid = malloc(b->room * sizeof *b->uid);
    b->spare_uid = malloc(b->room * sizeof *b->spare_uid);
    b->cell_of = malloc(b->room * sizeof *b->cell_of);
    b->taken = calloc(b->room, sizeof *b->taken);
    bool good = b->uid && b->spare_uid && b->cell_of && b->taken;
    for (int axis = 0; axis < b->set.dimensions; axis++) {
        b->x[axis] = malloc(b->room * sizeof(double));
        b->start[axis] = malloc(b->room * sizeof(double));
        b->spare[axis] = malloc(b->room * sizeof(double));
        good = good && b->x[axis] && b->start[axis] && b->spare[axis];
    }
    return good;
}

ReactionBox *box_create(const BoxSettings *set)
{
    ReactionBox *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->set = *set;
    b->kernels = kernels_named(set->instructions);
    b->set.instructions = b->kernels->name; /* the caller's text may go */
    b->spread = sqrt(2.0 * set->diffusivity) * sqrt(set->step_s);
    b->alive = b->filled = (size_t)set->count;
    b->room = (b->filled / BOX_TILE + 1) * BOX_TILE;
    b->far_square = (double)INFINITY;
    b->stale = true;
    if (!allocate_places(b)) {
        box_free(b);
        return NULL;
    }
    clear_places(b, 0);
    for (size_t i = 0; i < b->filled; i++) {
        b->uid[i] = i;
        for (int axis = 0; axis < set->dimensions; axis++) {
            const PhiloxBlock block = rng_draw(set->seed, DRAW_BOX_PLACE, i, (uint64_t)axis);
            b->x[axis][i] = set->length * rng_uniform(block.v[0], block.v[1]);
            b->start[axis][i] = b->x[axis][i];
        }
    }
    return b;
}

void box_free(ReactionBox *b)
{
    if (!b)
        return;
    for (int axis = 0; axis < 3; axis++) {
        free(b->x[axis]);
        free(b->start[axis]);
        free(b->spare[axis]);
    }
    free(b->uid);
    free(b->spare_uid);
    free(b->cell_of);
    free(b->cell_start);
    free(b->a);
    free(b->b);
    free(b->found);
    free(b->contact);
    free(b->taken);
    free(b);
}

BoxPairs box_geometry(const ReactionBox *b)
{
    return (BoxPairs){
        .x = {b->x[0], b->x[1], b->x[2]},
        .length = b->set.length,
        .per_length = 1.0 / b->set.length,
        .near_square = b->set.radius * b->set.radius,
    };
}

bool box_reserve_contacts(ReactionBox *b, size_t count)
{
    if (count <= b->room_contacts)
        return true;
    BoxContact *contact = realloc(b->contact, 2 * count * sizeof *contact);
    if (!contact)
        return false;
    b->contact = contact;
    b->room_contacts = 2 * count;
    return true;
}

static bool add_contact(ReactionBox *b, size_t number, int32_t a, int32_t c)
{
    if (!box_reserve_contacts(b, number + 1))
        return false;
    const uint64_t u = b->uid[a], v = b->uid[c];
    b->contact[number] = u < v ? (BoxContact){u, v, a, c} : (BoxContact){v, u, c, a};
    return true;
}

/* All pairs within the radius; -1 when memory is short. */
static ptrdiff_t find_contacts(ReactionBox *b)
{
    BoxPairs p = box_geometry(b);
    size_t count = 0;
    if (!b->set.every_pair) {
        p.count = b->pairs;
        p.a = b->a;
        p.b = b->b;
        count = b->kernels->box_near(&p, b->found);
        for (size_t k = 0; k < count; k++)
            if (!add_contact(b, k, b->a[b->found[k]], b->b[b->found[k]]))
                return -1;
        return (ptrdiff_t)count;
    }
    for (size_t i = 0; i < b->filled; i++)
        for (size_t k = i + 1; k < b->filled; k++)
            if (box_square(&p, i, k) < p.near_square &&
                !add_contact(b, count++, (int32_t)i, (int32_t)k))
                return -1;
    return (ptrdiff_t)count;
}

static int compare_contacts(const void *first, const void *second)
{
    const BoxContact *a = first, *b = second;
    if (a->kept != b->kept)
        return a->kept < b->kept ? -1 : 1;
    return a->gone < b->gone ? -1 : (a->gone > b->gone);
}

/* Bring the particle at `a` to the middle and let that at `c` go. */
static void fuse(ReactionBox *b, size_t a, size_t c)
{
    const double length = b->set.length, per_length = 1.0 / length;
    double way = 0.0;
    for (int axis = 0; axis < b->set.dimensions; axis++) {
        double *x = b->x[axis];
        x[a] += 0.5 * box_nearest(x[c] - x[a], length, per_length);
        x[c] = (double)NAN;
        const double gone = x[a] - b->start[axis][a];
        way += gone * gone;
    }
    b->alive--;
    if (way > b->far_square)
        b->stale = true;
}

static bool fuse_contacts(ReactionBox *b)
{
    for (;;) {
        if (b->stale && !b->set.every_pair && !box_list_pairs(b))
            return false;
        const ptrdiff_t found = find_contacts(b);
        if (found < 0)
            return false;
        if (found == 0)
            return true;
        qsort(b->contact, (size_t)found, sizeof(BoxContact), compare_contacts);
        for (ptrdiff_t k = 0; k < found; k++) {
            const BoxContact c = b->contact[k];
            if (b->taken[c.a] || b->taken[c.b])
                continue;
            b->taken[c.a] = b->taken[c.b] = 1;
            fuse(b, (size_t)c.a, (size_t)c.b);
        }
        for (ptrdiff_t k = 0; k < found; k++)
            b->taken[b->contact[k].a] = b->taken[b->contact[k].b] = 0;
    }
}

bool box_run(ReactionBox *b, uint64_t steps)
{
    for (uint64_t done = 0; done < steps; done++) {
        if (!b->unfinished) {
            const BoxMove move = {
                .count = (b->filled + BOX_TILE - 1) / BOX_TILE * BOX_TILE,
                .uid = b->uid,
                .x = {b->x[0], b->x[1], b->x[2]},
                .start = {b->start[0], b->start[1], b->start[2]},
                .seed = b->set.seed,
                .step = b->step,
                .spread = b->spread,
                .far_square = b->far_square,
            };
            b->stale |= b->kernels->box_move(&move);
            b->unfinished = true;
        }
        if (b->set.radius > 0.0 && !fuse_contacts(b))
            return false;
        b->unfinished = false;
        b->step++;
    }
    return true;
}

bool box_export(const ReactionBox *b, bool folded, double *rows, int64_t *uids)
{
    const size_t none = SIZE_MAX;
    size_t *place = malloc((size_t)b->set.count * sizeof *place);
    if (!place)
        return false;
    for (size_t uid = 0; uid < b->set.count; uid++)
        place[uid] = none;
    for (size_t i = 0; i < b->filled; i++)
        if (!isnan(b->x[0][i]))
            place[b->uid[i]] = i;
    size_t row = 0;
    for (size_t uid = 0; uid < b->set.count; uid++) {
        if (place[uid] == none)
            continue;
        for (int axis = 0; axis < b->set.dimensions; axis++) {
            double x = b->x[axis][place[uid]];
            if (folded) {
                x -= b->set.length * floor(x / b->set.length);
                x = x >= 0.0 && x < b->set.length ? x : 0.0;
            }
            *rows++ = x;
        }
        uids[row++] = (int64_t)uid;
    }
    free(place);
    return true;
}
