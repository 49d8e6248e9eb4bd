#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "never build with -ffast-math: it removes the rounding step of transmission()"
#endif

/* Tables and maps that are made once and kept with the model. */
typedef struct {
    PoissonTables *poisson;
    float texture[TEXTURE_SIZE * TEXTURE_SIZE];
    size_t room;
    float *map;   /* loss, height*width */
    size_t row_room;
    float *rows;  /* 4*width */
} Imaging;

void imaging_free(void *imaging)
{
    Imaging *g = imaging;
    if (!g)
        return;
    poisson_tables_free(g->poisson);
    free(g->map);
    free(g->rows);
    free(g);
}

static Imaging *imaging_of(Model *m)
{
    if (m->imaging)
        return m->imaging;
    Imaging *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->poisson = poisson_tables_create();
    if (!g->poisson) {
        free(g);
        return NULL;
    }
    texture_fill(m->seed, g->texture);
    m->imaging = g;
    return g;
}

static bool imaging_reserve(Imaging *g, size_t height, size_t width)
{
    if (height * width > g->room) {
        float *map = realloc(g->map, height * width * sizeof *map);
        if (!map)
            return false;
        g->map = map;
        g->room = height * width;
    }
    if (width > g->row_room) {
        float *rows = realloc(g->rows, 4 * width * sizeof *rows);
        if (!rows)
            return false;
        g->rows = rows;
        g->row_room = width;
    }
    return true;
}

bool thickness_render(Model *m, const View *view, float *out)
{
    memset(out, 0, view->height * view->width * sizeof *out);
    project_particles(m, view, NULL, 200.0, out);
    return true;
}

/* exp(-x) for x > -1 to 2e-7, written so that the loop over it becomes vector code; exactly 1 at
 * 0.  The addition of 1.5*2^23 rounds to an integer (never build with -fassociative-math). */
static inline float transmission(float loss)
{
    const float x = loss < 80.0f ? -loss : -80.0f;
    const float shifted = x * 1.44269504f + 12582912.0f;
    const float whole = shifted - 12582912.0f;
    const float r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    const float p =
        1.0f +
        r * (1.0f +
             r * (0.5f + r * (0.16666667f +
                              r * (0.041666668f + r * (0.0083333333f + r * 0.0013888889f)))));
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits - 0x4B400000u + 127u) << 23; /* 2^whole */
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* Phase (rad) that comes with a loss of 1: sigma V0 / mu of lithium and of porous carbon. */
#define PHASE_OVER_LOSS 12.0

static inline float fringed(float loss, float neighbours, float strength)
{
    const float fringe = strength * (neighbours - 4.0f * loss);
    const float bounded = fringe > 0.3f ? 0.3f : fringe;
    return loss - (bounded < -0.4f ? -0.4f : bounded);
}

/* Laplacian of the loss in pixels -> relative intensity, for one row; edges of the map repeat. */
static void fresnel_row(const FrameRequest *request, const float *map, size_t r, float *row)
{
    const View *v = &request->view;
    const size_t w = v->width;
    const float *here = map + r * w;
    const float *above = r ? here - w : here, *below = r + 1 < v->height ? here + w : here;
    const float strength =
        (float)(electron_wavelength_nm(request->energy_keV) * request->underfocus / (2.0 * PI) *
                PHASE_OVER_LOSS / (v->pixel * v->pixel));
    row[0] = fringed(here[0], above[0] + below[0] + here[0] + here[w > 1], strength);
    for (size_t c = 1; c + 1 < w; c++)
        row[c] = fringed(here[c], above[c] + below[c] + here[c - 1] + here[c + 1], strength);
    if (w > 1)
        row[w - 1] = fringed(here[w - 1], above[w - 1] + below[w - 1] + here[w - 2] + here[w - 1],
                             strength);
}

static void shot_noise(const Model *m, const FrameRequest *request, Imaging *g, float vacuum,
                       uint16_t *out)
{
    const size_t width = request->view.width;
    float *mean = g->rows;
    for (size_t r = 0; r < request->view.height; r++) {
        fresnel_row(request, g->map, r, mean);
        for (size_t c = 0; c < width; c++)
            mean[c] = vacuum * transmission(mean[c]);
        Xoshiro stream = rng_row_stream(m->seed, request->index, (uint32_t)r);
        poisson_row(g->poisson, &stream, width, mean, out + r * width);
    }
}

bool frame_render(Model *m, const FrameRequest *request, uint16_t *out)
{
    Imaging *g = imaging_of(m);
    const View *v = &request->view;
    const size_t pixels = v->height * v->width;
    if (!g || !imaging_reserve(g, v->height, v->width))
        return false;
    const double electrons = request->electrons_per_A2 * 100.0 * v->pixel * v->pixel;
    if (electrons > 0.0) {
        const Attenuation at = attenuation_at(request->energy_keV, (int)m->par.metal);
        memset(g->map, 0, pixels * sizeof *g->map);
        draw_fibres(m, v, &at, g->texture, g->rows, g->map);
        project_particles(m, v, &at, request->energy_keV, g->map);
        if (request->probe)
            draw_probe(m, request, &at, g->map);
        poisson_tables_vacuum(g->poisson, electrons);
        shot_noise(m, request, g, (float)electrons, out);
    } else { /* blanked */
        memset(out, 0, pixels * sizeof *out);
    }
    if (request->detector.ccd)
        ccd_frame(g->poisson, &request->detector, m->seed, request->index, v->height, v->width,
                  out, g->rows);
    return true;
}
