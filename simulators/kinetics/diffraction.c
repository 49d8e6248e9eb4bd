#include "diffraction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "contrast.h"
#include "grains.h"
#include "image.h"
#include "scattering.h"

#define SPOTS_REACH 3.0       /* 1/A, reflections beyond are left out */
#define WEAKEST 70.0          /* s xi of spots that are left out: 1e-4 of the column's beam */
#define PROFILE_STEP 0.0025   /* 1/A */
#define PROFILE_SIZE 1600u    /* to 4 1/A */
#define MOST_DIFFRACTED 0.8   /* of a column, as in the bright-field picture */
#define OXIDE_MOST 0.25       /* of a particle's volume that is skin */
#define OXIDE_TIME 10.0       /* s in which residual gas makes most of it */
#define OXIDE_WIDTH 0.012     /* 1/A rms of its rings, grains of 3 nm */
#define PLASMON_keV 0.025     /* mean loss in carbon */
#define LAYER_TEXTURE 0.25    /* (002) is stronger across the fibre: layers lie along it */
#define LEAST_BEAM 0.02       /* of the electrons stay in the central beam */

typedef struct {
    double h, k, l;
    double g;          /* 1/A */
    double extinction; /* nm, with thermal motion */
} Reflection;

typedef struct {
    const Model *m;
    const PatternRequest *q;
    float *map;
    int metal;
    double lattice_A, wavelength_A, gamma;
    double dose;      /* electrons per nm2 in the aperture */
    double scattered; /* electrons out of the central beam so far */
    size_t reflections;
    Reflection *reflection;
    double *shares; /* of each reflection, COLUMN_CLASSES each */
    double ring[PROFILE_SIZE], layers[PROFILE_SIZE]; /* electrons per 1/A^2; layers times cos 2 phi */
} Pattern;

static double spot_sigma(const PatternRequest *q)
{
    return q->beam_width / 2.3548;
}

/* Part of a Gaussian in each pixel of a line; returns the first pixel, -1 when none. */
static ptrdiff_t gauss_line(double centre, double sigma, size_t size, size_t *count, double *part)
{
    const double low = floor(fmax(centre - 4.5 * sigma, 0.0));
    const double high = floor(fmin(centre + 4.5 * sigma, (double)size - 1.0));
    if (high < low)
        return -1;
    *count = (size_t)(high - low) + 1;
    const double scale = 1.0 / (sigma * 1.4142135623730951);
    double before = erf((low - centre) * scale);
    for (size_t k = 0; k < *count; k++) {
        const double after = erf((low + (double)k + 1.0 - centre) * scale);
        part[k] = 0.5 * (after - before);
        before = after;
    }
    return (ptrdiff_t)low;
}

#define SPOT_PIXELS 512u /* widest spot drawn */

static void draw_spot(Pattern *p, double gx, double gy, double sigma, double electrons)
{
    const PatternRequest *q = p->q;
    double across[SPOT_PIXELS], down[SPOT_PIXELS];
    size_t wide = 0, tall = 0;
    const double width = fmin(fmax(sigma / q->pixel, 0.05), SPOT_PIXELS / 10.0);
    const ptrdiff_t column =
        gauss_line(0.5 * (double)q->width + gx / q->pixel, width, q->width, &wide, across);
    const ptrdiff_t row =
        gauss_line(0.5 * (double)q->height - gy / q->pixel, width, q->height, &tall, down);
    if (column < 0 || row < 0)
        return;
    for (size_t r = 0; r < tall; r++) {
        float *line = p->map + ((size_t)row + r) * q->width + (size_t)column;
        for (size_t c = 0; c < wide; c++)
            line[c] += (float)(electrons * down[r] * across[c]);
    }
}

static double corner(const PatternRequest *q)
{
    return 0.5 * q->pixel * hypot((double)q->width, (double)q->height);
}

