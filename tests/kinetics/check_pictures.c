/* Checks of the pictures besides frames without Python; prints what fails and exits 1. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "diffraction.h"
#include "grains.h"
#include "rng.h"
#include "scattering.h"
#include "survey.h"

static int failures;

static void check(bool good, const char *what, double value)
{
    if (good)
        return;
    failures++;
    printf("FAILED %s: %.17g\n", what, value);
}

static Model *grown_model(int metal)
{
    Parameters par = parameters_default();
    par.metal = metal;
    Model *m = model_create(&par, 1);
    Drive drive = {.bias = -5.0, .bias_end = -5.0};
    if (!m) {
        printf("FAILED to make a model\n");
        exit(1);
    }
    model_begin(m, &drive, 0.5);
    while (model_run(m, &drive, 1000) == 1000)
        ;
    return m;
}

static double total(const float *map, size_t pixels)
{
    double sum = 0.0;
    for (size_t i = 0; i < pixels; i++) {
        check(map[i] >= 0.0f && isfinite(map[i]), "a mean", (double)map[i]);
        sum += (double)map[i];
    }
    return sum;
}

static void check_columns(const Model *m)
{
    /* A wide aperture holds all of a particle, two halves hold it once. */
    const Aperture wide = {0.0, 0.0, 1e5};
    for (size_t i = 0; i < m->particles.count; i++) {
        Columns all;
        columns_of(m, i, &wide, 100.0, &all);
        check(fabs(all.volume - 100.0) < 1e-9, "volume of the columns", all.volume);
        double volume = 0.0;
        for (int k = 0; k < COLUMN_CLASSES; k++)
            volume += all.area[k] * all.thickness[k];
        check(fabs(volume - 100.0) < 1e-9, "area times thickness", volume);
        const Aperture far = {1e6, 0.0, 100.0};
        columns_of(m, i, &far, 100.0, &all);
        check(all.volume == 0.0 && all.mean == 0.0, "a particle far away", all.volume);
    }
    const double radius = m->par.fibre_radius_nm;
    const Aperture inner = {0.0, 0.0, 0.2 * radius};
    const Carbon carbon = carbon_in(m, &inner, 1e-9, 1e-9);
    const double expected = PI * 0.01 * radius * radius * 2.0 * radius;
    check(fabs(carbon.volume / expected - 1.0) < 0.01, "carbon", carbon.volume / expected);
    check(fabs(carbon.single / carbon.volume - 1.0) < 1e-6, "thin carbon", carbon.single);
}

static void check_patterns(int metal)
{
    enum { SIDE = 300 };
    Model *m = grown_model(metal);
    float *map = malloc(SIDE * SIDE * sizeof *map);
    uint16_t *counts = malloc(SIDE * SIDE * sizeof *counts);
    check_columns(m);
    PatternRequest q = {SIDE, SIDE, 0.01, 1e6, 200.0, 0.0, 0.0, 800.0, 0.03, 0.0, 0.0};
    check(diffraction_render(m, &q, map), "pattern", 0.0);
    const double sum = total(map, SIDE * SIDE);
    check(fabs(sum / q.electrons - 1.0) < 0.01, "electrons of a pattern", sum / q.electrons);
    q.stop_radius = 0.2;
    check(diffraction_render(m, &q, map), "pattern with a stop", 0.0);
    check(total(map, SIDE * SIDE) < 0.5 * sum, "the beam stop", 0.0);
    q.electrons = 0.0;
    check(diffraction_render(m, &q, map) && total(map, SIDE * SIDE) == 0.0, "blanked", 0.0);
    q = (PatternRequest){1, 1, 1e-5, 1e6, 30.0, 1e6, -1e6, 1.0, 0.0, 1.0, 0.0};
    check(diffraction_render(m, &q, map), "one pixel", 0.0);
    (void)total(map, 1);
    q = (PatternRequest){3, 300, 1.0, 1e15, 1000.0, 0.0, 0.0, 1e6, 1.0, 0.0, 0.0};
    check(diffraction_render(m, &q, map), "wide and coarse", 0.0);
    (void)total(map, 900);

    SurveyRequest s = {.inner_mrad = 30.0, .outer_mrad = 150.0, .line_jitter = 5.0};
    s.scene = (FrameRequest){.view = {SIDE, SIDE, 8.0, 0.0, 0.0},
                             .electrons_per_A2 = 1.0,
                             .energy_keV = 200.0,
                             .probe = true,
                             .probe_x = -500.0,
                             .probe_axis_rad = PI};
    check(survey_render(m, &s, map), "survey", 0.0);
    (void)total(map, SIDE * SIDE);
    const Detector detector = {true, 8.0, 100.0, 3.0, 0.0};
    CountsRequest c = {map, SIDE, SIDE, 3, DRAW_SURVEY, &detector, 1};
    check(counts_render(m, &c, counts), "counts", 0.0);
    map[0] = 1e15f; /* the central beam of a pattern */
    map[1] = 0.0f;
    const Detector counting = {0};
    c = (CountsRequest){map, 1, 2, 3, DRAW_DIFFRACTION, &counting, 1};
    check(counts_render(m, &c, counts), "counts of a bright beam", 0.0);
    check(counts[0] == 65535 && counts[1] == 0, "saturation", counts[0]);
    s.scene.view = (View){1, 1, 1.0, 0.0, 0.0};
    check(survey_render(m, &s, map), "survey of a pixel", 0.0);

    GrainRecord *grains = malloc(2 * m->particles.count * sizeof *grains);
    const size_t count = grain_records(m, grains);
    double volume = 0.0;
    for (size_t i = 0; i < count; i++)
        volume += grains[i].volume_nm3;
    check(fabs(volume / model_volume(m) - 1.0) < 1e-12, "volume of the grains", volume);
    free(grains);
    free(counts);
    free(map);
    model_free(m);
}

static void check_tables(void)
{
    Family *list = malloc(FAMILIES_MOST * sizeof *list);
    check(bcc_families(ATOM_K, 10.0, 200.0, 4.0, list) < FAMILIES_MOST, "room", 0.0);
    check(bcc_families(ATOM_LI, 3.51, 200.0, 0.1, list) == 0, "none", 0.0);
    check(bcc_families(ATOM_LI, 3.51, 200.0, sqrt(2.0) / 3.51, list) == 1, "one", 0.0);
    check(list[0].multiplicity == 12, "multiplicity of 110", (double)list[0].multiplicity);
    free(list);
    /* Mott and Bethe at the smallest angles: the amplitudes stay finite. */
    for (int atom = ATOM_LI; atom <= ATOM_O; atom++) {
        const double f = electron_amplitude(atom, 1e-6);
        check(f > 1.0 && f < 12.0, "forward amplitude, A", f);
    }
}

int main(void)
{
    check_tables();
    for (int metal = 0; metal < 3; metal++)
        check_patterns(metal);
    printf("%d failed\n", failures);
    return failures != 0;
}
