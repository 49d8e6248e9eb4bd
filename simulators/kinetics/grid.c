#include "grid.h"

#include <math.h>
#include <stdlib.h>

double wrap_around(double y, double period)
{
    const double w = y - period * floor(y / period);
    return w >= 0.0 && w < period ? w : 0.0;
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

size_t grid_cell_at(const Grid *g, size_t fibre, double s, double y)
{
    const size_t along = cell_index(s, g->cell_s, g->along);
    const size_t around = cell_index(y, g->cell_y, g->around);
    return (fibre * g->along + along) * g->around + around;
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
    g->along = 1 + (size_t)fmin(g->length / spacing, 65536.0);
    g->around = 1 + (size_t)fmin(period / spacing, 65536.0);
    g->cell_s = g->length / (double)g->along;
    g->cell_y = period / (double)g->around;
    const size_t cells = fibres * g->along * g->around;
    if (!grid_reserve(g, cells, count + 1))
        return false;
    for (size_t c = 0; c <= cells; c++)
        g->start[c] = 0;
    for (size_t i = 0; i < count; i++) {
        g->cell[i] = grid_cell_at(g, fibre[i], s[i], y[i]);
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

