/*
 * Floor of the time of a frame: what must be done for each pixel, and nothing else.
 *
 *   random    1.2 numbers of 64 bits by xoshiro256++ (Blackman and Vigna 2019): one for the
 *             electrons, one for the readout noise of five pixels
 *   look-up   one entry of a table of 152 KB, at a place that depends on the pixel's mean and on
 *             random bits, and the choice between the two numbers it holds
 *   exp       expected electrons of the loss in single precision, and its level in the table
 *   detector  charge spread along and across, gain, offset, a normal number from a table of 4096,
 *             clipping to 16 bits
 *
 * each alone, and all of it fused row by row.  No projection, no fringes, no exact Poisson
 * remainder.
 *
 * Arguments: a file of height*width losses (float32, native byte order), width, height, electrons
 * a pixel in vacuum, how many frames.  Prints one line a part: its name and ns of CPU time a pixel.
 */
#define _POSIX_C_SOURCE 199309L
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GRID 16.0f /* levels a unit of the root of the mean */
#define LEVELS 152u
#define ENTRIES 256u
#define QUANTILES 4096u
#define BUFFER 4096u /* random numbers ready made, for the parts that draw none */

static uint32_t table[LEVELS][ENTRIES]; /* threshold in 24 bits, other number in 8 */
static float quantile[QUANTILES];
static uint64_t ready[BUFFER];

typedef struct {
    uint64_t s[4];
} Stream;

