/* Checks of what the core refuses, and that its own check of a state sees every kind of damage. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "requests.h"
#include "soundness.h"
#include "state.h"

static int failures;

static void check(bool good, const char *what)
{
    if (good)
        return;
    failures++;
    printf("FAILED %s\n", what);
}

static Model *grown(double seconds)
{
    Parameters par = parameters_default();
    par.fibre_count = 2.0;
    Model *m = model_create(&par, 4);
    Drive drive = {.bias = -5.0, .bias_end = -5.0};
    if (!m) {
        printf("FAILED to make a model\n");
        exit(1);
    }
    model_begin(m, &drive, seconds);
    while (model_run(m, &drive, 1000) == 1000)
        ;
    return m;
}

static const double outside[] = {NAN, INFINITY, -INFINITY, -1e300, 1e300};
#define OUTSIDES (sizeof outside / sizeof outside[0])

/* Every number of a request, one after the other, replaced by one that cannot be met. */
#define REFUSES(request, complaint, field)                           \
    for (size_t k_ = 0; k_ < OUTSIDES; k_++) {                       \
        const double kept_ = (request).field;                        \
        (request).field = outside[k_];                               \
        check((complaint) != NULL, "accepts any " #field);           \
        (request).field = kept_;                                     \
    }

static void check_drives(void)
{
    Model *m = grown(0.0);
    Drive d = {.bias = -5.0, .bias_end = 5.0, .series = 1.0, .beam = 1e4};
    check(advance_complaint(m, &d, 1.0) == NULL, "refuses a good drive");
    REFUSES(d, advance_complaint(m, &d, 1.0), bias);
    REFUSES(d, advance_complaint(m, &d, 1.0), bias_end);
    REFUSES(d, advance_complaint(m, &d, 1.0), beam);
    for (size_t k = 0; k < OUTSIDES; k++)
        check(advance_complaint(m, &d, outside[k]) != NULL, "accepts any seconds");
    d.series = NAN;
    check(advance_complaint(m, &d, 1.0) != NULL, "accepts any series");
    d.series = 0.0;
    d.terminals_off = d.open = true;
    d.bias = d.bias_end = NAN;
    check(advance_complaint(m, &d, 1.0) == NULL, "refuses open terminals");
    m->clock_ps = LONGEST_CLOCK_PS - 1000;
    check(advance_complaint(m, &d, 1.0) != NULL, "runs past the end of the clock");
    model_free(m);
}

static void check_pictures(void)
{
    FrameRequest f = {
        .view = {16, 16, 2.0, 0.0, 0.0},
        .electrons_per_A2 = 1.0,
        .energy_keV = 200.0,
        .detector = {true, 8.0, 100.0, 3.0, 0.1},
        .threads = 1,
    };
    check(scene_complaint(&f) == NULL && detector_complaint(&f.detector) == NULL,
          "refuses a good frame");
    REFUSES(f, scene_complaint(&f), view.pixel);
    REFUSES(f, scene_complaint(&f), view.origin_x);
    REFUSES(f, scene_complaint(&f), view.origin_y);
    REFUSES(f, scene_complaint(&f), electrons_per_A2);
    REFUSES(f, scene_complaint(&f), energy_keV);
    REFUSES(f, scene_complaint(&f), underfocus);
    REFUSES(f, scene_complaint(&f), probe_x);
    REFUSES(f, scene_complaint(&f), probe_y);
    REFUSES(f, scene_complaint(&f), probe_axis_rad);
    REFUSES(f, detector_complaint(&f.detector), detector.gain);
    REFUSES(f, detector_complaint(&f.detector), detector.offset);
    REFUSES(f, detector_complaint(&f.detector), detector.readout);
    REFUSES(f, detector_complaint(&f.detector), detector.spread);
    SurveyRequest s = {.scene = f, .inner_mrad = 30.0, .outer_mrad = 150.0};
    check(survey_complaint(&s) == NULL, "refuses a good survey");
    REFUSES(s, survey_complaint(&s), inner_mrad);
    REFUSES(s, survey_complaint(&s), outer_mrad);
    REFUSES(s, survey_complaint(&s), line_noise);
    REFUSES(s, survey_complaint(&s), line_jitter);
    PatternRequest p = {.height = 9, .width = 9, .pixel = 0.1, .electrons = 1e6,
                        .energy_keV = 200.0, .aperture_diameter = 500.0, .beam_width = 0.01};
    check(pattern_complaint(&p) == NULL, "refuses a good pattern");
    REFUSES(p, pattern_complaint(&p), pixel);
    REFUSES(p, pattern_complaint(&p), electrons);
    REFUSES(p, pattern_complaint(&p), energy_keV);
    REFUSES(p, pattern_complaint(&p), aperture_x);
    REFUSES(p, pattern_complaint(&p), aperture_y);
    REFUSES(p, pattern_complaint(&p), aperture_diameter);
    REFUSES(p, pattern_complaint(&p), beam_width);
    REFUSES(p, pattern_complaint(&p), stop_radius);
    REFUSES(p, pattern_complaint(&p), stop_axis_rad);
    f.view.height = 0;
    check(scene_complaint(&f) != NULL, "no rows");
    f.view.height = (size_t)-1;
    check(scene_complaint(&f) != NULL, "too many rows");
    check(families_complaint(0, 3.51, 200.0, 2.0) == NULL, "refuses good families");
    check(families_complaint(3, 3.51, 200.0, 2.0) && families_complaint(0, NAN, 200.0, 2.0) &&
              families_complaint(0, 3.51, NAN, 2.0) && families_complaint(0, 3.51, 200.0, NAN),
          "accepts any families");
}

/* Each value that a field must not have, in one particle. */
#define DAMAGE(field, value)                                         \
    do {                                                             \
        Model *m_ = grown(0.9);                                      \
        check(model_unsound(m_) == NULL, "a grown state is unsound");\
        m_->particles.field[3] = (value);                            \
        check(model_unsound(m_) != NULL, "unseen: " #field " = " #value); \
        model_free(m_);                                              \
    } while (0)

#define SPOIL(field, value)                                          \
    do {                                                             \
        Model *m_ = grown(0.2);                                      \
        m_->field = (value);                                         \
        check(model_unsound(m_) != NULL, "unseen: " #field " = " #value); \
        model_free(m_);                                              \
    } while (0)

static void check_soundness(void)
{
    DAMAGE(uid, 0);
    DAMAGE(uid, m_->particles.uid[4]);
    DAMAGE(uid, m_->next_uid);
    DAMAGE(fibre, 2);
    DAMAGE(s, -1.0);
    DAMAGE(s, NAN);
    DAMAGE(y, m_->d.period);
    DAMAGE(volume, NAN);
    DAMAGE(volume, -1.0);
    DAMAGE(volume, 1.001 * m_->particles.volume[3]);
    DAMAGE(size, 1.0);
    DAMAGE(base, INFINITY);
    DAMAGE(tau, 1.0);
    DAMAGE(phi, 1.1);
    DAMAGE(feed, 0.0);
    DAMAGE(forward, NAN);
    DAMAGE(backward, -1.0);
    DAMAGE(resist, 0.0);
    DAMAGE(neck, INFINITY);
    DAMAGE(neck, 5.0);
    DAMAGE(neck_direction, NAN);
    DAMAGE(neck_share, 0.7);
    DAMAGE(lattice, m_->next_uid);
    DAMAGE(lattice_2, m_->next_uid);
    DAMAGE(boundary_life, -1.0);
    DAMAGE(born, NAN);
    DAMAGE(current, INFINITY);
    DAMAGE(side, 2);
    DAMAGE(level, 3);
    SPOIL(tick, -1);
    SPOIL(tick, INT64_MAX);
    SPOIL(clock_ps, -1);
    SPOIL(next_uid, UINT64_MAX);
    SPOIL(eta, NAN);
    SPOIL(eta_mean, INFINITY);
    SPOIL(trend, NAN);
    SPOIL(bias, 1e4);
    SPOIL(current, NAN);
    SPOIL(charge.low, NAN);
    SPOIL(net_volume.high, 0.0);
    SPOIL(placed.high, 1.0);
    SPOIL(sites.hazard[2], NAN);
    SPOIL(sites.threshold[2], 0.0);
    SPOIL(sites.used[2], 2);
    SPOIL(events.log[1].kind, EVENT_KIND_COUNT);
    SPOIL(events.log[1].time, NAN);
    SPOIL(events.log[1].fibre, -1);
}

/* A refused state leaves the model as it was; a good one replaces any other. */
static void check_loading(void)
{
    Model *m = grown(0.2), *other = grown(0.5);
    const size_t size = state_size(m), size_2 = state_size(other);
    unsigned char *bytes = malloc(size), *before = malloc(size_2), *after = malloc(size_2 + size);
    if (!bytes || !before || !after)
        exit(1);
    state_save(m, bytes);
    state_save(other, before);
    bytes[size / 2] ^= 1;
    check(state_load(other, bytes, size) != NULL, "a damaged state loads");
    state_save(other, after);
    check(memcmp(before, after, size_2) == 0, "a refused state changes something");
    bytes[size / 2] ^= 1;
    check(state_load(other, bytes, size) == NULL && state_size(other) == size, "a good state");
    state_save(other, after);
    check(memcmp(bytes, after, size) == 0, "loaded as saved");
    free(bytes);
    free(before);
    free(after);
    model_free(m);
    model_free(other);
}

/* However many lie on one spot, they become one, in time and memory that do not grow as the
 * number of pairs. */
static void check_crowd(void)
{
    enum { CROWD = 20000 };
    Model *m = grown(0.0);
    Placing *list = malloc(CROWD * sizeof *list);
    uint64_t first;
    if (!list)
        exit(1);
    for (size_t k = 0; k < CROWD; k++)
        list[k] = (Placing){0.0, 1000.0 + 1e-4 * (double)k, 50.0, 10.0 + (double)(k % 97), NAN,
                            0.0, 1.0};
    check(model_place(m, list, CROWD, &first) == NULL, "placing a crowd");
    Drive drive = {.open = true, .terminals_off = true};
    model_begin(m, &drive, 1.5e-3);
    check(model_run(m, &drive, 1) == 1, "a tick of a crowd");
    check(m->particles.count == 1, "a crowd that touches becomes one");
    check(m->contacts.room_candidates < 128 * CROWD + 131072, "memory of a crowd");
    check(model_unsound(m) == NULL, "a crowd is sound");
    free(list);
    model_free(m);
}

/* Parameters that are allowed and once led to a NaN, an endless loop or a nucleus larger than all:
 * no flow of atoms that is not quite none, nuclei at no overpotential, rates beyond any clock. */
static void check_absurd(void)
{
    static const struct {
        double first, bias, beam; /* V, V, e/(nm2 s) */
        struct {
            const char *name;
            double value;
        } change[6];
    } runs[] = {
        {-5.0, -5.0, 0.0, {{"surface_diffusivity_nm2_s", 1e-229}}},
        {-5.0, -5.0, 0.0, {{"surface_diffusivity_nm2_s", 5e-324}, {"rounding_factor", 1e-6}}},
        {1.0, -5.0, 0.0, {{"nucleation_barrier", 0.0}, {"double_layer_pF", 1e4},
                          {"nucleation_rate_Hz", 1e4}}},
        {-5.0, -5.0, 0.0, {{"double_layer_pF", 1e-6}, {"nucleus_atoms", 1e6},
                     {"nucleation_barrier", 0.0}, {"nucleation_rate_Hz", 1e6}}},
        {-5.0, -5.0, 1e12, {{"beam_erosion_nm3", 1e6}}},
        {-5.0, -5.0, 1e12, {{"beam_diffusion_nm2_s", 1e6}, {"migration_factor", 100.0},
                      {"surface_diffusivity_nm2_s", 1e13}, {"pinning_energy_eV", 0.0}}},
        {-5.0, -1000.0, 0.0, {{"series_resistance_GOhm", 1e-6}, {"exchange_current_pA_nm2", 1.0},
                        {"plating_limit_pA_nm", 1e6}, {"temperature_K", 50.0}}},
        {-5.0, 1000.0, 0.0, {{"feed_scatter", 3.0}, {"fibre_count", 2.0}, {"fibre_feed_ratio", 1e-3},
                       {"stripping_limit_pA_nm", 1e-9}, {"temperature_K", 50.0}}},
    };
    for (size_t k = 0; k < sizeof runs / sizeof runs[0]; k++) {
        Parameters par = parameters_default();
        for (size_t c = 0; c < 6 && runs[k].change[c].name; c++)
            for (size_t i = 0; i < parameter_count; i++)
                if (strcmp(parameter_table[i].name, runs[k].change[c].name) == 0)
                    parameters_set(&par, i, runs[k].change[c].value);
        check(parameters_complaint(&par) == NULL, "absurd parameters are allowed");
        Model *m = model_create(&par, 1);
        Drive drive = {.bias = runs[k].first, .bias_end = runs[k].first};
        if (!m)
            exit(1);
        model_begin(m, &drive, 0.1);
        while (model_run(m, &drive, 100) == 100)
            ;
        drive = (Drive){.bias = runs[k].bias, .bias_end = runs[k].bias, .beam = runs[k].beam};
        model_begin(m, &drive, 0.05);
        for (int64_t done = 1; done == 1;) {
            done = model_run(m, &drive, 1);
            const char *what = model_unsound(m);
            if (what)
                printf("run %zu: ", k);
            check(what == NULL, what);
            check(fabs(m->eta) <= fabs(runs[k].bias) + 100.0, "an absurd overpotential");
        }
        model_free(m);
    }
}

int main(void)
{
    check_drives();
    check_pictures();
    check_soundness();
    check_loading();
    check_crowd();
    check_absurd();
    printf("%d failed\n", failures);
    return failures != 0;
}
