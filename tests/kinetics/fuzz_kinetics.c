/*
 * Fuzz target of the C core.  An input is read as parameters and a list of commands; after every
 * command the state must be sound (soundness.h), and what was refused must have changed nothing.
 *
 * With clang -fsanitize=fuzzer this is a libFuzzer target.  With -DFUZZ_DRIVER any compiler makes
 * a program of it: `fuzz FILE...` replays inputs; `fuzz [-n COUNT] [-t SECONDS] [-s SEED]` makes
 * its own, until so many or so long, and tells the seed of one that breaks something.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "equations.h"
#include "export.h"
#include "grains.h"
#include "reaction_box.h"
#include "requests.h"
#include "rng.h"
#include "scattering.h"
#include "soundness.h"
#include "state.h"
#include "truth.h"

#define MOST_COMMANDS 12
#define MOST_TICKS 40     /* in one command */
#define MOST_SITES 400.0  /* of all fibres, so that an input takes milliseconds */
#define MOST_CRYSTALS 12
#define MOST_SIDE 24      /* of a picture, pixels */
#define MOST_PIXELS (MOST_SIDE * MOST_SIDE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *source = "an input"; /* what is being run, for the message */

static void demand(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "fuzz: %s breaks: %s\n", source, what);
    abort();
}

static void demand_sound(const Model *m, const char *after)
{
    const char *what = model_unsound(m);
    if (!what)
        return;
    fprintf(stderr, "fuzz: %s breaks: %s, after %s\n", source, what, after);
    abort();
}

/* ---- reading the input; beyond its end all bytes are zero ---- */

typedef struct {
    const uint8_t *at;
    size_t left;
} Bytes;

static uint8_t byte_of(Bytes *b)
{
    if (b->left == 0)
        return 0;
    b->left--;
    return *b->at++;
}

static uint64_t word_of(Bytes *b, int bytes)
{
    uint64_t word = 0;
    for (int i = 0; i < bytes; i++)
        word |= (uint64_t)byte_of(b) << (8 * i);
    return word;
}

