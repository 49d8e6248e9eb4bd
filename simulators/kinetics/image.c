#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parallel.h"
#include "rng.h"

/* Tables and maps that are made once and kept with the model. */
typedef struct {
    PoissonTables *poisson;
    float texture[TEXTURE_SIZE * TEXTURE_SIZE];
    Patches patches;
    Tip tip;
    size_t room;
    float *map;        /* loss, height*width */
    float *background; /* the fibres alone, kept for a view that is drawn again */
    View background_view, last_view;
    double background_energy, last_energy; /* 0: none */
    float *edges;      /* two rows */
    size_t room_edges;
} Imaging;

void imaging_free(void *imaging)
{
    Imaging *g = imaging;
    if (!g)
        return;
    poisson_free(g->poisson);
    patches_free(&g->patches);
    free(g->map);
    free(g->background);
    free(g->edges);
    free(g);
}

static Imaging *imaging_of(Model *m)
{
    if (m->imaging)
        return m->imaging;
    Imaging *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->poisson = poisson_create();
    if (!g->poisson) {
        free(g);
        return NULL;
    }
    texture_fill(m->seed, g->texture);
    m->imaging = g;
    return g;
}

static bool imaging_reserve(Imaging *g, const View *v)
{
    const size_t pixels = v->height * v->width;
    if (pixels > g->room) {
        g->background_energy = 0.0;
        float *map = realloc(g->map, pixels * sizeof *map);
        if (!map)
            return false;
        g->map = map;
        float *background = realloc(g->background, pixels * sizeof *background);
        if (!background)
            return false;
        g->background = background;
        g->room = pixels;
    }
    if (v->width > g->room_edges) {
        float *edges = realloc(g->edges, 2 * v->width * sizeof *edges);
        if (!edges)
            return false;
        g->edges = edges;
        g->room_edges = v->width;
    }
    return true;
}

/* Rows of a picture, shared out in bands. */
typedef struct {
    size_t height, width, band, bands;
} Bands;

static Bands bands_of(size_t height, size_t width, size_t threads)
{
    const size_t parts = threads > 1 ? 4 * threads : 1;
    const size_t band = (height + parts - 1) / parts;
    return (Bands){height, width, band, (height + band - 1) / band};
}

static size_t band_end(const Bands *b, size_t k)
{
    return (k + 1) * b->band < b->height ? (k + 1) * b->band : b->height;
}

/* ---- the map ----------------------------------------------------------------------------------- */

bool thickness_render(Model *m, const View *view, float *out)
{
    Imaging *g = imaging_of(m);
    const RowKernels *rows = row_kernels_named(m->kernels->name);
    if (!g || !patches_draw(m, rows, view, NULL, 200.0, 1, &g->patches))
        return false;
    memset(out, 0, view->height * view->width * sizeof *out);
    for (size_t r = 0; r < view->height; r++)
        patches_add(&g->patches, r, out + r * view->width);
    return true;
}

typedef struct {
    Imaging *g;
    const FrameRequest *request;
    Attenuation at;
    bool kept; /* the fibres are in the background, else in the map already */
    Bands bands;
} MapJob;

static void map_band(void *context, size_t k)
{
    const MapJob *job = context;
    const size_t width = job->bands.width;
    for (size_t r = k * job->bands.band; r < band_end(&job->bands, k); r++) {
        float *line = job->g->map + r * width;
        if (job->kept)
            memcpy(line, job->g->background + r * width, width * sizeof *line);
        patches_add(&job->g->patches, r, line);
        if (job->request->probe)
            tip_add(job->request, &job->g->tip, &job->at, r, line);
    }
}

static bool same_view(const View *a, const View *b)
{
    return a->height == b->height && a->width == b->width && a->pixel == b->pixel &&
           a->origin_x == b->origin_x && a->origin_y == b->origin_y;
}

static void fibres_draw(const Model *m, const Imaging *g, const FrameRequest *request,
                        const Attenuation *at, float *map)
{
    const View *v = &request->view;
    memset(map, 0, v->height * v->width * sizeof *map);
    draw_fibres(m, v, at, g->texture, g->edges, map);
}

