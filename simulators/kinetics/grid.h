/*
 * The cell list: points of all fibres sorted into cells of about their mean spacing.
 *
 * The strip of a fibre is s in 0 ... length and y around it, periodic; nm.
 */
#ifndef STMTEM_GRID_H
#define STMTEM_GRID_H

#include <stdbool.h>
#include <stddef.h>

#include "parameters.h"

/* Shortest way around the fibre for the difference of two places that are once around at most. */
static inline double around_distance(double dy, double period)
{
    const double half = 0.5 * period;
    return dy > half ? dy - period : (dy < -half ? dy + period : dy);
}

/* y brought into 0 <= y < period. */
double wrap_around(double y, double period);

typedef struct {
    size_t fibres, along, around;
    double cell_s, cell_y, length, period;
    size_t *start; /* first item of a cell; cells + 1 entries */
    size_t *item;
    size_t *cell;  /* cell of a point */
    size_t room_cells, room_items;
} Grid;

/* Sort points into cells.  false when memory is short. */
bool grid_build(Grid *g, const Parameters *par, double period, size_t count, const size_t *fibre,
                const double *s, const double *y);
void grid_free(Grid *g);

/* The cell of a point. */
size_t grid_cell_at(const Grid *g, size_t fibre, double s, double y);

static inline size_t grid_cells(const Grid *g)
{
    return g->fibres * g->along * g->around;
}

/* The cells that a circle touches. */
typedef struct {
    size_t first_s, first_y, wide_y, cells, base;
} GridWindow;

GridWindow grid_window(const Grid *g, size_t fibre, double s, double y, double reach);

static inline size_t grid_window_cell(const Grid *g, const GridWindow *w, size_t k)
{
    const size_t row = (w->first_y + k % w->wide_y) % g->around;
    return w->base + (w->first_s + k / w->wide_y) * g->around + row;
}

#endif