static double any_number(Bytes *b)
{
    static const double awkward[] = {
        0.0, -0.0,  NAN,     INFINITY, -INFINITY, 5e-324, 2.2250738585072014e-308,
        1e300, -1e300, 1.7976931348623157e308, -1.0, 1e-9, 9.2e18, 1.8446744073709552e19,
    };
    const uint8_t which = byte_of(b);
    if (which < sizeof awkward / sizeof awkward[0])
        return awkward[which];
    const uint64_t bits = word_of(b, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A number that mostly lies in low ... high, often at or beside its ends; low <= high. */
static double number(Bytes *b, double low, double high)
{
    const uint8_t how = byte_of(b) % 16;
    if (how == 0)
        return any_number(b);
    if (how == 1)
        return low;
    if (how == 2)
        return high;
    if (how == 3)
        return nextafter(low, INFINITY);
    if (how == 4)
        return nextafter(high, -INFINITY);
    if (how == 5)
        return nextafter(byte_of(b) & 1u ? low : high, byte_of(b) & 1u ? -INFINITY : INFINITY);
    const double part = (double)word_of(b, 2) / 65535.0;
    if (how < 11 && high > 0.0) { /* by orders of magnitude */
        const double least = low > 0.0 ? low : high * 1e-15;
        return fmin(high, fmax(low, least * pow(high / least, part)));
    }
    return low + (high - low) * part;
}

static bool flag(Bytes *b)
{
    return byte_of(b) & 1u;
}

/* ---- parameters ---- */

static bool has_complaint(const Parameters *par)
{
    const char *complaint = parameters_complaint(par);
    demand(!complaint || complaint[0] != '\0', "a complaint says something");
    return complaint != NULL;
}

static void repair(Parameters *par)
{
    for (size_t i = 0; i < parameter_count; i++) {
        const ParameterRow *row = &parameter_table[i];
        const double value = parameters_get(par, i);
        parameters_set(par, i, isnan(value) ? row->value : fmin(row->high, fmax(row->low, value)));
    }
    par->metal = floor(par->metal);
    par->fibre_count = floor(par->fibre_count);
    par->site_count = floor(fmin(par->site_count, MOST_SITES / par->fibre_count));
    par->first_site_feed = par->first_site_feed < 1e-6 ? 0.0 : par->first_site_feed;
    if (pow(par->fibre_feed_ratio, par->fibre_count - 1.0) < 1e-6)
        par->fibre_feed_ratio = 1.0;
    par->substrate = floor(par->substrate);
    par->receding_angle_deg = fmin(par->receding_angle_deg, par->advancing_angle_deg);
}

static Parameters parameters_of(Bytes *b)
{
    Parameters par = parameters_default();
    const size_t changes = byte_of(b) % 32;
    for (size_t k = 0; k < (changes < 24 ? changes : parameter_count); k++) {
        const size_t i = (changes < 24 ? byte_of(b) : k) % parameter_count;
        parameters_set(&par, i, number(b, parameter_table[i].low, parameter_table[i].high));
    }
    const bool refused = has_complaint(&par);
    Parameters repaired = par;
    repair(&repaired);
    for (size_t i = 0; i < parameter_count; i++)
        demand(refused || isfinite(parameters_get(&par, i)), "a number that is none passes");
    return repaired;
}

/* ---- commands ---- */

static void advance(Model *m, Bytes *b)
{
    const double bias = number(b, -6.0, 6.0), bias_end = flag(b) ? number(b, -1e3, 1e3) : bias;
    const uint8_t contact = byte_of(b) % 8;
    Drive drive = {
        .bias = bias,
        .bias_end = bias_end,
        .open = contact == 0 || contact == 1,
        .terminals_off = contact == 0,
        .series = contact == 2 ? number(b, 0.0, 1e3) : 0.0,
        .beam = flag(b) ? number(b, 0.0, LARGEST_BEAM) : 0.0,
    };
    const double ticks = (double)(byte_of(b) % (MOST_TICKS + 1));
    const double seconds =
        byte_of(b) < 8 ? number(b, 0.0, 1e5) : (ticks + 0.3) * m->par.tick_s;
    const int64_t clock = m->clock_ps;
    if (advance_complaint(m, &drive, seconds))
        return;
    model_begin(m, &drive, seconds);
    demand(m->clock_ps >= clock, "time goes on");
    for (int64_t left = MOST_TICKS, done = 1; left > 0 && done > 0; left -= done) {
        done = model_run(m, &drive, 1 + byte_of(b) % 7);
        demand(done >= 0, "memory is short");
    }
    if (m->clock_ps - m->tick * m->tick_ps > m->tick_ps)
        model_cancel(m);
    demand_sound(m, "advance");
}

static void place(Model *m, Bytes *b)
{
    Placing list[MOST_CRYSTALS];
    const size_t count = byte_of(b) % (MOST_CRYSTALS + 1), before = m->particles.count;
    for (size_t k = 0; k < count; k++)
        list[k] = (Placing){
            .fibre = flag(b) ? number(b, 0.0, m->par.fibre_count) : 0.0,
            .s = number(b, 0.0, m->par.fibre_length_nm),
            .y = number(b, -m->d.period, 2.0 * m->d.period),
            .volume = number(b, m->d.gone_volume, flag(b) ? 1e15 : 1e6),
            .angle = flag(b) ? number(b, 0.0, PI) : NAN,
            .phi = flag(b) ? number(b, 0.0, 1.0) : 0.0,
            .feed = flag(b) ? number(b, 1e-6, 1e6) : 1.0,
        };
    uint64_t first = 0;
    const bool refused = model_place(m, list, count, &first) != NULL;
    demand(m->particles.count == before + (refused ? 0 : count), "placed all or none");
    demand_sound(m, "place");
}

static View view_of(Bytes *b, const Model *m)
{
    View v = {
        .height = 1 + byte_of(b) % MOST_SIDE,
        .width = 1 + byte_of(b) % MOST_SIDE,
        .pixel = number(b, byte_of(b) < 16 ? 1e-3 : 1.0, 1e4),
    };
    if (flag(b)) {
        v.origin_x = number(b, -0.5 * m->par.fibre_length_nm, 0.5 * m->par.fibre_length_nm);
        v.origin_y = number(b, -m->par.fibre_radius_nm, m->par.fibre_radius_nm);
    }
    return v;
}

static FrameRequest scene_of(Bytes *b, const Model *m)
{
    const View v = view_of(b, m);
    /* mostly few electrons a pixel: tables for many take their time */
    const double most = byte_of(b) < 6 ? 1e6 : fmin(1e6, 0.5 / fmax(v.pixel * v.pixel, 1e-6));
    FrameRequest q = {
        .view = v,
        .electrons_per_A2 = number(b, 0.0, most),
        .index = word_of(b, 1 + byte_of(b) % 8),
        .energy_keV = number(b, 30.0, 1000.0),
        .underfocus = flag(b) ? number(b, -1e6, 1e6) : 0.0,
        .probe = flag(b),
        .threads = 1,
    };
    if (q.probe) {
        q.probe_x = number(b, -1e3, 1e3);
        q.probe_y = number(b, -1e3, 1e3);
        q.probe_axis_rad = number(b, -PI, PI);
    }
    return q;
}

static Detector detector_of(Bytes *b)
{
    if (flag(b))
        return (Detector){0};
    return (Detector){true, number(b, 0.0, 65535.0), number(b, 0.0, 65535.0),
                      number(b, 0.0, 65535.0), number(b, 0.0, 0.33)};
}

/* A frame with one thread and with several; or by way of its means. */
static void draw_frame(Model *m, Bytes *b)
{
    uint16_t picture[MOST_PIXELS], again[MOST_PIXELS];
    float mean[MOST_PIXELS] = {0.0f};
    FrameRequest q = scene_of(b, m);
    q.detector = detector_of(b);
    if (scene_complaint(&q) || detector_complaint(&q.detector))
        return;
    const size_t pixels = q.view.height * q.view.width;
    demand(frame_render(m, &q, picture), "memory is short");
    q.threads = byte_of(b) < 32 ? 3 : 1;
    demand(frame_render(m, &q, again), "memory is short");
    demand(memcmp(picture, again, pixels * sizeof *picture) == 0, "the same frame twice");
    demand(means_add(m, &q, mean), "memory is short");
    for (size_t i = 0; i < pixels; i++)
        demand(mean[i] >= 0.0f && isfinite(mean[i]), "an expected number of electrons");
    demand_sound(m, "frame");
}

static void draw_counts(Model *m, Bytes *b)
{
    uint16_t picture[MOST_PIXELS];
    float mean[MOST_PIXELS];
    const Detector detector = detector_of(b);
    const CountsRequest q = {
        .mean = mean,
        .height = 1 + byte_of(b) % MOST_SIDE,
        .width = 1 + byte_of(b) % MOST_SIDE,
        .index = word_of(b, 8),
        .purpose = flag(b) ? DRAW_DIFFRACTION : DRAW_SURVEY,
        .detector = &detector,
        .threads = flag(b) ? 2 : 1,
    };
    if (detector_complaint(&detector))
        return;
    const bool any = byte_of(b) < 16; /* any float, NaN and negative too; or a few electrons */
    for (size_t i = 0; i < q.height * q.width; i++) {
        const uint32_t bits = (uint32_t)word_of(b, any && i < 16 ? 4 : 1);
        mean[i] = (float)bits * 0.125f;
        if (any)
            memcpy(&mean[i], &bits, sizeof bits);
    }
    demand(counts_render(m, &q, picture), "memory is short");
}

static void draw_survey(Model *m, Bytes *b)
{
    float mean[MOST_PIXELS];
    const SurveyRequest q = {
        .scene = scene_of(b, m),
        .inner_mrad = number(b, 1.0, 100.0),
        .outer_mrad = number(b, 10.0, 1000.0),
        .line_noise = number(b, 0.0, 1.0),
        .line_jitter = number(b, 0.0, 10.0),
    };
    if (survey_complaint(&q))
        return;
    demand(survey_render(m, &q, mean), "memory is short");
    for (size_t i = 0; i < q.scene.view.height * q.scene.view.width; i++)
        demand(mean[i] >= 0.0f && isfinite(mean[i]), "an expected number of electrons");
}

static void draw_pattern(Model *m, Bytes *b)
{
    float mean[MOST_PIXELS];
    const PatternRequest q = {
        .height = 1 + byte_of(b) % MOST_SIDE,
        .width = 1 + byte_of(b) % MOST_SIDE,
        .pixel = number(b, 1e-5, 1.0),
        .electrons = number(b, 0.0, 1e15),
        .energy_keV = number(b, 30.0, 1000.0),
        .aperture_x = flag(b) ? number(b, -1e4, 1e4) : 0.0,
        .aperture_y = flag(b) ? number(b, -1e4, 1e4) : 0.0,
        .aperture_diameter = number(b, 1.0, 1e6),
        .beam_width = number(b, 0.0, 1.0),
        .stop_radius = flag(b) ? number(b, 0.0, 1.0) : 0.0,
        .stop_axis_rad = number(b, -PI, PI),
    };
    if (pattern_complaint(&q))
        return;
    demand(diffraction_render(m, &q, mean), "memory is short");
    for (size_t i = 0; i < q.height * q.width; i++)
        demand(mean[i] >= 0.0f && isfinite(mean[i]), "an expected number of electrons");
}

static void list_families(Bytes *b)
{
    const int metal = byte_of(b) % 4;
    const double lattice = number(b, 1.0, 10.0), energy = number(b, 30.0, 1000.0);
    const double largest = number(b, 0.0, 4.0);
    if (families_complaint(metal, lattice, energy, largest))
        return;
    Family *list = malloc(FAMILIES_MOST * sizeof *list);
    demand(list != NULL, "memory is short");
    const size_t count = bcc_families(metal, lattice, energy, largest, list);
    for (size_t i = 0; i < count; i++)
        demand(isfinite(list[i].ring) && list[i].extinction_nm > 0.0, "a family of planes");
    free(list);
}

static void draw_thickness(Model *m, Bytes *b)
{
    float map[MOST_PIXELS];
    const View v = view_of(b, m);
    if (view_complaint(&v))
        return;
    demand(thickness_render(m, &v, map), "memory is short");
    double sum = 0.0;
    for (size_t i = 0; i < v.height * v.width; i++) {
        demand(map[i] >= 0.0f && isfinite(map[i]), "a thickness is a positive number");
        sum += (double)map[i];
    }
    demand(sum * v.pixel * v.pixel <= model_volume(m) * 1.0001 + 1e-30,
           "no more in the picture than there is");
    demand_sound(m, "thickness");
}

static void export_all(const Model *m, Bytes *b)
{
    const size_t count = m->particles.count;
    const View v = view_of(b, m);
    ParticleRecord *list = malloc((count + 1) * sizeof *list);
    TruthRecord *truth = malloc((count + 1) * sizeof *truth);
    GrainRecord *grain = malloc((2 * count + 1) * sizeof *grain);
    demand(list && truth && grain, "memory is short");
    export_particles(m, list);
    for (size_t i = 0; i < count; i++)
        demand(list[i].height_nm > 0.0 && isfinite(list[i].side_area_nm2) &&
                   list[i].crystalline >= 0.0 && list[i].crystalline <= 1.0 &&
                   list[i].age_s >= -m->par.tick_s,
               "a record of a particle");
    demand(isfinite(export_side_area(m)), "the area of all particles");
    const size_t grains = grain_records(m, grain);
    demand(grains >= count && grains <= 2 * count, "one or two lattices a particle");
    if (!view_complaint(&v)) {
        const ptrdiff_t seen = truth_records(m, &v, truth);
        demand(seen >= 0 && (size_t)seen <= count, "what is in the view");
        for (ptrdiff_t i = 0; i < seen; i++)
            demand(truth[i].top >= 0 && truth[i].bottom < (int64_t)v.height &&
                       truth[i].left >= 0 && truth[i].right < (int64_t)v.width &&
                       isfinite(truth[i].row) && isfinite(truth[i].column),
                   "a record of what is in the view");
    }
    free(list);
    free(truth);
    free(grain);
}

/* The equations take any numbers; what comes out may be none. */
static void evaluate(const Model *m, Bytes *b)
{
    const Equation *equation = &equation_table[byte_of(b) % equation_count];
    const Model still = equation_model(&m->par);
    for (int k = 0; k < 4; k++) {
        double argument[MOST_ARGUMENTS];
        for (int i = 0; i < MOST_ARGUMENTS; i++)
            argument[i] = number(b, 0.0, 1e3);
        (void)equation->value(&still, argument);
    }
}

static void run_box(Bytes *b)
{
    static const char *const names[] = {"auto", "baseline", "avx2", "abacus", ""};
    const double length = number(b, 1e-100, 1e100);
    BoxSettings set = {
        .count = flag(b) ? word_of(b, 1) : word_of(b, 2) % 600,
        .seed = word_of(b, 8),
        .dimensions = 1 + byte_of(b) % 4,
        .length = length,
        .diffusivity = number(b, 0.0, flag(b) ? length * length : 1e-6 * length * length),
        .radius = number(b, 0.0, flag(b) ? 0.5 * length : 0.01 * length),
        .step_s = flag(b) ? number(b, 1e-100, 1e100) : 1.0,
        .instructions = names[byte_of(b) % 5],
        .every_pair = flag(b),
    };
    if (box_complaint(&set))
        return;
    ReactionBox *box = box_create(&set);
    double *rows = malloc((size_t)set.count * 3 * sizeof *rows);
    int64_t *uids = malloc((size_t)set.count * sizeof *uids);
    demand(box && rows && uids, "memory is short");
    demand(box_run(box, byte_of(b) % 6), "memory is short");
    demand(box_export(box, true, rows, uids), "memory is short");
    demand(box->alive >= 1 && box->alive <= set.count, "particles in the box");
    for (size_t i = 0; i < box->alive; i++)
        demand(uids[i] >= 0 && (uint64_t)uids[i] < set.count && (i == 0 || uids[i] > uids[i - 1]),
               "a uid in the box");
    for (size_t i = 0; i < box->alive * (size_t)set.dimensions; i++)
        demand(rows[i] >= 0.0 && rows[i] < set.length, "a place in the box");
    free(rows);
    free(uids);
    box_free(box);
}

/* Give a changed state the checksum that it needs to be looked at (FNV-1a, word 1 as zero). */
static void seal(unsigned char *bytes, size_t size)
{
    uint64_t sum = 0xCBF29CE484222325u;
    if (size < 16)
        return;
    memset(bytes + 8, 0, 8);
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ bytes[i]) * 0x100000001B3u;
    memcpy(bytes + 8, &sum, sizeof sum);
}

static unsigned char *saved(const Model *m, size_t *size)
{
    *size = state_size(m);
    unsigned char *bytes = malloc(*size);
    demand(bytes != NULL, "memory is short");
    state_save(m, bytes);
    return bytes;
}

static void save_and_load(Model *m, Bytes *b)
{
    size_t size, size_2;
    unsigned char *bytes = saved(m, &size);
    Model *other = model_create(&m->par, m->seed);
    demand(other != NULL, "memory is short");
    demand(state_load(other, bytes, size) == NULL, "a saved state loads");
    unsigned char *bytes_2 = saved(other, &size_2);
    demand(size == size_2 && memcmp(bytes, bytes_2, size) == 0, "loaded as saved");
    free(bytes_2);
    Drive drive = {.bias = -5.0, .bias_end = -5.0};
    if (!advance_complaint(m, &drive, 2.5 * m->par.tick_s)) {
        Model *both[2] = {m, other};
        for (int k = 0; k < 2; k++) {
            model_begin(both[k], &drive, 2.5 * m->par.tick_s);
            demand(model_run(both[k], &drive, 10) >= 0, "memory is short");
        }
        free(bytes);
        bytes = saved(m, &size);
        bytes_2 = saved(other, &size_2);
        demand(size == size_2 && memcmp(bytes, bytes_2, size) == 0, "goes on as the saved one");
        free(bytes_2);
        demand_sound(m, "going on");
    }
    /* Now with changes: it must be refused, and nothing be changed; or be a sound state. */
    unsigned char *changed = malloc(size);
    demand(changed != NULL, "memory is short");
    memcpy(changed, bytes, size);
    for (int changes = byte_of(b) % 8; changes > 0; changes--) {
        const size_t where = flag(b) ? word_of(b, 3) % size : word_of(b, 1) % size;
        if (flag(b)) {
            changed[where] ^= byte_of(b);
        } else if (where + 8 <= size) {
            const double value = any_number(b);
            memcpy(changed + where / 8 * 8, &value, sizeof value);
        }
    }
    const size_t cut = flag(b) ? size - word_of(b, 2) % (size + 1) : size;
    if (flag(b))
        seal(changed, cut);
    if (state_load(other, changed, cut)) {
        bytes_2 = saved(other, &size_2);
        demand(size == size_2 && memcmp(bytes, bytes_2, size) == 0, "refused without a change");
        free(bytes_2);
    } else {
        demand_sound(other, "loading a changed state");
        if (!advance_complaint(other, &drive, 2.5 * m->par.tick_s)) {
            model_begin(other, &drive, 2.5 * m->par.tick_s);
            demand(model_run(other, &drive, 3) >= 0, "memory is short");
            demand_sound(other, "going on from a changed state");
        }
    }
    free(bytes);
    free(changed);
    model_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Bytes b = {data, size};
    const Parameters par = parameters_of(&b);
    if (has_complaint(&par)) /* what a repair of single numbers does not help */
        return 0;
    Model *m = model_create(&par, word_of(&b, 1 + byte_of(&b) % 8));
    demand(m != NULL, "memory is short");
    demand_sound(m, "creation");
    for (int k = 0; k < MOST_COMMANDS && (k < 3 || b.left > 0); k++) {
        switch (byte_of(&b) % 24) {
        case 1:
            place(m, &b);
            break;
        case 2:
            draw_frame(m, &b);
            break;
        case 3:
            draw_thickness(m, &b);
            break;
        case 4:
            save_and_load(m, &b);
            break;
        case 5:
            export_all(m, &b);
            break;
        case 6:
            model_cancel(m);
            break;
        case 7:
            draw_survey(m, &b);
            break;
        case 8:
            draw_pattern(m, &b);
            break;
        case 9:
            draw_counts(m, &b);
            break;
        case 10:
            list_families(&b);
            break;
        case 11:
            run_box(&b);
            break;
        case 12:
            evaluate(m, &b);
            break;
        default:
            advance(m, &b);
        }
    }
    model_free(m);
    return 0;
}

#ifdef FUZZ_DRIVER

#define LONGEST_INPUT 600

static uint64_t mixed(uint64_t *state) /* SplitMix64 */
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint8_t input[1 << 20];

static size_t make_input(uint64_t seed)
{
    uint64_t state = seed;
    const size_t size = mixed(&state) % LONGEST_INPUT;
    for (size_t i = 0; i < size; i++)
        input[i] = (uint8_t)(mixed(&state) >> 17);
    return size;
}

static void replay(const char *name)
{
    FILE *file = fopen(name, "rb");
    source = name;
    demand(file != NULL, "cannot be opened");
    const size_t size = fread(input, 1, sizeof input, file);
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(input, size);
}

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Inputs of the seeds from `seed` on. */
static void run_own(uint64_t seed, uint64_t runs, double seconds)
{
    const double begin = cpu_seconds();
    uint64_t done = 0, slowest_seed = seed;
    double slowest = 0.0;
    for (; done < runs && cpu_seconds() - begin < seconds; done++) {
        static char name[32];
        const double start = cpu_seconds();
        (void)snprintf(name, sizeof name, "seed %llu", (unsigned long long)(seed + done));
        source = name;
        (void)LLVMFuzzerTestOneInput(input, make_input(seed + done));
        if (cpu_seconds() - start > slowest) {
            slowest = cpu_seconds() - start;
            slowest_seed = seed + done;
        }
    }
    printf("%llu inputs, the slowest (seed %llu) took %.3f s\n", (unsigned long long)done,
           (unsigned long long)slowest_seed, slowest);
}

/* The number behind option k. */
static uint64_t number_behind(int count, char **argument, int k)
{
    demand(k + 1 < count, "an option without its number");
    return strtoull(argument[k + 1], NULL, 10);
}

int main(int count, char **argument)
{
    uint64_t runs = 0, seed = 1, seconds = 0;
    for (int k = 1; k < count; k++) {
        if (strcmp(argument[k], "-n") == 0)
            runs = number_behind(count, argument, k++);
        else if (strcmp(argument[k], "-s") == 0)
            seed = number_behind(count, argument, k++);
        else if (strcmp(argument[k], "-t") == 0)
            seconds = number_behind(count, argument, k++);
        else
            replay(argument[k]);
    }
    if (runs || seconds)
        run_own(seed, runs ? runs : UINT64_MAX, seconds ? (double)seconds : INFINITY);
    return 0;
}

#endif
