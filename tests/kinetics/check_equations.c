/* Checks of the table of equations: every entry, with arguments good and bad. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "equations.h"
#include "motion.h"
#include "nucleation.h"

static int failures;

static void check(bool good, const char *what, double value)
{
    if (good)
        return;
    failures++;
    printf("FAILED %s: %.17g\n", what, value);
}

static double value_of(const Model *m, const char *name, double first, double second)
{
    const double argument[MOST_ARGUMENTS] = {first, second};
    const Equation *equation = equation_find(name);
    return equation ? equation->value(m, argument) : NAN;
}

/* Under the sanitizers: no argument may lead to undefined behaviour. */
static void check_any_argument(const Model *m)
{
    static const double strange[] = {1.0, 0.0, -1.0, 1e300, -1e300, 5e-324, INFINITY, NAN};
    const size_t kinds = sizeof strange / sizeof strange[0];
    for (size_t i = 0; i < equation_count; i++) {
        const Equation *equation = &equation_table[i];
        size_t ways = 1;
        check(equation_find(equation->name) == equation, "a name occurs twice", (double)i);
        check(equation->arguments >= 0 && equation->arguments <= MOST_ARGUMENTS,
              "number of arguments", equation->arguments);
        for (int k = 0; k < equation->arguments; k++)
            ways *= kinds;
        for (size_t way = 0; way < ways; way++) {
            double argument[MOST_ARGUMENTS] = {0.0};
            size_t rest = way;
            for (int k = 0; k < equation->arguments; k++, rest /= kinds)
                argument[k] = strange[rest % kinds];
            const double first = equation->value(m, argument), again = equation->value(m, argument);
            check(memcmp(&first, &again, sizeof first) == 0, equation->name, first);
        }
    }
}

int main(void)
{
    const Parameters par = parameters_default();
    const Model m = equation_model(&par);
    Model *full = model_create(&par, 1);
    check(equation_find("no such") == NULL, "a name that is not there", 0.0);
    check_any_argument(&m);
    /* The same as in a model that can run. */
    check(value_of(&m, "boundary_life", 50.0, 0.0) == boundary_life(full, 50.0), "life", 0.0);
    check(value_of(&m, "nucleation_rate", 0.15, 0.0) == nucleation_rate(full, 0.15), "rate", 0.0);
    check(value_of(&m, "nucleus_volume", 0.02, 0.0) == nucleus_volume(full, 0.02), "nucleus", 0.0);
    check(value_of(&m, "size_factor", 9.0, 0.0) == model_size_factor(full, 9.0), "size", 0.0);
    model_free(full);
    printf("%d failed\n", failures);
    return failures != 0;
}