static bool list_reflections(Pattern *p)
{
    /* Strong ones beyond the picture's edge take electrons from the central beam, too. */
    const double largest = fmin(fmax(corner(p->q) + 0.05, 1.3), SPOTS_REACH);
    const int most = (int)(largest * p->lattice_A);
    const double cell = 2.0 * most + 1.0;
    p->reflection = malloc((size_t)(cell * cell * cell) * sizeof *p->reflection);
    if (!p->reflection)
        return false;
    for (int h = -most; h <= most; h++)
        for (int k = -most; k <= most; k++)
            for (int l = -most; l <= most; l++) {
                const double g = sqrt((double)(h * h + k * k + l * l)) / p->lattice_A;
                if ((h + k + l) & 1 || g == 0.0 || g > largest)
                    continue;
                const double motion = exp(0.25 * thermal_B(p->metal) * g * g);
                p->reflection[p->reflections++] = (Reflection){
                    h, k, l, g,
                    motion * bcc_extinction_nm(p->metal, p->lattice_A, g, p->q->energy_keV)};
            }
    p->shares = malloc((p->reflections * COLUMN_CLASSES + 1) * sizeof *p->shares);
    return p->shares != NULL;
}

/* s of a reflection whose g has the component g_z, 1/nm. */
static double deviation(const Pattern *p, double g_z, double g)
{
    return -10.0 * (g_z + 0.5 * p->wavelength_A * g * g);
}

typedef struct {
    double gx, gy;
    size_t which;
} NearSpot;

/* Spots of a grain that takes this share of the area of the columns. */
static void draw_grain(Pattern *p, const double r[9], const Columns *columns, double share)
{
    enum { ROOM = 4096 };
    NearSpot near[ROOM];
    double sum[COLUMN_CLASSES] = {0};
    size_t count = 0;
    for (size_t n = 0; n < p->reflections && count < ROOM; n++) {
        const Reflection *f = &p->reflection[n];
        const double s = deviation(
            p, (r[6] * f->h + r[7] * f->k + r[8] * f->l) / p->lattice_A, f->g);
        if (fabs(s) > 4.0 / columns->mean && fabs(s) * f->extinction > WEAKEST)
            continue;
        const double inverse = 1.0 / f->extinction, effective = sqrt(s * s + inverse * inverse);
        double *shares = p->shares + count * COLUMN_CLASSES;
        for (int k = 0; k < COLUMN_CLASSES; k++) {
            const double wave = sin(PI * columns->thickness[k] * effective) * inverse / effective;
            shares[k] = wave * wave;
            sum[k] += shares[k];
        }
        near[count++] = (NearSpot){(r[0] * f->h + r[1] * f->k + r[2] * f->l) / p->lattice_A,
                                   (r[3] * f->h + r[4] * f->k + r[5] * f->l) / p->lattice_A, n};
    }
    const double size_A = 10.0 * cbrt(6.0 * share * columns->volume / PI);
    const double sigma = hypot(spot_sigma(p->q), 0.9 / 2.3548 / size_A);
    for (size_t n = 0; n < count; n++) {
        double area = 0.0;
        for (size_t k = 0; k < COLUMN_CLASSES; k++)
            area += columns->area[k] * p->shares[n * COLUMN_CLASSES + k] *
                    fmin(1.0, MOST_DIFFRACTED / sum[k]);
        const double electrons = p->dose * share * area;
        draw_spot(p, near[n].gx, near[n].gy, sigma, electrons);
        p->scattered += electrons;
    }
}

/* Atoms, metal and oxide of all particles in the aperture. */
typedef struct {
    double ordered, disordered; /* atoms */
    double metal, oxide;        /* nm3 */
} Contents;

static double oxide_volume(const Model *m, size_t i)
{
    const Particles *p = &m->particles;
    const double age = model_time(m, m->tick) - p->born[i];
    const double skin = -SKIN_NM * expm1(-age / OXIDE_TIME);
    return fmin(skin * cap_free_area(p->base[i], p->tau[i]), OXIDE_MOST * p->volume[i]);
}

static Contents draw_particles(Pattern *p)
{
    const Model *m = p->m;
    const Aperture aperture = {p->q->aperture_x, p->q->aperture_y, p->q->aperture_diameter};
    Contents sum = {0};
    for (size_t i = 0; i < m->particles.count; i++) {
        const double oxide = oxide_volume(m, i), metal = m->particles.volume[i] - oxide;
        const double crystalline = grain_crystalline(m, i), second = grain_second_share(m, i);
        Columns columns;
        columns_of(m, i, &aperture, metal, &columns);
        if (columns.volume <= 0.0)
            continue;
        const double atoms = columns.volume / m->par.atomic_volume_nm3;
        sum.ordered += crystalline * atoms;
        sum.disordered += (1.0 - crystalline) * atoms;
        sum.metal += columns.volume;
        sum.oxide += oxide * columns.volume / metal;
        double r[9];
        if (crystalline > 0.0) {
            lattice_rotation(m->seed, m->particles.lattice[i], r);
            draw_grain(p, r, &columns, crystalline * (1.0 - second));
        }
        if (crystalline * second > 0.0) {
            lattice_rotation(m->seed, m->particles.lattice_2[i], r);
            draw_grain(p, r, &columns, crystalline * second);
        }
    }
    return sum;
}

