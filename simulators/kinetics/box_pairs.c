/* The list of near pairs of the reaction box: cells, one after the other in memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reaction_box.h"

/* Measured costs, ns, of listing a particle, of listing a pair and of looking at a pair; with
 * other numbers the box is slower, never wrong. */
#define COST_PARTICLE 40.0
#define COST_LISTED 15.0
#define COST_LOOK 2.0

/* The skin that costs least: wide ones mean many pairs, narrow ones many listings. */
static double choose_skin(const ReactionBox *b)
{
    const double radius = b->set.radius, length = b->set.length;
    const bool flat = b->set.dimensions == 2;
    const double box = flat ? length * length : length * length * length;
    const double ball = flat ? 3.141592653589793 : 4.1887902047863905;
    /* The furthest of n walkers is at about spread * sqrt((2 log n + 4) steps). */
    const double stray = b->spread * b->spread * (2.0 * log((double)b->alive + 1.0) + 4.0);
    double best = radius, best_cost = INFINITY;
    for (double skin = radius; skin <= length; skin *= 1.1) {
        const double reach = radius + skin;
        const double volume = ball * (flat ? reach * reach : reach * reach * reach);
        const double pairs = 0.5 * (double)b->alive * fmin(volume / box, 1.0);
        const double steps = fmax(0.25 * skin * skin / stray, 1.0);
        const double cost = (COST_PARTICLE + COST_LISTED * pairs) / steps + COST_LOOK * pairs;
        if (cost < best_cost) {
            best_cost = cost;
            best = skin;
        }
    }
    return best;
}

/* Cells along an edge: as wide as the reach, but not many more than particles. */
static size_t choose_cells(const ReactionBox *b, double reach)
{
    const double most = 3.0 + (b->set.dimensions == 2 ? sqrt(4.0 * (double)b->alive)
                                                      : cbrt(4.0 * (double)b->alive));
    return (size_t)fmin(b->set.length / (reach * (1.0 + 1e-9)), most);
}

static size_t cell_along(double x, double per_length, size_t cells)
{
    const double t = box_nearest(x * per_length, 1.0, 1.0); /* -1/2 ... 1/2 */
    const size_t cell = (size_t)((t + 0.5) * (double)cells);
    return cell < cells ? cell : cells - 1;
}

static void swap_places(ReactionBox *b)
{
    uint64_t *uid = b->uid;
    b->uid = b->spare_uid;
    b->spare_uid = uid;
    for (int axis = 0; axis < b->set.dimensions; axis++) {
        double *x = b->x[axis];
        b->x[axis] = b->spare[axis];
        b->spare[axis] = x;
    }
}

/* Counting sort by cell; a cell lists its particles in the order they had. */
static bool sort_by_cell(ReactionBox *b, size_t edge)
{
    const size_t cells = b->set.dimensions == 2 ? edge * edge : edge * edge * edge;
    if (cells + 1 > b->room_cells) {
        uint32_t *start = realloc(b->cell_start, (cells + 1) * sizeof *start);
        if (!start)
            return false;
        b->cell_start = start;
        b->room_cells = cells + 1;
    }
    const double per_length = 1.0 / b->set.length;
    uint32_t *start = b->cell_start;
    memset(start, 0, (cells + 1) * sizeof *start);
    for (size_t i = 0; i < b->filled; i++) {
        if (isnan(b->x[0][i]))
            continue;
        size_t cell = 0;
        for (int axis = b->set.dimensions; axis-- > 0;)
            cell = cell * edge + cell_along(b->x[axis][i], per_length, edge);
        b->cell_of[i] = (uint32_t)cell;
        start[cell]++;
    }
    uint32_t sum = 0;
    for (size_t cell = 0; cell <= cells; cell++) {
        const uint32_t here = start[cell];
        start[cell] = sum;
        sum += here;
    }
    for (size_t i = 0; i < b->filled; i++) {
        if (isnan(b->x[0][i]))
            continue;
        const uint32_t place = start[b->cell_of[i]]++;
        b->spare_uid[place] = b->uid[i];
        for (int axis = 0; axis < b->set.dimensions; axis++)
            b->spare[axis][place] = b->x[axis][i];
    }
    /* Each start is now that of the next cell. */
    memmove(start + 1, start, cells * sizeof *start);
    start[0] = 0;
    return true;
}

bool box_reserve_pairs(ReactionBox *b, size_t more)
{
    const size_t need = b->pairs + more + BOX_BLOCK;
    if (need <= b->room_pairs)
        return true;
    if (need > UINT32_MAX / 2)
        return false;
    int32_t *a = realloc(b->a, 2 * need * sizeof *a);
    if (!a)
        return false;
    b->a = a;
    int32_t *c = realloc(b->b, 2 * need * sizeof *c);
    if (!c)
        return false;
    b->b = c;
    uint32_t *found = realloc(b->found, 2 * need * sizeof *found);
    if (!found)
        return false;
    b->found = found;
    b->room_pairs = 2 * need;
    return true;
}

