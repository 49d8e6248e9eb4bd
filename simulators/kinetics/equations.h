/*
 * The equations of the model one by one, for looking at them outside a run.
 *
 * An entry calls the function or the kernel that the tick itself uses.  Made here are only the two
 * diffusivities that no tick needs, and facet_ratio and rounding_time, which the kernels do not
 * hand out; facet_goal is the kernel's own, to hold facet_ratio against.  Arguments and results are
 * in the units of the core: nm, s, V, pA, rad.
 *
 * Diffusivity of the atoms of a particle against its radius R (Fig. 4d, e of Wang et al. 2023, in
 * reduced form), all with the melting-point factor exp(R_D/R) of model_size_factor():
 *   surface atoms        D_s(R), the one that rounds necks and facets;
 *   mean of a particle on the fibre   D_s(R)/10 ("one order of magnitude" below its surface);
 *   mean of a free-standing particle  D_s(R)/80 (below the supported one; 8 is a choice, the
 *                                     paper gives no number in its text).
 */
#ifndef STMTEM_EQUATIONS_H
#define STMTEM_EQUATIONS_H

#include "model.h"

#define MOST_ARGUMENTS 5

typedef struct {
    const char *name;
    int arguments; /* 0 ... MOST_ARGUMENTS */
    double (*value)(const Model *m, const double *argument);
} Equation;

extern const Equation equation_table[];
extern const size_t equation_count;

/* NULL when there is none of that name. */
const Equation *equation_find(const char *name);

/* A specimen without sites and particles, for the equations only.  Nothing in it is to be freed. */
Model equation_model(const Parameters *par);

#endif
