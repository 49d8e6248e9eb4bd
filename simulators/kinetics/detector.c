#include "detector.h"

#include <math.h>
#include <stdlib.h>

#define COARSE_SIZE 512u   /* entries of a coarse table; 9 bits */
#define COARSE_LEVELS 129u /* means (k/4)^2, 0 ... 1024 */
#define COARSE_TOP 1024.0f
#define FINE_SIZE 64u      /* 6 bits */
#define FINE_LEVELS 264u   /* means j/16 */
#define VACUUM_SIZE 4096u  /* 12 bits */
#define VACUUM_TOP 60000.0
#define TABLES_TOP 8192.0f /* beyond: normal */
#define QUANTILES 4096u

/* An entry packs the alias in the low bits and the threshold of staying in the high ones. */
struct PoissonTables {
    uint32_t coarse[COARSE_LEVELS][COARSE_SIZE];
    uint32_t coarse_base[COARSE_LEVELS];
    uint32_t fine[FINE_LEVELS][FINE_SIZE];
    uint32_t vacuum[VACUUM_SIZE];
    uint32_t vacuum_base;
    float vacuum_mean; /* 0: none */
    float quantile[QUANTILES]; /* of the standard normal, at (i + 1/2)/4096 */
    double weight[VACUUM_SIZE];
    uint32_t small[VACUUM_SIZE], large[VACUUM_SIZE];
};

/* Alias table of the Poisson distribution of this mean over base ... base + size - 1.
 * alias_bits of the entry hold the alias. */
static uint32_t build_alias(PoissonTables *t, double mean, uint32_t size, uint32_t alias_bits,
                            uint32_t *entry)
{
    const double half = 0.5 * size;
    const uint32_t base = mean > half ? (uint32_t)(mean - half) : 0;
    double *w = t->weight, sum = 0.0;
    for (uint32_t i = 0; i < size; i++) {
        const double n = (double)(base + i);
        w[i] = mean > 0.0 ? exp(n * log(mean) - mean - lgamma(n + 1.0)) : (i == 0 ? 1.0 : 0.0);
        sum += w[i];
    }
    uint32_t smalls = 0, larges = 0;
    for (uint32_t i = 0; i < size; i++) {
        w[i] *= size / sum;
        if (w[i] < 1.0)
            t->small[smalls++] = i;
        else
            t->large[larges++] = i;
    }
    const double scale = (double)(1u << (32u - alias_bits));
    for (uint32_t i = 0; i < size; i++)
        entry[i] = ((uint32_t)(scale - 1.0) << alias_bits) | i;
    while (smalls && larges) {
        const uint32_t a = t->small[--smalls], b = t->large[larges - 1];
        const double stay = fmin(floor(w[a] * scale + 0.5), scale - 1.0);
        entry[a] = ((uint32_t)stay << alias_bits) | b;
        w[b] -= 1.0 - w[a];
        if (w[b] < 1.0) {
            larges--;
            t->small[smalls++] = b;
        }
    }
    return base;
}

static void build_quantiles(PoissonTables *t)
{
    double z = -3.7; /* Newton's rule, each start being the quantile before */
    for (uint32_t i = 0; i < QUANTILES; i++) {
        const double p = (i + 0.5) / QUANTILES;
        for (int n = 0; n < 8; n++) {
            const double excess = 0.5 * erfc(-z * 0.7071067811865476) - p;
            z -= excess * 2.5066282746310002 * exp(0.5 * z * z);
        }
        t->quantile[i] = (float)z;
    }
}

PoissonTables *poisson_tables_create(void)
{
    PoissonTables *t = malloc(sizeof *t);
    if (!t)
        return NULL;
    for (uint32_t k = 0; k < COARSE_LEVELS; k++)
        t->coarse_base[k] = build_alias(t, k * k / 16.0, COARSE_SIZE, 9, t->coarse[k]);
    for (uint32_t j = 0; j < FINE_LEVELS; j++)
        (void)build_alias(t, j / 16.0, FINE_SIZE, 6, t->fine[j]);
    t->vacuum_mean = 0.0f;
    build_quantiles(t);
    return t;
}

void poisson_tables_free(PoissonTables *t)
{
    free(t);
}

void poisson_tables_vacuum(PoissonTables *t, double mean)
{
    const float stored = (float)mean;
    if (stored == t->vacuum_mean)
        return;
    t->vacuum_mean = mean < VACUUM_TOP ? stored : 0.0f;
    if (t->vacuum_mean > 0.0f)
        t->vacuum_base = build_alias(t, (double)stored, VACUUM_SIZE, 12, t->vacuum);
}

static inline uint32_t from_coarse(const PoissonTables *t, uint32_t level, uint32_t bits)
{
    const uint32_t i = bits & (COARSE_SIZE - 1u);
    const uint32_t e = t->coarse[level][i];
    const uint32_t place = bits >> 9 < e >> 9 ? i : e & (COARSE_SIZE - 1u);
    return t->coarse_base[level] + place;
}