/* List the partners of `i` among the places first ... last - 1. */
static void list_range(ReactionBox *b, const BoxPairs *p, double square, size_t i, size_t first,
                       size_t last)
{
    size_t count = b->pairs;
    for (size_t k = first; k < last; k++) {
        b->a[count] = (int32_t)i;
        b->b[count] = (int32_t)k;
        count += box_square(p, i, k) <= square;
    }
    b->pairs = count;
}

/* The particles of the cells first ... last of a row of cells, as places. */
typedef struct {
    size_t first, last;
} Range;

/* Rows of cells that hold the partners of a cell: half of its neighbours, each pair once. */
static size_t rows_ahead(const ReactionBox *b, size_t edge, size_t row, size_t rows[4])
{
    const size_t y = row % edge, z = row / edge;
    const size_t before = y ? y - 1 : edge - 1, after = y + 1 < edge ? y + 1 : 0;
    rows[0] = z * edge + after;
    if (b->set.dimensions == 2)
        return 1;
    const size_t above = z + 1 < edge ? z + 1 : 0;
    rows[1] = above * edge + before;
    rows[2] = above * edge + y;
    rows[3] = above * edge + after;
    return 4;
}

static bool list_row(ReactionBox *b, const BoxPairs *p, double square, size_t edge, size_t row)
{
    size_t rows[4];
    const size_t count = rows_ahead(b, edge, row, rows);
    const uint32_t *start = b->cell_start;
    for (size_t x = 0; x < edge; x++) {
        const uint32_t *own = start + row * edge;
        if (own[x] == own[x + 1])
            continue;
        const size_t after = x + 1 < edge ? x + 1 : 0;
        Range range[12];
        size_t ranges = 0, others = own[x + 1] - own[x];
        range[ranges++] = (Range){own[after], own[after + 1]};
        for (size_t k = 0; k < count; k++) {
            const uint32_t *r = start + rows[k] * edge;
            if (x > 0 && x + 1 < edge) {
                range[ranges++] = (Range){r[x - 1], r[x + 2]};
            } else { /* at an end of the row: the other end is near too */
                const size_t low = x > 0 ? x - 1 : 0, other = x > 0 ? 0 : edge - 1;
                range[ranges++] = (Range){r[low], r[low + 2]};
                range[ranges++] = (Range){r[other], r[other + 1]};
            }
        }
        for (size_t k = 0; k < ranges; k++)
            others += range[k].last - range[k].first;
        if (!box_reserve_pairs(b, others * (own[x + 1] - own[x])))
            return false;
        for (size_t i = own[x]; i < own[x + 1]; i++) {
            list_range(b, p, square, i, i + 1, own[x + 1]);
            for (size_t k = 0; k < ranges; k++)
                list_range(b, p, square, i, range[k].first, range[k].last);
        }
    }
    return true;
}

/* Places behind the last particle: NaN up to the end of its tile, and at least one. */
static void close_places(ReactionBox *b)
{
    b->filled = b->alive;
    const size_t end = (b->filled / BOX_TILE + 1) * BOX_TILE;
    for (size_t i = b->filled; i < end; i++) {
        b->uid[i] = 0;
        for (int axis = 0; axis < b->set.dimensions; axis++)
            b->x[axis][i] = (double)NAN;
    }
    for (int axis = 0; axis < b->set.dimensions; axis++)
        memcpy(b->start[axis], b->x[axis], end * sizeof(double));
}

bool box_list_pairs(ReactionBox *b)
{
    const double skin = choose_skin(b), reach = b->set.radius + skin;
    const size_t chosen = choose_cells(b, reach);
    const size_t edge = chosen < 3 ? 1 : chosen; /* of two cells each would be twice a neighbour */
    if (!sort_by_cell(b, edge))
        return false;
    swap_places(b);
    close_places(b);
    const BoxPairs p = box_geometry(b);
    const double square = reach * reach;
    b->pairs = 0;
    if (edge == 1) {
        for (size_t i = 0; i < b->filled; i++) {
            if (!box_reserve_pairs(b, b->filled))
                return false;
            list_range(b, &p, square, i, i + 1, b->filled);
        }
    } else {
        const size_t rows = b->set.dimensions == 2 ? edge : edge * edge;
        for (size_t row = 0; row < rows; row++)
            if (!list_row(b, &p, square, edge, row))
                return false;
    }
    while (b->pairs % BOX_BLOCK) { /* whole blocks: with pairs of places that hold NaN */
        b->a[b->pairs] = b->b[b->pairs] = (int32_t)b->filled;
        b->pairs++;
    }
    b->far_square = 0.25 * skin * skin * (1.0 - 1e-9);
    b->listings++;
    b->stale = false;
    return true;
}