/* Electrons per 1/A^2 that so many atoms scatter where f_e^2 S(g) is 1 A2. */
static double atom_strength(const Pattern *p, double atoms)
{
    const double wave = p->wavelength_A * p->gamma;
    return 0.01 * p->dose * atoms * wave * wave;
}

static void add_metal(Pattern *p, const Contents *c)
{
    const double halo = atom_strength(p, c->disordered), ordered = atom_strength(p, c->ordered);
    for (size_t k = 1; k < PROFILE_SIZE; k++) {
        const double g = (double)k * PROFILE_STEP, f = electron_amplitude(p->metal, g);
        const double moving = -expm1(-0.5 * thermal_B(p->metal) * g * g);
        p->ring[k] +=
            f * f * (halo * amorphous_metal_order(g, p->lattice_A) + ordered * moving);
    }
}

static void add_oxide(Pattern *p, double volume_nm3)
{
    OxideRing ring[OXIDE_RINGS];
    const double cell = oxide_rings(p->metal, ring);
    const double wave = p->wavelength_A * p->gamma;
    for (int i = 0; i < OXIDE_RINGS; i++) {
        /* D V (lambda gamma F/V_c)^2 d/2 for each reflection: dose per A2, volume in A3, and d/2 in
         * A because the relrods of all orientations add up to 1/A. */
        const double electrons = 0.01 * p->dose * 1e3 * volume_nm3 * wave * wave *
                                 ring[i].intensity / (cell * cell) * 0.5 / ring[i].g;
        const double width = hypot(OXIDE_WIDTH, spot_sigma(p->q));
        const double top =
            electrons / (2.0 * PI * ring[i].g * width * 2.5066282746310002);
        for (size_t k = 1; k < PROFILE_SIZE; k++) {
            const double z = ((double)k * PROFILE_STEP - ring[i].g) / width;
            p->ring[k] += top * exp(-0.5 * z * z);
        }
    }
}

static Carbon add_carbon(Pattern *p, double loss)
{
    const Aperture aperture = {p->q->aperture_x, p->q->aperture_y, p->q->aperture_diameter};
    const double depth = attenuation_at(p->q->energy_keV, p->metal).carbon;
    const Carbon carbon = carbon_in(p->m, &aperture, depth, loss);
    const double atoms = CARBON_FILLING * CARBON_ATOMS_PER_NM3 * carbon.single;
    const double strength = atom_strength(p, atoms);
    for (size_t k = 1; k < PROFILE_SIZE; k++) {
        const double g = (double)k * PROFILE_STEP, f = electron_amplitude(ATOM_C, g);
        p->ring[k] += strength * f * f * carbon_order(g);
        p->layers[k] -= LAYER_TEXTURE * strength * f * f * carbon_layers(g);
    }
    return carbon;
}

/* The plasmon-loss electrons around the central beam: a Lorentzian that fades to 0 at the Bethe
 * ridge, top (1 - g^2/cut2)^2/(g^2 + width2). */
typedef struct {
    double width2, cut2, top; /* 1/A^2, 1/A^2, electrons */
} Plasmons;

static Plasmons plasmons_of(const Pattern *p, double electrons)
{
    const double rest = 510.99895, energy = p->q->energy_keV;
    const double angle = PLASMON_keV * (energy + rest) / (energy * (energy + 2.0 * rest));
    const double g = angle / p->wavelength_A, sigma = spot_sigma(p->q);
    Plasmons l = {g * g + 2.0 * sigma * sigma, 2.0 * angle / (p->wavelength_A * p->wavelength_A),
                  0.0};
    const double u = l.width2 / l.cut2;
    l.top = electrons / (PI * ((1.0 + u) * (1.0 + u) * log1p(1.0 / u) - 1.5 - u));
    return l;
}

