/* Loops over pixels; compiled once for each set of instructions, see clone_*.c. */
#include <math.h>
#include <string.h>

#include "rng.h"
#include "rows.h"

/* Sixteen pixels at once; wider than some processors' registers, which then take two or four. */
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint64_t Longs __attribute__((vector_size(64)));
#define WIDE 16u
#define ROW_CHUNK 256u /* pixels whose random numbers are drawn at once */

static inline Floats floats_at(const float *p)
{
    Floats v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline Floats choose(Ints condition, Floats yes, Floats no)
{
    return (Floats)(((Ints)yes & condition) | ((Ints)no & ~condition));
}

static inline Floats all(float x)
{
    return x - (Floats){0.0f};
}

static inline Floats least(Floats a, Floats b)
{
    return choose(a < b, a, b);
}

static inline Floats most(Floats a, Floats b)
{
    return choose(a > b, a, b);
}

/* ---- geometry --------------------------------------------------------------------------------- */

static void path_kernel(const Solid *b, double skin, double x0, double dx, double y, size_t count,
                        float *restrict out)
{
    const double radius = b->radius - skin, dy = y - b->y;
    const double row = radius * radius - dy * dy;
    if (radius <= 0.0 || row <= 0.0) {
        memset(out, 0, count * sizeof *out);
        return;
    }
    /* Its own side of the fibre, and outside it: the same for the whole row. */
    const double from_axis = y - b->fibre_y, outward = from_axis * b->out_y;
    float side_low = -INFINITY, side_high = INFINITY, wall = -1.0f;
    if (b->out_z > 1e-9)
        side_low = (float)(-outward / b->out_z);
    else if (b->out_z < -1e-9)
        side_high = (float)(-outward / b->out_z);
    else if (outward < 0.0)
        side_high = -INFINITY;
    const double carbon = b->fibre_radius * b->fibre_radius - from_axis * from_axis;
    if (carbon > 0.0)
        wall = (float)sqrt(carbon);
    const float start = (float)(x0 - b->x), step = (float)dx, z = (float)b->z, r2 = (float)row;
    for (size_t i = 0; i < count; i++) {
        const float x = start + step * (float)(int32_t)i;
        const float inside = r2 - x * x;
        const float half = sqrtf(inside > 0.0f ? inside : 0.0f);
        float low = -half, high = half;
        for (int k = 0; k < b->faces; k++) {
            const float nx = (float)b->face[k][0], nz = (float)b->face[k][2];
            const float room = (float)(b->face_distance - skin - b->face[k][1] * dy) - nx * x;
            const float end = room / (nz > 1e-6f || nz < -1e-6f ? nz : 1e-6f);
            high = nz > 0.0f && end < high ? end : high;
            low = nz <= 0.0f && end > low ? end : low;
        }
        low += z;
        high += z;
        low = low > side_low ? low : side_low;
        high = high < side_high ? high : side_high;
        /* the parts before and behind the fibre, or all of it where there is none */
        const float near = high < -wall ? high : -wall, far = low > wall ? low : wall;
        const float front = near > low ? near - low : 0.0f, back = high > far ? high - far : 0.0f;
        const float whole = high > low ? high - low : 0.0f;
        const float path = wall > 0.0f ? front + back : whole;
        out[i] = inside > 0.0f ? path : 0.0f;
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

/* Eight xoshiro256++ generators side by side. */
typedef struct {
    Longs s[4];
} Generators;

static Generators row_generators(const RowKey *key)
{
    Generators g;
    const PhiloxBlock b = rng_draw(key->seed, key->purpose, key->row, key->index);
    uint64_t state[2] = {((uint64_t)b.v[0] << 32) | b.v[1], ((uint64_t)b.v[2] << 32) | b.v[3]};
    for (int word = 0; word < 4; word++)
        for (int lane = 0; lane < 8; lane++) { /* splitmix64, as its authors advise for a seed */
            uint64_t z = (state[word & 1] += 0x9E3779B97F4A7C15u);
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
            g.s[word][lane] = z ^ (z >> 31);
        }
    return g;
}

static inline Longs turned(Longs x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static inline Longs next_bits(Generators *g)
{
    const Longs result = turned(g->s[0] + g->s[3], 23) + g->s[0];
    const Longs t = g->s[1] << 17;
    g->s[2] ^= g->s[0];
    g->s[3] ^= g->s[1];
    g->s[1] ^= g->s[2];
    g->s[0] ^= g->s[3];
    g->s[2] ^= t;
    g->s[3] = turned(g->s[3], 45);
    return result;
}

static void fill_bits(Generators *g, size_t words, uint32_t *restrict out)
{
    Generators own = *g;
    for (size_t i = 0; i < words; i += 16) {
        const Longs bits = next_bits(&own);
        memcpy(out + i, &bits, sizeof bits);
    }
    *g = own;
}

/* ---- shot noise -------------------------------------------------------------------------------- */

/* Inversion: how many of the first `terms` values of the distribution function u has passed. */
static inline Floats inverted(Floats rest, Floats u, unsigned terms)
{
    float start[WIDE], mean[WIDE];
    memcpy(mean, &rest, sizeof mean);
    for (unsigned l = 0; l < WIDE; l++)
        start[l] = transmission(mean[l]);
    Floats p = floats_at(start), reached = p, n = all(0.0f);
    for (unsigned j = 1; j <= terms; j++) {
        n += choose(u >= reached, all(1.0f), all(0.0f));
        p *= rest * (1.0f / (float)j);
        reached += p;
    }
    return n;
}

/* One number of the table's distribution. */
static inline uint32_t from_table(const PoissonTables *t, uint32_t k, uint32_t bits)
{
    const PoissonLevel level = t->level[k];
    const uint32_t mask = (1u << level.bits) - 1u, i = bits & mask;
    const uint32_t e = t->pool[level.offset + i];
    return level.base + (bits >> level.bits < e >> level.bits ? i : e & mask);
}

/* Beyond the tables: a normal number with the skewness of the Poisson distribution. */
static float from_normal(const uint32_t word[2], float mean)
{
    const PhiloxBlock block = {{word[0], word[1], word[1] * 0x9E3779B9u + word[0],
                                word[0] * 0x85EBCA6Bu ^ word[1]}};
    double z[2];
    rng_normal_pair(block, z);
    const double lambda = (double)mean;
    const double n = floor(lambda + sqrt(lambda) * z[0] + (z[0] * z[0] - 1.0) / 6.0 + 0.5);
    return n > 0.0 ? (float)n : 0.0f;
}

static void electrons_kernel(const PoissonTables *t, const RowKey *key, unsigned terms,
                             size_t width, const float *restrict mean, float *restrict counts)
{
    Generators g = row_generators(key);
    for (size_t start = 0; start < width; start += ROW_CHUNK) {
        const size_t n = width - start < ROW_CHUNK ? width - start : ROW_CHUNK;
        uint32_t bits[2 * ROW_CHUNK], level[ROW_CHUNK];
        float lambda[ROW_CHUNK], extra[ROW_CHUNK];
        memcpy(lambda, mean + start, n * sizeof *lambda);
        for (size_t i = n; i % WIDE; i++)
            lambda[i] = 0.0f;
        fill_bits(&g, n, bits);             /* for the tables */
        fill_bits(&g, n, bits + ROW_CHUNK); /* for the rests */
        for (size_t i = 0; i < n; i += WIDE) {
            Words word[1];
            Ints k;
            Floats l = least(most(floats_at(lambda + i), all(0.0f)), all(POISSON_TOP));
            float root[WIDE];
            memcpy(root, &l, sizeof root);
            for (unsigned j = 0; j < WIDE; j++)
                root[j] = sqrtf(root[j]);
            k = __builtin_convertvector(floats_at(root) * (float)LEVELS_PER_ROOT, Ints);
            const Floats step = __builtin_convertvector(k, Floats) *
                                (1.0f / (float)LEVELS_PER_ROOT);
            const Floats rest = most(l - step * step, all(0.0f)); /* the root may be rounded up */
            memcpy(word, bits + ROW_CHUNK + i, sizeof word);
            const Floats u = __builtin_convertvector((Ints)(*word >> 8), Floats) * 0x1p-24f;
            const Floats more = inverted(rest, u, terms);
            memcpy(level + i, &k, sizeof k);
            memcpy(extra + i, &more, sizeof more);
        }
        for (size_t i = 0; i < n; i++)
            counts[start + i] = (float)from_table(t, level[i], bits[i]) + extra[i];
        for (size_t i = 0; i < n; i++)
            if (lambda[i] > POISSON_TOP)
                counts[start + i] =
                    from_normal((const uint32_t[2]){bits[i], bits[ROW_CHUNK + i]}, lambda[i]);
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

static void readout_kernel(const PoissonTables *t, const RowKey *key, size_t width, float share,
                           float gain, float offset, float noise, const float *restrict above,
                           const float *restrict here, const float *restrict below,
                           uint16_t *restrict out)
{
    Generators g = row_generators(key);
    const float middle = 1.0f - 2.0f * share;
    for (size_t start = 0; start < width; start += ROW_CHUNK) {
        const size_t n = width - start < ROW_CHUNK ? width - start : ROW_CHUNK;
        uint32_t bits[ROW_CHUNK];
        float normal[ROW_CHUNK];
        fill_bits(&g, (n + 1) / 2, bits);
        for (size_t i = 0; i < n; i++) {
            const uint32_t half = i & 1u ? bits[i / 2] >> 16 : bits[i / 2];
            normal[i] = t->quantile[half & (QUANTILES - 1u)];
        }
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
