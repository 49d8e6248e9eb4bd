/* What is in the picture besides the lithium: carbon fibres and the STM probe. */
#include <math.h>

#include "image.h"
#include "rng.h"

#define TEXEL_NM 3.0       /* grain of the mottling of amorphous carbon */
#define TEXTURE_DEPTH 0.015 /* relative thickness, rms */
#define EDGE_FINE_NM 1.0   /* roughness of the fibre's outline, two length scales */
#define EDGE_COARSE_NM 2.5

void texture_fill(uint64_t seed, float *texture)
{
    for (uint32_t i = 0; i < TEXTURE_SIZE * TEXTURE_SIZE; i += 2) {
        double z[2];
        rng_normal_pair(rng_draw(seed, DRAW_TEXTURE, i, 0), z);
        texture[i] = (float)(1.0 + TEXTURE_DEPTH * z[0]);
        texture[i + 1] = (float)(1.0 + TEXTURE_DEPTH * z[1]);
    }
}

/* Smooth noise in [-1, 1] along x with knots every `period` nm. */
static double smooth_noise(uint64_t seed, uint64_t line, double x, double period)
{
    const double place = x / period, knot = floor(place), t = place - knot;
    double value[2];
    for (int k = 0; k < 2; k++) {
        const PhiloxBlock b =
            rng_draw(seed, DRAW_EDGE, line, (uint64_t)((int64_t)knot + k));
        value[k] = 2.0 * rng_uniform(b.v[0], b.v[1]) - 1.0;
    }
    return value[0] + (value[1] - value[0]) * t * t * (3.0 - 2.0 * t);
}

/* 0 beyond the free end of the fibre, 1 along it, rounded over its radius. */
static double fibre_end(const Model *m, double x)
{
    const double rounding = 0.9 * m->par.fibre_radius_nm;
    const double inside = (x + 0.5 * m->par.fibre_length_nm) / rounding + 0.5;
    if (inside <= 0.0)
        return 0.0;
    return inside < 1.0 ? sqrt(inside * (2.0 - inside)) : 1.0;
}

static void fibre_edges(const Model *m, size_t fibre, const View *v, float *top, float *bottom)
{
    float *const side[2] = {top, bottom};
    for (size_t k = 0; k < 2; k++)
        for (size_t c = 0; c < v->width; c++) {
            const double x = view_x(v, c);
            const uint64_t line = 4 * fibre + 2 * k;
            side[k][c] = (float)(fibre_end(m, x) * (m->par.fibre_radius_nm +
                                 EDGE_COARSE_NM * smooth_noise(m->seed, line, x, 70.0) +
                                 EDGE_FINE_NM * smooth_noise(m->seed, line + 1, x, 9.0)));
        }
}

static size_t texel(double x)
{
    const double place = x / (TEXEL_NM * TEXTURE_SIZE);
    const size_t k = (size_t)((place - floor(place)) * TEXTURE_SIZE);
    return k < TEXTURE_SIZE ? k : TEXTURE_SIZE - 1;
}

void draw_fibres(const Model *m, const View *v, const Attenuation *at, const float *texture,
                 float *edges, float *map)
{
    const double matter = m->par.substrate > 0.0 ? at->oxide : at->carbon;
    const double reach = m->par.fibre_radius_nm + EDGE_COARSE_NM + EDGE_FINE_NM;
    for (size_t f = 0; f < (size_t)m->par.fibre_count; f++) {
        const double centre = fibre_centre(m, f);
        fibre_edges(m, f, v, edges, edges + v->width);
        for (size_t r = 0; r < v->height; r++) {
            const double y = view_y(v, r) - centre;
            if (fabs(y) >= reach)
                continue;
            const float *edge = y > 0.0 ? edges : edges + v->width;
            const float *grain = texture + texel(view_y(v, r)) * TEXTURE_SIZE;
            const float square = (float)(y * y), per_nm = (float)(2.0 * matter);
            float *line = map + r * v->width;
            double place = view_x(v, 0) / TEXEL_NM;
            place -= TEXTURE_SIZE * floor(place / TEXTURE_SIZE);
            const double step = v->pixel / TEXEL_NM;
            for (size_t c = 0; c < v->width; c++) {
                const float inside = edge[c] * edge[c] - square;
                const size_t t = (size_t)(place + step * (double)c) % TEXTURE_SIZE;
                if (inside > 0.0f)
                    line[c] += per_nm * sqrtf(inside) * grain[t];
            }
        }
    }
}

#define TIP_RADIUS 60.0  /* nm, tungsten apex */
#define TIP_COAT 45.0    /* nm, lithium and its oxide on it */
#define TIP_SLOPE 0.16   /* tangent of the half angle of the cone */

/* Radius of a rounded cone at u from its apex. */
static double tip_radius(double u, double apex)
{
    if (u <= 0.0)
        return 0.0;
    const double sine = TIP_SLOPE / sqrt(1.0 + TIP_SLOPE * TIP_SLOPE);
    const double joint = apex * (1.0 - sine);
    if (u < joint)
        return sqrt(u * (2.0 * apex - u));
    return sqrt(joint * (2.0 * apex - joint)) + TIP_SLOPE * (u - joint);
}

void tip_shape(const Model *m, const FrameRequest *request, Tip *tip)
{
    for (size_t side = 0; side < 2; side++) {
        const uint64_t line = 1000 + 2 * side;
        for (int k = 0; k < BUMP_ROOM; k++) {
            const double along = k * request->view.pixel, fade = fmin(1.0, along / 40.0);
            tip->bumps[side][k] = fade * (7.0 * smooth_noise(m->seed, line, along, 60.0) +
                                          3.0 * smooth_noise(m->seed, line + 1, along, 13.0));
        }
    }
}

void tip_add(const FrameRequest *request, const Tip *tip, const Attenuation *at, size_t row,
             float *line)
{
    const View *v = &request->view;
    const double c = cos(request->probe_axis_rad), s = sin(request->probe_axis_rad);
    const double dy = view_y(v, row) - v->origin_y - request->probe_y;
    for (size_t column = 0; column < v->width; column++) {
        const double dx = view_x(v, column) - v->origin_x - request->probe_x;
        const double along = c * dx + s * dy, across = fabs(c * dy - s * dx);
        if (along <= 0.0 || across > TIP_RADIUS + TIP_COAT + 10.0 + TIP_SLOPE * along)
            continue;
        const size_t knot = (size_t)fmin(along / v->pixel, BUMP_ROOM - 1);
        const double coat =
            tip_radius(along, TIP_RADIUS + TIP_COAT) + tip->bumps[c * dy > s * dx ? 0 : 1][knot];
        const double core = tip_radius(along - TIP_COAT, TIP_RADIUS);
        if (coat <= across)
            continue;
        const double path = 2.0 * sqrt(coat * coat - across * across);
        const double metal = core > across ? 2.0 * sqrt(core * core - across * across) : 0.0;
        line[column] += (float)(at->tungsten * metal + at->oxide * fmax(0.0, path - metal));
    }
}