static inline uint32_t from_fine(const PoissonTables *t, uint32_t level, uint32_t bits)
{
    const uint32_t i = bits & (FINE_SIZE - 1u);
    const uint32_t e = t->fine[level][i];
    return bits >> 6 < e >> 6 ? i : e & (FINE_SIZE - 1u);
}

static inline uint32_t from_vacuum(const PoissonTables *t, uint32_t bits)
{
    const uint32_t i = bits & (VACUUM_SIZE - 1u);
    const uint32_t e = t->vacuum[i];
    return t->vacuum_base + (bits >> 12 < e >> 12 ? i : e & (VACUUM_SIZE - 1u));
}

/* Inversion for a mean below 1/16. */
static inline uint32_t from_rest(float mean, float u)
{
    float p = 1.0f - mean * (1.0f - mean * (0.5f - mean * (1.0f / 6.0f)));
    uint32_t n = 0;
    while (u >= p && n < 8) {
        u -= p;
        p *= mean / (float)++n;
    }
    return n;
}

static uint32_t from_normal(Xoshiro *stream, double mean)
{
    const uint64_t a = xoshiro_next(stream), b = xoshiro_next(stream);
    const PhiloxBlock block = {{(uint32_t)(a >> 32), (uint32_t)a, (uint32_t)(b >> 32),
                                (uint32_t)b}};
    double z[2];
    rng_normal_pair(block, z);
    const double n = floor(mean + sqrt(mean) * z[0] + (z[0] * z[0] - 1.0) / 6.0 + 0.5);
    return n > 0.0 ? (uint32_t)n : 0;
}

static uint32_t draw(const PoissonTables *t, Xoshiro *stream, float mean)
{
    uint32_t n = 0;
    if (!(mean > 0.0f))
        return 0;
    if (mean > TABLES_TOP)
        return from_normal(stream, (double)mean);
    while (mean > COARSE_TOP) {
        n += from_coarse(t, COARSE_LEVELS - 1u, (uint32_t)xoshiro_next(stream));
        mean -= COARSE_TOP;
    }
    const uint64_t bits = xoshiro_next(stream);
    const float u = (float)(xoshiro_next(stream) >> 40) * 0x1p-24f;
    uint32_t level = (uint32_t)(4.0f * sqrtf(mean));
    float rest = mean - (float)(level * level) * 0.0625f;
    if (rest < 0.0f) { /* the root was rounded up */
        level--;
        rest = mean - (float)(level * level) * 0.0625f;
    }
    n += from_coarse(t, level, (uint32_t)bits);
    const uint32_t fine = (uint32_t)(16.0f * rest);
    n += from_fine(t, fine, (uint32_t)(bits >> 32));
    return n + from_rest(rest - (float)fine * 0.0625f, u);
}

void poisson_row(const PoissonTables *t, Xoshiro *stream, size_t width, const float *mean,
                 uint16_t *counts)
{
    for (size_t i = 0; i < width; i++) {
        const uint32_t n = mean[i] == t->vacuum_mean && t->vacuum_mean > 0.0f
                               ? from_vacuum(t, (uint32_t)(xoshiro_next(stream) >> 32))
                               : draw(t, stream, mean[i]);
        counts[i] = (uint16_t)(n < 65535u ? n : 65535u);
    }
}

static void spread_line(const uint16_t *line, size_t width, float share, float *out)
{
    const float middle = 1.0f - 2.0f * share;
    for (size_t i = 0; i < width; i++) {
        const float before = line[i ? i - 1 : 0], after = line[i + 1 < width ? i + 1 : i];
        out[i] = middle * (float)line[i] + share * (before + after);
    }
}

void ccd_frame(const PoissonTables *t, const Detector *detector, uint64_t seed, uint64_t index,
               size_t height, size_t width, uint16_t *frame, float *rows)
{
    const float share = (float)detector->spread, middle = 1.0f - 2.0f * share;
    const float gain = (float)detector->gain, readout = (float)detector->readout;
    const float offset = (float)detector->offset + 0.5f;
    float *above = rows, *here = rows + width, *below = rows + 2 * width;
    spread_line(frame, width, share, here);
    for (size_t i = 0; i < width; i++)
        above[i] = here[i];
    for (size_t r = 0; r < height; r++) {
        uint16_t *line = frame + r * width;
        if (r + 1 < height)
            spread_line(line + width, width, share, below);
        else
            for (size_t i = 0; i < width; i++)
                below[i] = here[i];
        /* Rows of the readout noise lie beyond those of the shot noise. */
        Xoshiro stream = rng_row_stream(seed, index, 0x80000000u | (uint32_t)r);
        uint64_t bits = 0;
        for (size_t i = 0; i < width; i++) {
            bits = i % 5 ? bits >> 12 : xoshiro_next(&stream);
            const float charge = middle * here[i] + share * (above[i] + below[i]);
            const float value = gain * charge + offset + readout * t->quantile[bits & 4095u];
            line[i] = (uint16_t)(value < 0.0f ? 0.0f : (value > 65535.0f ? 65535.0f : value));
        }
        float *const free_row = above;
        above = here;
        here = below;
        below = free_row;
    }
}