/* The loss map of the present state. */
static bool map_draw(Model *m, Imaging *g, const FrameRequest *request, const RowKernels *rows)
{
    const View *v = &request->view;
    const Attenuation at = attenuation_at(request->energy_keV, (int)m->par.metal);
    if (!patches_draw(m, rows, v, &at, request->energy_keV, request->threads, &g->patches))
        return false;
    const double energy = request->energy_keV;
    bool kept = same_view(v, &g->background_view) && energy == g->background_energy;
    if (!kept && same_view(v, &g->last_view) && energy == g->last_energy) { /* worth keeping */
        fibres_draw(m, g, request, &at, g->background);
        g->background_view = *v;
        g->background_energy = energy;
        kept = true;
    }
    if (!kept)
        fibres_draw(m, g, request, &at, g->map);
    g->last_view = *v;
    g->last_energy = energy;
    if (request->probe)
        tip_shape(m, request, &g->tip);
    MapJob job = {g, request, at, kept, bands_of(v->height, v->width, request->threads)};
    parallel_for(request->threads, job.bands.bands, map_band, &job);
    return true;
}

/* ---- from the map to counts -------------------------------------------------------------------- */

/* Phase (rad) that comes with a loss of 1: sigma V0 / mu of lithium and of porous carbon. */
#define PHASE_OVER_LOSS 12.0

typedef struct {
    const RowKernels *rows;
    const PoissonTables *poisson;
    const float *map;       /* loss, or means when `direct` */
    bool direct, dark;      /* dark: no electrons at all */
    float strength, vacuum;
    unsigned terms;
    uint64_t seed, index;
    uint32_t purpose;
    const Detector *detector;
    Bands bands;
    float *work;            /* for each band five rows */
    float *sum;             /* means are added here and no noise is made */
    uint16_t *out;
} NoiseJob;

static void mean_row(const NoiseJob *job, size_t r, float *mean)
{
    const size_t w = job->bands.width;
    const float *here = job->map + r * w;
    if (job->direct) {
        memcpy(mean, here, w * sizeof *mean);
        return;
    }
    const float *above = r ? here - w : here, *below = r + 1 < job->bands.height ? here + w : here;
    job->rows->transmit(w, above, here, below, job->strength, job->vacuum, mean);
}

static void electron_row(const NoiseJob *job, size_t r, float *mean, float *counts)
{
    const RowKey key = {job->seed, job->index, (uint32_t)r, job->purpose};
    if (job->dark) {
        memset(counts, 0, job->bands.width * sizeof *counts);
        return;
    }
    mean_row(job, r, mean);
    job->rows->electrons(job->poisson, &key, job->terms, job->bands.width, mean, counts);
}

static void counting_band(const NoiseJob *job, size_t k, float *work)
{
    const size_t w = job->bands.width;
    for (size_t r = k * job->bands.band; r < band_end(&job->bands, k); r++) {
        electron_row(job, r, work, work + w);
        job->rows->count(w, work + w, job->out + r * w);
    }
}

/* A ring of three rows with the charge spread along them; the rows next to a band are drawn by
 * both of its sides, with the same numbers. */
static void ccd_band(const NoiseJob *job, size_t k, float *work)
{
    const size_t w = job->bands.width, height = job->bands.height;
    const size_t first = k * job->bands.band, end = band_end(&job->bands, k);
    const Detector *d = job->detector;
    const float share = (float)d->spread;
    float *ring[3] = {work + 2 * w, work + 3 * w, work + 4 * w};
    const size_t from = first ? first - 1 : first, to = end < height ? end + 1 : end;
    for (size_t r = from; r < to || r == end; r++) {
        if (r < to) {
            electron_row(job, r, work, work + w);
            job->rows->spread(w, share, work + w, ring[r % 3]);
        }
        if (r == from || r - 1 < first)
            continue;
        const size_t done = r - 1;
        const float *here = ring[done % 3];
        const float *above = done ? ring[(done - 1) % 3] : here;
        const float *below = done + 1 < height ? ring[(done + 1) % 3] : here;
        const RowKey key = {job->seed, job->index, (uint32_t)done, job->purpose + 1};
        job->rows->readout(job->poisson, &key, w, share, (float)d->gain, (float)d->offset,
                           (float)d->readout, above, here, below, job->out + done * w);
        if (done + 1 == end)
            break;
    }
}