static void draw_profiles(Pattern *p, const Plasmons *plasmons)
{
    const PatternRequest *q = p->q;
    p->ring[0] = p->ring[1];
    const double pixel2 = q->pixel * q->pixel;
    for (size_t r = 0; r < q->height; r++) {
        const double gy = (0.5 * (double)q->height - (double)r - 0.5) * q->pixel;
        float *line = p->map + r * q->width;
        for (size_t c = 0; c < q->width; c++) {
            const double gx = ((double)c + 0.5 - 0.5 * (double)q->width) * q->pixel;
            const double g2 = gx * gx + gy * gy, place = sqrt(g2) / PROFILE_STEP;
            const double fade = fmax(0.0, 1.0 - g2 / plasmons->cut2);
            double sum = plasmons->top * fade * fade / (g2 + plasmons->width2);
            if (place < PROFILE_SIZE - 1.0) {
                const size_t k = (size_t)place;
                const double part = place - (double)k;
                const double cos2 = g2 > 0.0 ? (gx * gx - gy * gy) / g2 : 0.0;
                sum += p->ring[k] + part * (p->ring[k + 1] - p->ring[k]) +
                       cos2 * (p->layers[k] + part * (p->layers[k + 1] - p->layers[k]));
            }
            line[c] += (float)(pixel2 * sum);
        }
    }
}

static void cast_shadow(const Pattern *p)
{
    const PatternRequest *q = p->q;
    const double ax = cos(q->stop_axis_rad), ay = sin(q->stop_axis_rad), soft = 0.5 * q->pixel;
    for (size_t r = 0; r < q->height; r++) {
        const double gy = (0.5 * (double)q->height - (double)r - 0.5) * q->pixel;
        for (size_t c = 0; c < q->width; c++) {
            const double gx = ((double)c + 0.5 - 0.5 * (double)q->width) * q->pixel;
            const double along = gx * ax + gy * ay, across = fabs(gx * ay - gy * ax);
            double outside = hypot(gx, gy) - q->stop_radius;
            if (along > 0.0) /* the shaft is half as wide as the disc */
                outside = fmin(outside, across - 0.5 * q->stop_radius);
            const double light = fmin(1.0, fmax(0.0, 0.5 + 0.5 * outside / soft));
            p->map[r * q->width + c] *= (float)light;
        }
    }
}

static double profile_total(const Pattern *p)
{
    double sum = 0.0;
    for (size_t k = 1; k < PROFILE_SIZE; k++)
        sum += 2.0 * PI * (double)k * PROFILE_STEP * PROFILE_STEP * p->ring[k];
    return sum;
}

static void compose(Pattern *p)
{
    const PatternRequest *q = p->q;
    const double carbon_loss = CARBON_FILLING / inelastic_path_nm(q->energy_keV, 6.0);
    static const double number[3] = {3.0, 11.0, 19.0};
    const double metal_loss = 1.0 / inelastic_path_nm(q->energy_keV, number[p->metal]);
    const Contents contents = draw_particles(p);
    add_metal(p, &contents);
    add_oxide(p, contents.oxide);
    const Carbon carbon = add_carbon(p, carbon_loss);
    p->scattered += profile_total(p);
    const double elastic = fmin(p->scattered, (1.0 - LEAST_BEAM) * q->electrons);
    const double lost = fmin(p->dose * (carbon.lossy + metal_loss * contents.metal) / q->electrons,
                             1.0 - LEAST_BEAM);
    const Plasmons plasmons = plasmons_of(p, lost * (q->electrons - elastic));
    draw_profiles(p, &plasmons);
    draw_spot(p, 0.0, 0.0, spot_sigma(q), (1.0 - lost) * (q->electrons - elastic));
    if (q->stop_radius > 0.0)
        cast_shadow(p);
}

bool diffraction_render(const Model *m, const PatternRequest *request, float *mean)
{
    memset(mean, 0, request->height * request->width * sizeof *mean);
    if (!(request->electrons > 0.0))
        return true;
    Pattern *p = calloc(1, sizeof *p);
    if (!p)
        return false;
    p->m = m;
    p->q = request;
    p->map = mean;
    p->metal = (int)m->par.metal;
    p->lattice_A = 10.0 * cbrt(2.0 * m->par.atomic_volume_nm3);
    p->wavelength_A = electron_wavelength_A(request->energy_keV);
    p->gamma = electron_gamma(request->energy_keV);
    p->dose = request->electrons /
              (0.25 * PI * request->aperture_diameter * request->aperture_diameter);
    const bool listed = list_reflections(p);
    if (listed)
        compose(p);
    free(p->reflection);
    free(p->shares);
    free(p);
    return listed;
}
