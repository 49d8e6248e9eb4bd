/*
 * Hot loops of the reaction box; compiled once for each instruction set, as particle_kernels.h.
 *
 * Every operation is a rounded +, -, *, / or square root, or whole-number, and none is fused: all
 * sets give the same bits.  A pair of normal numbers comes from two words of 32 bits (Box and
 * Muller, Ann. Math. Stat. 29, 1958, 610), so that |z| < 6.8.
 */
#include "box_geometry.h"
#include "elementary.h"
#include "philox_lanes.h"

/* Uniform in (0, 1) from the low half of a word. */
static inline double box_uniform(uint64_t word)
{
    const double whole = double_of(0x4330000000000000u | (word & 0xFFFFFFFFu)); /* 2^52 + word */
    return (whole - (0x1p52 - 0.5)) * 0x1p-32;
}

static inline void box_normal_tile(const uint64_t *restrict u, const uint64_t *restrict v,
                                   double spread, double *restrict first, double *restrict second)
{
    for (size_t i = 0; i < BOX_TILE; i++) {
        double sine, cosine;
        elementary_turn(box_uniform(v[i]), &sine, &cosine);
        const double radius = spread * sqrt(-2.0 * elementary_log(box_uniform(u[i])));
        first[i] = radius * cosine;
        second[i] = radius * sine;
    }
}

/* Move a tile along one axis and add the square of the way from `start` to `way_square`. */
static inline void box_move_tile(const double *restrict by, double *restrict x,
                                 const double *restrict start, double *restrict way_square)
{
    for (size_t i = 0; i < BOX_TILE; i++) {
        x[i] += by[i];
        const double way = x[i] - start[i];
        way_square[i] += way * way;
    }
}

static bool box_move_kernel(const BoxMove *m)
{
    uint64_t words[4][BOX_TILE], beyond = 0;
    double first[BOX_TILE], second[BOX_TILE], way_square[BOX_TILE];
    for (size_t at = 0; at < m->count; at += BOX_TILE) {
        philox_lanes(m->seed, DRAW_BOX_STEP, m->step, BOX_TILE, m->uid + at, words[0]);
        memset(way_square, 0, sizeof way_square);
        box_normal_tile(words[0], words[1], m->spread, first, second);
        box_move_tile(first, m->x[0] + at, m->start[0] + at, way_square);
        box_move_tile(second, m->x[1] + at, m->start[1] + at, way_square);
        if (m->x[2]) {
            box_normal_tile(words[2], words[3], m->spread, first, second);
            box_move_tile(first, m->x[2] + at, m->start[2] + at, way_square);
        }
        for (size_t i = 0; i < BOX_TILE; i++)
            beyond |= way_square[i] > m->far_square ? 1u : 0u;
    }
    return beyond != 0;
}

/* 1 when a pair of the block is nearer than sqrt(near_square). */
static inline uint64_t box_block_near(const BoxPairs *p, const int32_t *restrict a,
                                      const int32_t *restrict b)
{
    const double *restrict x = p->x[0], *restrict y = p->x[1], *restrict z = p->x[2];
    const double length = p->length, per_length = p->per_length, near_square = p->near_square;
    uint64_t near = 0;
    if (z)
        for (size_t k = 0; k < BOX_BLOCK; k++) {
            const double dx = box_nearest(x[b[k]] - x[a[k]], length, per_length);
            const double dy = box_nearest(y[b[k]] - y[a[k]], length, per_length);
            const double dz = box_nearest(z[b[k]] - z[a[k]], length, per_length);
            near |= dx * dx + dy * dy + dz * dz < near_square ? 1u : 0u;
        }
    else
        for (size_t k = 0; k < BOX_BLOCK; k++) {
            const double dx = box_nearest(x[b[k]] - x[a[k]], length, per_length);
            const double dy = box_nearest(y[b[k]] - y[a[k]], length, per_length);
            near |= dx * dx + dy * dy < near_square ? 1u : 0u;
        }
    return near;
}

static size_t box_near_kernel(const BoxPairs *p, uint32_t *found)
{
    size_t count = 0;
    for (size_t first = 0; first < p->count; first += BOX_BLOCK) {
        if (!box_block_near(p, p->a + first, p->b + first))
            continue;
        for (size_t k = first; k < first + BOX_BLOCK; k++)
            if (box_square(p, (size_t)p->a[k], (size_t)p->b[k]) < p->near_square)
                found[count++] = (uint32_t)k;
    }
    return count;
}
