/* Checks of the reaction box: the kept list against a look at every pair, in many boxes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reaction_box.h"

static int same(const ReactionBox *a, const ReactionBox *b)
{
    if (a->alive != b->alive)
        return 0;
    const size_t rows = a->alive * (size_t)a->set.dimensions * sizeof(double);
    const size_t uids = a->alive * sizeof(int64_t);
    double *first = malloc(rows), *second = malloc(rows);
    int64_t *first_uid = malloc(uids), *second_uid = malloc(uids);
    const int good = first && second && first_uid && second_uid &&
                     box_export(a, false, first, first_uid) &&
                     box_export(b, false, second, second_uid) &&
                     memcmp(first, second, rows) == 0 &&
                     memcmp(first_uid, second_uid, uids) == 0;
    free(first);
    free(second);
    free(first_uid);
    free(second_uid);
    return good;
}

int main(void)
{
    static const double radii[] = {0.02, 0.1, 0.3, 1.0, 2.0, 5.0};
    static const double steps[] = {1e-5, 1e-3, 1e-2, 0.3, 20.0};
    static const char *names[] = {"baseline", "avx2", "avx512", "auto"};
    int failures = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        BoxSettings set = {
            .count = 1 + seed * 37 % 400,
            .seed = seed,
            .dimensions = seed % 2 ? 2 : 3,
            .length = 10.0,
            .diffusivity = seed % 7 ? 1.0 : 0.0,
            .radius = radii[seed % 6],
            .step_s = steps[seed % 5],
            .instructions = names[seed % 4],
        };
        if (!kernels_named(set.instructions))
            set.instructions = "auto";
        while (set.count > 1 && box_complaint(&set))
            set.count /= 2;
        ReactionBox *listed = box_create(&set);
        set.every_pair = true;
        ReactionBox *certain = box_create(&set);
        if (!listed || !certain || !box_run(listed, 30) || !box_run(certain, 30))
            return 2;
        if (!same(listed, certain)) {
            printf("FAILED with seed %d: %zu and %zu left\n", (int)seed, listed->alive,
                   certain->alive);
            failures++;
        }
        box_free(listed);
        box_free(certain);
    }
    printf("%d failed\n", failures);
    return failures != 0;
}
