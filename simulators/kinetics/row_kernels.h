/* Loops over pixels; compiled once for each set of instructions, see clone_*.c. */
#include <math.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#include "rng.h"
#include "rows.h"

/* As many pixels at once as a register of this build takes (VECTOR_BYTES). */
#define WIDE (VECTOR_BYTES / 4u)
typedef float Floats __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t Ints __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t Words __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t Longs __attribute__((vector_size(VECTOR_BYTES)));
#define ROW_CHUNK 256u /* pixels whose random numbers are drawn at once */

static inline Floats floats_at(const float *p)
{
    Floats v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* ---- geometry --------------------------------------------------------------------------------- */

/* What of the beam lies on the solid's own side of the fibre and outside it: the same for a row. */
typedef struct {
    float low, high; /* the side, along the beam */
    float wall;      /* half of the fibre's thickness in this row; negative: beside it */
} Shade;

static Shade shade_of(const Solid *b, double y)
{
    Shade s = {-INFINITY, INFINITY, -1.0f};
    const double from_axis = y - b->fibre_y, outward = from_axis * b->out_y;
    const double carbon = b->fibre_radius * b->fibre_radius - from_axis * from_axis;
    if (b->out_z > 1e-9)
        s.low = (float)(-outward / b->out_z);
    else if (b->out_z < -1e-9)
        s.high = (float)(-outward / b->out_z);
    else if (outward < 0.0)
        s.high = -INFINITY;
    if (carbon > 0.0)
        s.wall = (float)sqrt(carbon);
    return s;
}

/* Ends of the chords of a sphere around z = 0. */
static inline void chords(size_t count, const float *restrict x, float radius_2,
                          float *restrict low, float *restrict high)
{
    for (size_t i = 0; i < count; i++) {
        const float inside = radius_2 - x[i] * x[i];
        high[i] = inside > 0.0f ? inside : 0.0f;
    }
    for (size_t i = 0; i < count; i++) {
        high[i] = sqrtf(high[i]);
        low[i] = -high[i];
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
#if VECTOR_BYTES == 64
#define LESSER(a, b) (Floats)_mm512_min_ps((__m512)(a), (__m512)(b))
#define GREATER(a, b) (Floats)_mm512_max_ps((__m512)(a), (__m512)(b))
#elif VECTOR_BYTES == 32
#define LESSER(a, b) (Floats)_mm256_min_ps((__m256)(a), (__m256)(b))
#define GREATER(a, b) (Floats)_mm256_max_ps((__m256)(a), (__m256)(b))
#else
#define LESSER(a, b) (Floats)_mm_min_ps((__m128)(a), (__m128)(b))
#define GREATER(a, b) (Floats)_mm_max_ps((__m128)(a), (__m128)(b))
#endif
#else
static inline Floats chosen(Ints condition, Floats yes, Floats no)
{
    return (Floats)(((Ints)yes & condition) | ((Ints)no & ~condition));
}
#define LESSER(a, b) chosen((a) < (b), (a), (b))
#define GREATER(a, b) chosen((a) > (b), (a), (b))
#endif

/* Planes in a row: they lie at depth - slope x along the beam, or at inner - slope x below the
 * skin; the first `above` of them cut from above. */
typedef struct {
    float depth[12], inner[12], slope[12];
    int above, count;
} Planes;

static Planes planes_of(const Solid *b, double skin, double dy)
{
    Planes p = {.above = b->above, .count = b->faces};
    for (int k = 0; k < b->faces; k++) {
        const double depth = (b->face_distance - b->face[k][1] * dy) * b->inverse[k];
        p.depth[k] = (float)depth;
        p.inner[k] = (float)(depth - skin * b->inverse[k]);
        p.slope[k] = (float)(b->face[k][0] * b->inverse[k]);
    }
    return p;
}

/* Cut the ends of `count` chords, in whole vectors, by all planes. */
static void cut(size_t count, const float *x, const Planes *p, const float *depth, float *low,
                float *high)
{
    for (size_t i = 0; i < count; i += WIDE) {
        Floats place, bottom, top;
        memcpy(&place, x + i, sizeof place);
        memcpy(&bottom, low + i, sizeof bottom);
        memcpy(&top, high + i, sizeof top);
        for (int k = 0; k < p->above; k++)
            top = LESSER(depth[k] - p->slope[k] * place, top);
        for (int k = p->above; k < p->count; k++)
            bottom = GREATER(depth[k] - p->slope[k] * place, bottom);
        memcpy(low + i, &bottom, sizeof bottom);
        memcpy(high + i, &top, sizeof top);
    }
}

/* Lengths of what is left of the chords outside the fibre. */
static inline void lengths(size_t count, Shade shade, float z, float *restrict low,
                           float *restrict high, float *restrict out)
{
    for (size_t i = 0; i < count; i++) {
        const float from = low[i] + z, to = high[i] + z;
        low[i] = from > shade.low ? from : shade.low;
        high[i] = to < shade.high ? to : shade.high;
    }
    if (shade.wall > 0.0f) {
        for (size_t i = 0; i < count; i++) { /* the parts before and behind it */
            const float near = high[i] < -shade.wall ? high[i] : -shade.wall;
            const float far = low[i] > shade.wall ? low[i] : shade.wall;
            const float front = near - low[i], back = high[i] - far;
            out[i] = (front > 0.0f ? front : 0.0f) + (back > 0.0f ? back : 0.0f);
        }
    } else {
        for (size_t i = 0; i < count; i++)
            out[i] = high[i] > low[i] ? high[i] - low[i] : 0.0f;
    }
}

static void path_kernel(const Solid *b, double skin, double x0, double dx, double y, size_t count,
                        float *restrict out, float *restrict core)
{
    const double dy = y - b->y, row = b->radius * b->radius - dy * dy;
    const double inner = b->radius - skin;
    memset(out, 0, count * sizeof *out);
    if (core)
        memset(core, 0, count * sizeof *core);
    if (row <= 0.0)
        return;
    const float row_2 = (float)row, inner_2 = inner > 0.0 ? (float)(inner * inner - dy * dy) : 0.0f;
    const Shade shade = shade_of(b, y);
    const Planes planes = planes_of(b, skin, dy);
    const float z = (float)b->z, step = (float)dx, left = (float)(x0 - b->x);
    /* only the columns that the sphere reaches */
    const double reach = sqrt(row), first = (-reach - (x0 - b->x)) / dx;
    const double last = (reach - (x0 - b->x)) / dx;
    const size_t begin = first > 0.0 ? (size_t)fmin(first, (double)count) : 0;
    const size_t end = last < 0.0 ? 0 : (size_t)fmin(last + 1.0, (double)count);
    for (size_t start = begin; start < end; start += ROW_CHUNK) {
        const size_t n = end - start < ROW_CHUNK ? end - start : ROW_CHUNK;
        float x[ROW_CHUNK], low[ROW_CHUNK], high[ROW_CHUNK];
        float core_low[ROW_CHUNK], core_high[ROW_CHUNK];
        for (size_t i = 0; i < n; i++)
            x[i] = left + step * (float)(int32_t)(start + i);
        chords(n, x, row_2, low, high);
        if (core)
            chords(n, x, inner_2, core_low, core_high);
        if (planes.count) {
            for (size_t i = n; i % WIDE; i++)
                x[i] = low[i] = high[i] = core_low[i] = core_high[i] = 0.0f;
            cut(n, x, &planes, planes.depth, low, high);
            if (core)
                cut(n, x, &planes, planes.inner, core_low, core_high);
        }
        lengths(n, shade, z, low, high, out + start);
        if (core)
            lengths(n, shade, z, core_low, core_high, core + start);
    }
}

/* ---- from loss to means ------------------------------------------------------------------------ */

/* exp(-x) to 2e-7; exactly 1 at 0.  The addition of 1.5*2^23 rounds to an integer (never build with
 * -fassociative-math). */
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

static inline float fringed(float loss, float neighbours, float strength)
{
    const float fringe = strength * (neighbours - 4.0f * loss);
    const float bounded = fringe > 0.3f ? 0.3f : fringe;
    return loss - (bounded < -0.4f ? -0.4f : bounded);
}

static void transmit_kernel(size_t width, const float *restrict above, const float *restrict here,
                            const float *restrict below, float strength, float vacuum,
                            float *restrict mean)
{
    if (strength == 0.0f) {
        for (size_t i = 0; i < width; i++)
            mean[i] = vacuum * transmission(here[i]);
        return;
    }
    const size_t last = width - 1;
    for (size_t i = 1; i < last; i++) {
        const float neighbours = above[i] + below[i] + here[i - 1] + here[i + 1];
        mean[i] = vacuum * transmission(fringed(here[i], neighbours, strength));
    }
    const float left = above[0] + below[0] + here[0] + here[last ? 1 : 0];
    const float right = above[last] + below[last] + here[last ? last - 1 : 0] + here[last];
    mean[0] = vacuum * transmission(fringed(here[0], left, strength));
    mean[last] = vacuum * transmission(fringed(here[last], last ? right : left, strength));
}

/* ---- random bits ------------------------------------------------------------------------------- */

/* Eight xoshiro256++ generators side by side, in one register or more. */
#define LANES 8u
#define PARTS (LANES * 8u / VECTOR_BYTES)

typedef struct {
    Longs s[4][PARTS];
} Generators;

static Generators row_generators(const RowKey *key)
{
    Generators g;
    uint64_t word[4][LANES];
    const PhiloxBlock b = rng_draw(key->seed, key->purpose, key->row, key->index);
    uint64_t state[2] = {((uint64_t)b.v[0] << 32) | b.v[1], ((uint64_t)b.v[2] << 32) | b.v[3]};
    for (unsigned k = 0; k < 4; k++)
        for (unsigned lane = 0; lane < LANES; lane++) {
            /* splitmix64, as the generator's authors advise for a seed */
            uint64_t z = (state[k & 1] += 0x9E3779B97F4A7C15u);
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
            word[k][lane] = z ^ (z >> 31);
        }
    memcpy(g.s, word, sizeof g.s);
    return g;
}

static inline Longs turned(Longs x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* Random words, in multiples of sixteen. */
static void fill_bits(Generators *generators, size_t words, uint32_t *restrict out)
{
    for (unsigned part = 0; part < PARTS; part++) {
        Longs a = generators->s[0][part], b = generators->s[1][part];
        Longs c = generators->s[2][part], d = generators->s[3][part];
        for (size_t i = 0; i < words; i += 2 * LANES) {
            const Longs bits = turned(a + d, 23) + a, t = b << 17;
            memcpy(out + i + part * WIDE, &bits, sizeof bits);
            c ^= a;
            d ^= b;
            b ^= c;
            a ^= d;
            c ^= t;
            d = turned(d, 45);
        }
        generators->s[0][part] = a;
        generators->s[1][part] = b;
        generators->s[2][part] = c;
        generators->s[3][part] = d;
    }
}

/* ---- shot noise -------------------------------------------------------------------------------- */

#define FLIGHT 4u /* vectors at once, since one would wait for its own last step */

/* Inversion: how many of the first `terms` values of the distribution function u has passed.
 * share[j] = 1/j. */
static inline void invert(const float *rest, const float *u, unsigned terms, const float *share,
                          int32_t *count)
{
    Floats p[FLIGHT], reached[FLIGHT], mean[FLIGHT], at[FLIGHT];
    Ints n[FLIGHT];
    float start[FLIGHT * WIDE];
    for (unsigned l = 0; l < FLIGHT * WIDE; l++)
        start[l] = transmission(rest[l]);
    for (unsigned f = 0; f < FLIGHT; f++) {
        p[f] = reached[f] = floats_at(start + f * WIDE);
        mean[f] = floats_at(rest + f * WIDE);
        at[f] = floats_at(u + f * WIDE);
        n[f] = (Ints){0};
    }
    for (unsigned j = 1; j <= terms; j++)
        for (unsigned f = 0; f < FLIGHT; f++) {
            n[f] -= at[f] >= reached[f]; /* a true comparison is -1 */
            p[f] *= mean[f] * share[j];
            reached[f] += p[f];
        }
    memcpy(count, n, sizeof n);
}

/* One number of the distribution of a level, from 32 random bits. */
static inline uint32_t from_level(uint64_t level, const uint32_t *pool, uint32_t word)
{
    const uint32_t width = level & 255u, mask = (1u << width) - 1u, base = (uint32_t)level >> 8;
    const uint32_t place = word & mask, entry = pool[(level >> 32) + place];
    /* without a branch: which of the two it is cannot be foreseen */
    const uint32_t stays = 0u - (uint32_t)(word >> width < entry >> width);
    return base + ((place & stays) | (entry & mask & ~stays));
}

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define GATHERED 16u

/* The same for sixteen pixels. */
static inline void look_up_wide(const PoissonTables *t, const uint32_t *level,
                                const uint32_t *bits, const int32_t *extra, float *counts)
{
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    const __m512i k = _mm512_loadu_si512(level), word = _mm512_loadu_si512(bits);
    const __m512i a = _mm512_i32gather_epi64(_mm512_castsi512_si256(k), t->level, 8);
    const __m512i b = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(k, 1), t->level, 8);
    const __m512i low = _mm512_permutex2var_epi32(a, even, b);
    const __m512i offset = _mm512_permutex2var_epi32(a, odd, b);
    const __m512i width = _mm512_and_si512(low, _mm512_set1_epi32(255));
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, width), one);
    const __m512i place = _mm512_and_si512(word, mask);
    const __m512i entry = _mm512_i32gather_epi32(_mm512_add_epi32(offset, place), t->pool, 4);
    const __mmask16 stays = _mm512_cmplt_epu32_mask(_mm512_srlv_epi32(word, width),
                                                    _mm512_srlv_epi32(entry, width));
    const __m512i taken = _mm512_mask_blend_epi32(stays, _mm512_and_si512(entry, mask), place);
    const __m512i whole = _mm512_add_epi32(_mm512_add_epi32(_mm512_srli_epi32(low, 8), taken),
                                           _mm512_loadu_si512(extra));
    _mm512_storeu_ps(counts, _mm512_cvtepi32_ps(whole));
}
#endif

/* Numbers of the distributions of these levels, plus `extra`. */
static void look_up(const PoissonTables *t, size_t count, const uint32_t *restrict level,
                    const uint32_t *restrict bits, const int32_t *restrict extra,
                    float *restrict counts)
{
    size_t done = 0;
#ifdef GATHERED
    for (; done + GATHERED <= count; done += GATHERED)
        look_up_wide(t, level + done, bits + done, extra + done, counts + done);
#endif
    for (size_t i = done; i < count; i++)
        counts[i] = (float)(int32_t)(from_level(t->level[level[i]], t->pool, bits[i]) +
                                     (uint32_t)extra[i]);
}

/* Beyond the tables: a normal number with the skewness of the Poisson distribution. */
static float from_normal(const uint32_t word[2], float mean)
{
    const PhiloxBlock block = {{word[0], word[1], word[1] * 0x9E3779B9u + word[0],
                                word[0] * 0x85EBCA6Bu ^ word[1]}};
    double z[2];
    rng_normal_pair(block, z);
    const double lambda = fmin((double)mean, 1e12); /* no infinity may come to a detector */
    const double n = floor(lambda + sqrt(lambda) * z[0] + (z[0] * z[0] - 1.0) / 6.0 + 0.5);
    return n > 0.0 ? (float)n : 0.0f;
}

/* Level and rest of `count` means, in a loop that becomes vector code. */
static inline void split_means(const float *restrict mean, size_t count, uint32_t *restrict level,
                               float *restrict rest)
{
    /* Each step in a loop of its own, or the compiler makes branches of the choices. */
    for (size_t i = 0; i < count; i++)
        rest[i] = mean[i] > 0.0f ? mean[i] : 0.0f;
    for (size_t i = 0; i < count; i++)
        rest[i] = rest[i] < POISSON_TOP ? rest[i] : POISSON_TOP;
    for (size_t i = 0; i < count; i++) {
        const int32_t k = (int32_t)(sqrtf(rest[i]) * (float)LEVELS_PER_ROOT);
        const float root = (float)k * (1.0f / (float)LEVELS_PER_ROOT);
        rest[i] -= root * root;
        level[i] = (uint32_t)k;
    }
    for (size_t i = 0; i < count; i++)
        rest[i] = rest[i] > 0.0f ? rest[i] : 0.0f; /* the root may have been rounded up */
}

static void electrons_kernel(const PoissonTables *t, const RowKey *key, unsigned terms,
                             size_t width, const float *restrict mean, float *restrict counts)
{
    Generators g = row_generators(key);
    float share[TERMS_MOST + 1] = {0.0f};
    for (unsigned j = 1; j <= terms; j++)
        share[j] = 1.0f / (float)j;
    for (size_t start = 0; start < width; start += ROW_CHUNK) {
        const size_t n = width - start < ROW_CHUNK ? width - start : ROW_CHUNK;
        uint32_t bits[ROW_CHUNK], level[ROW_CHUNK], more[ROW_CHUNK];
        float rest[ROW_CHUNK], u[ROW_CHUNK];
        int32_t extra[ROW_CHUNK];
        split_means(mean + start, n, level, rest);
        for (size_t i = n; i % (FLIGHT * WIDE); i++)
            rest[i] = u[i] = 0.0f;
        fill_bits(&g, n, bits); /* for the tables */
        fill_bits(&g, n, more); /* for the rests */
        for (size_t i = 0; i < n; i++)
            u[i] = (float)(int32_t)(more[i] >> 8) * 0x1p-24f;
        for (size_t i = 0; i < n; i += FLIGHT * WIDE)
            invert(rest + i, u + i, terms, share, extra + i);
        look_up(t, n, level, bits, extra, counts + start);
        int beyond = 0;
        for (size_t i = 0; i < n; i++)
            beyond |= mean[start + i] > POISSON_TOP;
        for (size_t i = 0; i < n && beyond; i++)
            if (mean[start + i] > POISSON_TOP)
                counts[start + i] =
                    from_normal((const uint32_t[2]){bits[i], more[i]}, mean[start + i]);
    }
}

/* ---- detector ---------------------------------------------------------------------------------- */

static void spread_kernel(size_t width, float share, const float *restrict counts,
                          float *restrict out)
{
    const float middle = 1.0f - 2.0f * share;
    const size_t last = width - 1;
    for (size_t i = 1; i < last; i++)
        out[i] = middle * counts[i] + share * (counts[i - 1] + counts[i + 1]);
    out[0] = middle * counts[0] + share * (counts[0] + counts[last ? 1 : 0]);
    out[last] = middle * counts[last] + share * (counts[last ? last - 1 : 0] + counts[last]);
}

/* Standard normal numbers from places in their table. */
static void quantiles(const PoissonTables *t, size_t count, const uint32_t *restrict place,
                      float *restrict out)
{
    size_t done = 0;
#ifdef GATHERED
    for (; done + GATHERED <= count; done += GATHERED)
        _mm512_storeu_ps(out + done, _mm512_i32gather_ps(_mm512_loadu_si512(place + done),
                                                         t->quantile, 4));
#endif
    for (size_t i = done; i < count; i++)
        out[i] = t->quantile[place[i]];
}

static void readout_kernel(const PoissonTables *t, const RowKey *key, size_t width, float share,
                           float gain, float offset, float noise, const float *restrict above,
                           const float *restrict here, const float *restrict below,
                           uint16_t *restrict out)
{
    Generators g = row_generators(key);
    const float middle = 1.0f - 2.0f * share;
    for (size_t start = 0; start < width; start += ROW_CHUNK) {
        const size_t n = width - start < ROW_CHUNK ? width - start : ROW_CHUNK;
        uint32_t bits[ROW_CHUNK / 2], place[ROW_CHUNK];
        float normal[ROW_CHUNK];
        fill_bits(&g, ROW_CHUNK / 2, bits);
        const size_t half = ROW_CHUNK / 2;
        for (size_t i = 0; i < half; i++) { /* two places from each word */
            place[i] = bits[i] & (QUANTILES - 1u);
            place[half + i] = bits[i] >> 16 & (QUANTILES - 1u);
        }
        quantiles(t, n, place, normal);
        for (size_t i = 0; i < n; i++) {
            const size_t c = start + i;
            const float charge = middle * here[c] + share * (above[c] + below[c]);
            const float value = gain * charge + offset + noise * normal[i] + 0.5f;
            const float bounded = value < 0.0f ? 0.0f : (value > 65535.0f ? 65535.0f : value);
            out[c] = (uint16_t)(int32_t)bounded;
        }
    }
}

static void count_kernel(size_t width, const float *restrict counts, uint16_t *restrict out)
{
    for (size_t i = 0; i < width; i++) {
        const float bounded = counts[i] > 65535.0f ? 65535.0f : counts[i];
        out[i] = (uint16_t)(int32_t)bounded;
    }
}