static inline uint64_t rotated(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static inline uint64_t next(Stream *x)
{
    uint64_t *s = x->s;
    const uint64_t result = rotated(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotated(s[3], 45);
    return result;
}

static inline uint16_t number_of(uint32_t level, uint64_t bits)
{
    const uint32_t low = (uint32_t)bits, place = low & (ENTRIES - 1u);
    const uint32_t entry = table[level][place];
    /* without a branch, which would be taken at random */
    const uint32_t other = 0u - (uint32_t)(low >> 8 >= entry >> 8);
    return (uint16_t)((place ^ ((place ^ entry) & other)) & (ENTRIES - 1u));
}

static inline float transmission(float loss)
{
    const float x = (loss < 80.0f ? loss : 80.0f) * -1.44269504f;
    const float shifted = x + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    const float r = (x - (shifted - 12582912.0f)) * 0.69314718f;
    const float p =
        1.0f + r * (1.0f + r * (0.5f + r * (0.16666667f +
                                            r * (0.041666668f + r * 0.0083333333f))));
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits - 0x4B400000u + 127u) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static void exp_row(const float *restrict loss, size_t width, float vacuum, float *restrict mean,
                    uint32_t *restrict level)
{
    for (size_t c = 0; c < width; c++) {
        mean[c] = vacuum * transmission(loss[c]);
        level[c] = (uint32_t)(int32_t)(GRID * sqrtf(mean[c]));
    }
}

static void spread_row(const uint16_t *restrict line, size_t width, float *restrict out)
{
    const float side = 0.08f, middle = 0.84f;
    out[0] = (float)line[0];
    out[width - 1] = (float)line[width - 1];
    for (size_t c = 1; c + 1 < width; c++)
        out[c] = middle * (float)line[c] + side * ((float)line[c - 1] + (float)line[c + 1]);
}

static inline uint16_t read_out(float above, float here, float below, uint32_t noise)
{
    const float charge = 0.84f * here + 0.08f * (above + below);
    const float value = 8.0f * charge + 100.5f + 3.0f * quantile[noise & (QUANTILES - 1u)];
    return (uint16_t)(int32_t)(value < 0.0f ? 0.0f : (value > 65535.0f ? 65535.0f : value));
}

static void read_row(const float *restrict above, const float *restrict here,
                     const float *restrict below, size_t width, Stream *stream,
                     uint16_t *restrict out)
{
    size_t c = 0;
    for (; c + 5 <= width; c += 5) {
        const uint64_t bits = next(stream);
        for (size_t k = 0; k < 5; k++)
            out[c + k] = read_out(above[c + k], here[c + k], below[c + k],
                                  (uint32_t)(bits >> (12 * k)));
    }
    for (uint64_t bits = next(stream); c < width; c++, bits >>= 12)
        out[c] = read_out(above[c], here[c], below[c], (uint32_t)bits);
}

/* The same with random numbers ready made. */
static void read_row_ready(const float *restrict above, const float *restrict here,
                           const float *restrict below, size_t width, uint16_t *restrict out)
{
    for (size_t c = 0; c < width; c++)
        out[c] = read_out(above[c], here[c], below[c], (uint32_t)ready[c & (BUFFER - 1u)]);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void say(const char *name, double since, size_t pixels)
{
    printf("%s %.4f\n", name, (now_ns() - since) / (double)pixels);
}

static void fill_tables(Stream *stream)
{
    for (size_t i = 0; i < LEVELS * ENTRIES; i++)
        table[i / ENTRIES][i % ENTRIES] = (uint32_t)next(stream);
    for (size_t i = 0; i < QUANTILES; i++)
        quantile[i] = ((float)i + 0.5f) / (float)QUANTILES - 0.5f;
    for (size_t i = 0; i < BUFFER; i++)
        ready[i] = next(stream);
}

typedef struct {
    size_t width, height, frames;
    float vacuum;
    float *loss, *mean, *ring;
    uint32_t *level;
    uint16_t *counts, *out;
} Work;

static uint64_t parts(Work *w, Stream *stream)
{
    const size_t pixels = w->width * w->height, all = pixels * w->frames;
    uint64_t sink = 0;
    double since = now_ns();
    for (size_t i = 0; i < all + all / 5; i++)
        sink ^= next(stream);
    say("random", since, all);

    since = now_ns();
    for (size_t f = 0; f < w->frames; f++)
        for (size_t r = 0; r < w->height; r++)
            exp_row(w->loss + r * w->width, w->width, w->vacuum, w->mean,
                    w->level + r * w->width);
    say("exp", since, all);

    since = now_ns();
    for (size_t f = 0; f < w->frames; f++)
        for (size_t i = 0; i < pixels; i++)
            w->counts[i] = number_of(w->level[i], ready[(i + f) & (BUFFER - 1u)]);
    say("look-up", since, all);

    since = now_ns();
    for (size_t f = 0; f < w->frames; f++)
        for (size_t r = 0; r < w->height; r++) {
            spread_row(w->counts + r * w->width, w->width, w->ring + (r % 3) * w->width);
            read_row_ready(w->ring + ((r + 1) % 3) * w->width, w->ring + (r % 3) * w->width,
                           w->ring + ((r + 2) % 3) * w->width, w->width, w->out + r * w->width);
        }
    say("detector", since, all);
    return sink;
}

static uint64_t fused(Work *w, Stream *stream)
{
    uint64_t sink = 0;
    const double since = now_ns();
    for (size_t f = 0; f < w->frames; f++) {
        Stream noise = *stream;
        noise.s[0] ^= 1;
        for (size_t r = 0; r < w->height; r++) {
            exp_row(w->loss + r * w->width, w->width, w->vacuum, w->mean, w->level);
            for (size_t c = 0; c < w->width; c++)
                w->counts[c] = number_of(w->level[c], next(stream));
            spread_row(w->counts, w->width, w->ring + (r % 3) * w->width);
            read_row(w->ring + ((r + 1) % 3) * w->width, w->ring + (r % 3) * w->width,
                     w->ring + ((r + 2) % 3) * w->width, w->width, &noise,
                     w->out + r * w->width);
        }
        sink += w->out[f];
    }
    say("fused", since, w->width * w->height * w->frames);
    return sink;
}

int main(int count, char **argument)
{
    if (count != 6) {
        fprintf(stderr, "frame_floor FILE WIDTH HEIGHT ELECTRONS FRAMES\n");
        return 2;
    }
    Work w = {.width = strtoul(argument[2], NULL, 10),
              .height = strtoul(argument[3], NULL, 10),
              .vacuum = strtof(argument[4], NULL),
              .frames = strtoul(argument[5], NULL, 10)};
    const size_t pixels = w.width * w.height;
    FILE *file = fopen(argument[1], "rb");
    w.loss = calloc(pixels, sizeof *w.loss);
    w.mean = calloc(w.width, sizeof *w.mean);
    w.ring = calloc(3 * w.width, sizeof *w.ring);
    w.level = calloc(pixels, sizeof *w.level);
    w.counts = calloc(pixels, sizeof *w.counts);
    w.out = calloc(pixels, sizeof *w.out);
    if (!file || w.width < 3 || !w.frames || !w.loss || !w.mean || !w.ring || !w.level ||
        !w.counts || !w.out || fread(w.loss, sizeof *w.loss, pixels, file) != pixels) {
        fprintf(stderr, "cannot read %s\n", argument[1]);
        return 1;
    }
    for (size_t i = 0; i < pixels; i++)
        if (!(GRID * sqrtf(w.vacuum * expf(-w.loss[i])) < (float)LEVELS - 1.0f)) {
            fprintf(stderr, "a mean is beyond the table\n");
            return 1;
        }
    Stream stream = {{1, 2, 3, 4}};
    fill_tables(&stream);
    uint64_t sink = parts(&w, &stream);
    sink ^= fused(&w, &stream);
    fclose(file);
    free(w.loss);
    free(w.mean);
    free(w.ring);
    free(w.level);
    free(w.counts);
    free(w.out);
    return sink == 1; /* what was computed is used */
}
