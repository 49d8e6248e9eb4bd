#include "poisson.h"

#include <math.h>
#include <stdlib.h>

#include "elementary.h"

/* Distribution over base ... base + size - 1, by recurrence from the most probable number. */
static void fill_distribution(double mean, uint32_t base, uint32_t size, double *p)
{
    const uint32_t mode = (uint32_t)mean - base;
    double sum = p[mode] = 1.0;
    for (uint32_t i = mode; i-- > 0;)
        sum += p[i] = p[i + 1] * (double)(base + i + 1) / mean;
    for (uint32_t i = mode + 1; i < size; i++)
        sum += p[i] = p[i - 1] * mean / (double)(base + i);
    for (uint32_t i = 0; i < size; i++)
        p[i] *= size / sum;
}

/* Vose's method: small and large are work space for `size` numbers each. */
static void fill_alias(double *p, uint32_t size, uint32_t bits, uint32_t *small, uint32_t *large,
                       uint32_t *entry)
{
    const double scale = (double)(1u << (32u - bits));
    uint32_t smalls = 0, larges = 0;
    for (uint32_t i = 0; i < size; i++) {
        entry[i] = ((uint32_t)(scale - 1.0) << bits) | i;
        if (p[i] < 1.0)
            small[smalls++] = i;
        else
            large[larges++] = i;
    }
    while (smalls && larges) {
        const uint32_t a = small[--smalls], b = large[larges - 1];
        const double stay = fmin(floor(p[a] * scale + 0.5), scale - 1.0);
        entry[a] = ((uint32_t)stay << bits) | b;
        p[b] -= 1.0 - p[a];
        if (p[b] < 1.0) {
            larges--;
            small[smalls++] = b;
        }
    }
}

#define SIZE_MOST 2048u

static bool add_level(PoissonTables *t)
{
    double p[SIZE_MOST];
    uint32_t small[SIZE_MOST], large[SIZE_MOST];
    const double root = (double)t->levels / LEVELS_PER_ROOT, mean = root * root;
    uint32_t bits = 5;
    while ((1u << bits) < 16.0 * root + 16.0) /* eight standard deviations to each side */
        bits++;
    const uint32_t size = 1u << bits;
    if (t->used + size > t->room) {
        const size_t room = 2 * (t->used + size);
        uint32_t *pool = realloc(t->pool, room * sizeof *pool);
        if (!pool)
            return false;
        t->pool = pool;
        t->room = room;
    }
    const uint32_t base = mean > 0.5 * size ? (uint32_t)(mean - 0.5 * size) : 0;
    t->level[t->levels] = ((uint64_t)t->used << 32) | ((uint64_t)base << 8) | bits;
    if (mean > 0.0) {
        fill_distribution(mean, base, size, p);
    } else {
        for (uint32_t i = 0; i < size; i++)
            p[i] = i == 0 ? size : 0.0;
    }
    fill_alias(p, size, bits, small, large, t->pool + t->used);
    t->used += size;
    t->levels++;
    return true;
}

static void fill_quantiles(float *quantile)
{
    double z = -3.7; /* Newton's rule, each start being the quantile before */
    for (uint32_t i = 0; i < QUANTILES; i++) {
        const double p = (i + 0.5) / QUANTILES;
        for (int n = 0; n < 8; n++) {
            const double excess = 0.5 * erfc(-z * 0.7071067811865476) - p;
            z -= excess * 2.5066282746310002 * exp(0.5 * z * z);
        }
        quantile[i] = (float)z;
    }
}

PoissonTables *poisson_create(void)
{
    PoissonTables *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    fill_quantiles(t->quantile);
    if (!poisson_prepare(t, 64.0)) {
        poisson_free(t);
        return NULL;
    }
    return t;
}

void poisson_free(PoissonTables *t)
{
    if (t)
        free(t->pool);
    free(t);
}

bool poisson_prepare(PoissonTables *t, double mean)
{
    const double top = mean < (double)POISSON_TOP ? mean : (double)POISSON_TOP;
    const size_t wanted = 2 + (size_t)(LEVELS_PER_ROOT * sqrt(top));
    while (t->levels < wanted && t->levels < POISSON_LEVELS)
        if (!add_level(t))
            return false;
    return true;
}

unsigned poisson_terms(float mean)
{
    /* the largest rest: to the next level, and a little for rounding */
    const double step = 1.0 / LEVELS_PER_ROOT;
    const double rest = step * (2.0 * sqrt(fmin(mean, POISSON_TOP)) + 2.0 * step);
    double p = elementary_exp(-rest), tail = 1.0 - p;
    unsigned terms = 1;
    while (tail > 0x1p-25 && terms < TERMS_MOST) {
        p *= rest / terms++;
        tail -= p;
    }
    return terms;
}