static void noise_band(void *context, size_t k)
{
    const NoiseJob *job = context;
    const size_t w = job->bands.width;
    float *work = job->work + 5 * w * k;
    if (job->sum) {
        for (size_t r = k * job->bands.band; r < band_end(&job->bands, k); r++) {
            mean_row(job, r, work);
            for (size_t c = 0; c < w; c++)
                job->sum[r * w + c] += work[c];
        }
    } else if (job->detector->ccd) {
        ccd_band(job, k, work);
    } else {
        counting_band(job, k, work);
    }
}

/* false when memory is short. */
static bool noise_run(NoiseJob *job, size_t threads)
{
    job->work = malloc(5 * job->bands.width * job->bands.bands * sizeof *job->work);
    if (!job->work)
        return false;
    parallel_for(threads, job->bands.bands, noise_band, job);
    free(job->work);
    return true;
}

/* What a request asks of the rows, without the picture itself. */
static NoiseJob noise_job(const Model *m, const Imaging *g, const FrameRequest *request)
{
    const View *v = &request->view;
    const double electrons = request->electrons_per_A2 * 100.0 * v->pixel * v->pixel;
    const double defocus = electron_wavelength_nm(request->energy_keV) * request->underfocus;
    return (NoiseJob){
        .rows = row_kernels_named(m->kernels->name),
        .poisson = g->poisson,
        .map = g->map,
        .dark = !(electrons > 0.0),
        .vacuum = (float)electrons,
        .strength = (float)(defocus / (2.0 * PI) * PHASE_OVER_LOSS / (v->pixel * v->pixel)),
        .seed = m->seed,
        .index = request->index,
        .purpose = DRAW_PIXELS,
        .detector = &request->detector,
        .bands = bands_of(v->height, v->width, request->threads),
    };
}

#define BRIGHTEST_FRINGE 1.5 /* times the vacuum; exp(0.4) */

bool frame_render(Model *m, const FrameRequest *request, uint16_t *out)
{
    Imaging *g = imaging_of(m);
    if (!g || !imaging_reserve(g, &request->view))
        return false;
    NoiseJob job = noise_job(m, g, request);
    const double brightest = BRIGHTEST_FRINGE * (double)job.vacuum;
    if (!poisson_prepare(g->poisson, brightest))
        return false;
    job.terms = poisson_terms((float)brightest);
    job.out = out;
    if (!job.dark && !map_draw(m, g, request, job.rows))
        return false;
    return noise_run(&job, request->threads);
}

bool means_add(Model *m, const FrameRequest *request, float *sum)
{
    Imaging *g = imaging_of(m);
    if (!g || !imaging_reserve(g, &request->view))
        return false;
    NoiseJob job = noise_job(m, g, request);
    job.sum = sum;
    if (job.dark)
        return true;
    return map_draw(m, g, request, job.rows) && noise_run(&job, request->threads);
}

bool counts_render(Model *m, const CountsRequest *request, uint16_t *out)
{
    Imaging *g = imaging_of(m);
    float brightest = 0.0f;
    for (size_t i = 0; i < request->height * request->width; i++)
        brightest = request->mean[i] > brightest ? request->mean[i] : brightest;
    if (!g || !poisson_prepare(g->poisson, (double)brightest))
        return false;
    NoiseJob job = {
        .rows = row_kernels_named(m->kernels->name),
        .poisson = g->poisson,
        .map = request->mean,
        .direct = true,
        .dark = !(brightest > 0.0f),
        .terms = poisson_terms(brightest),
        .seed = m->seed,
        .index = request->index,
        .purpose = request->purpose,
        .detector = request->detector,
        .bands = bands_of(request->height, request->width, request->threads),
        .out = out,
    };
    return noise_run(&job, request->threads);
}
