#include "survey.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rng.h"

#define STRAY 5e-4       /* of the beam reaches the detector without a specimen */
#define JITTER_MOST 50.0 /* pixels */

/* Shift the line by `pixels` between its own samples; the ends repeat. */
static void shift_line(const float *line, size_t width, double pixels, float *out)
{
    const double last = (double)width - 1.0;
    for (size_t c = 0; c < width; c++) {
        const double place = fmin(fmax((double)c + pixels, 0.0), last);
        const size_t k = (size_t)place, next = k + 1 < width ? k + 1 : k;
        const float part = (float)(place - (double)k);
        out[c] = line[k] + part * (line[next] - line[k]);
    }
}

static void scan_line(const Model *m, const SurveyRequest *q, size_t row, float *line, float *work)
{
    const size_t width = q->scene.view.width;
    double z[2];
    rng_normal_pair(rng_draw(m->seed, DRAW_SCAN_LINE, row, q->scene.index), z);
    if (q->line_jitter > 0.0) {
        const double pixels = fmin(fmax(q->line_jitter * z[0], -JITTER_MOST), JITTER_MOST);
        shift_line(line, width, pixels, work);
        memcpy(line, work, width * sizeof *line);
    }
    const float bright = (float)fmax(0.0, 1.0 + q->line_noise * z[1]);
    for (size_t c = 0; c < width; c++)
        line[c] *= bright;
}

typedef struct {
    Tip tip;
    float texture[TEXTURE_SIZE * TEXTURE_SIZE];
    float edges[]; /* two rows */
} Work;

bool survey_render(const Model *m, const SurveyRequest *q, float *mean)
{
    const View *v = &q->scene.view;
    const double electrons = q->scene.electrons_per_A2 * 100.0 * v->pixel * v->pixel;
    memset(mean, 0, v->height * v->width * sizeof *mean);
    if (!(electrons > 0.0))
        return true;
    Work *work = malloc(sizeof *work + 2 * v->width * sizeof(float));
    if (!work)
        return false;
    Patches patches = {0};
    const RowKernels *rows = row_kernels_named(m->kernels->name);
    const Attenuation at = annular_scattering_at(q->scene.energy_keV, (int)m->par.metal,
                                                 q->inner_mrad, q->outer_mrad);
    const bool drawn = patches_draw(m, rows, v, &at, q->scene.energy_keV, 1, &patches);
    texture_fill(m->seed, work->texture);
    draw_fibres(m, v, &at, work->texture, work->edges, mean);
    tip_shape(m, &q->scene, &work->tip);
    for (size_t r = 0; drawn && r < v->height; r++) {
        float *line = mean + r * v->width;
        patches_add(&patches, r, line);
        if (q->scene.probe)
            tip_add(&q->scene, &work->tip, &at, r, line);
        for (size_t c = 0; c < v->width; c++)
            line[c] = (float)(electrons *
                              (STRAY - (1.0 - STRAY) * expm1(-(double)line[c])));
        scan_line(m, q, r, line, work->edges);
    }
    patches_free(&patches);
    free(work);
    return drawn;
}
