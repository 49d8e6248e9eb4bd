#include "equations.h"

#include <math.h>
#include <string.h>

#include "contrast.h"
#include "elementary.h"
#include "growth.h"
#include "growth_step.h"
#include "motion.h"
#include "nucleation.h"
#include "shape.h"

#define SURFACE_TO_MEAN 10.0
#define SUPPORTED_TO_FREE 8.0
#define UNLIT 0.0     /* no beam */
#define UNHURRIED 1.0 /* nothing multiplies the surface diffusivity */
#define ENDLESS 1e12  /* s */

#define EQUATION(name) static double eq_##name(const Model *m, const double *a)

static double tau_of(double theta)
{
    return elementary_tan(0.5 * theta);
}

/* ---- caps ---- */

EQUATION(cap_volume_factor)
{
    (void)m;
    return cap_volume_factor(tau_of(a[0]));
}

EQUATION(cap_base_radius) /* of volume and angle */
{
    (void)m;
    return elementary_cbrt(a[0] / cap_volume_factor(tau_of(a[1])));
}

EQUATION(cap_angle) /* of volume and base radius */
{
    (void)m;
    return cap_angle(cap_tau(a[0], a[1]));
}

EQUATION(cap_radius) /* this and the next three: of base radius and angle */
{
    (void)m;
    return cap_radius(a[0], tau_of(a[1]));
}

EQUATION(cap_height)
{
    (void)m;
    return cap_height(a[0], tau_of(a[1]));
}

EQUATION(cap_free_area)
{
    (void)m;
    return cap_free_area(a[0], tau_of(a[1]));
}

EQUATION(cap_side_area)
{
    (void)m;
    return cap_side_area(a[0], tau_of(a[1]));
}

EQUATION(cap_area_constant)
{
    (void)m;
    return cap_area_constant(a[0]);
}

EQUATION(half_cube_area_constant)
{
    (void)m;
    (void)a;
    return half_cube_area_constant();
}

EQUATION(crossing_angle)
{
    (void)m;
    (void)a;
    return crossing_angle();
}

EQUATION(slid_base_radius) /* of volume and base radius so far */
{
    return cap_resting(&m->d.line, a[0], a[1]).base;
}

/* ---- circuit and nucleation ---- */

EQUATION(particle_current) /* of eta, base radius, angle, phi, feed */
{
    const GrowthConstants k = growth_constants(m, a[0], UNLIT);
    const ExchangeFactors x = exchange_factors(&k, a[1], tau_of(a[2]), a[4]);
    const double current = free_current(&k, x.forward, x.backward, x.resist);
    return current * facet_factor(&k, a[3], current);
}

EQUATION(critical_radius)
{
    return critical_radius(m, a[0]);
}

EQUATION(nucleus_volume)
{
    return nucleus_volume(m, a[0]);
}

EQUATION(nucleation_rate)
{
    return nucleation_rate(m, a[0]);
}

/* ---- diffusion ---- */

EQUATION(size_factor)
{
    return model_size_factor(m, a[0]);
}

EQUATION(surface_diffusivity)
{
    return m->par.surface_diffusivity_nm2_s * model_size_factor(m, a[0]);
}

EQUATION(supported_diffusivity)
{
    return eq_surface_diffusivity(m, a) / SURFACE_TO_MEAN;
}

EQUATION(free_standing_diffusivity)
{
    return eq_supported_diffusivity(m, a) / SUPPORTED_TO_FREE;
}

EQUATION(migration_diffusivity) /* of radius and phi */
{
    return particle_diffusivity(m, a[0], a[1], UNHURRIED);
}

/* ---- shape and grains ---- */

EQUATION(mullins_coefficient)
{
    return mullins_coefficient(m, a[0], UNHURRIED);
}

EQUATION(rounding_time)
{
    const double square = a[0] * a[0];
    return NECK_FACTOR * square * square / mullins_coefficient(m, a[0], UNHURRIED);
}

EQUATION(facet_ratio) /* of radius and its growth speed */
{
    const double square = a[0] * a[0];
    const double facet = m->par.facet_flow_nm2_s + a[0] * fmax(a[1], 0.0);
    const double round = m->par.rounding_factor * mullins_coefficient(m, a[0], UNHURRIED);
    return facet * square / round;
}

EQUATION(facet_equilibrium) /* of that ratio and phi */
{
    return facet_equilibrium(m, a[0], a[1]);
}

/* Where the kernel of the tick takes phi to if the tick is endless; of radius, speed and phi. */
EQUATION(facet_goal)
{
    ShapeConstants k = shape_constants(m, UNHURRIED);
    const double resist = 1.0 / a[0], feed = 1.0, speed = a[1];
    double phi = a[2], flattening, spread;
    k.tick = ENDLESS;
    signed char level;
    m->kernels->facets(&k, 1, &resist, &feed, &speed, &phi, &level, &flattening, &spread);
    return phi;
}

EQUATION(boundary_life)
{
    return boundary_life(m, a[0]);
}

EQUATION(crystalline_share) /* of a number of atoms */
{
    return crystalline_share(a[0], m->par.atomic_volume_nm3);
}

#undef EQUATION
#define ROW(name, arguments) {#name, arguments, eq_##name}

const Equation equation_table[] = {
    ROW(cap_volume_factor, 1),
    ROW(cap_base_radius, 2),
    ROW(cap_angle, 2),
    ROW(cap_radius, 2),
    ROW(cap_height, 2),
    ROW(cap_free_area, 2),
    ROW(cap_side_area, 2),
    ROW(cap_area_constant, 1),
    ROW(half_cube_area_constant, 0),
    ROW(crossing_angle, 0),
    ROW(slid_base_radius, 2),
    ROW(particle_current, 5),
    ROW(critical_radius, 1),
    ROW(nucleus_volume, 1),
    ROW(nucleation_rate, 1),
    ROW(size_factor, 1),
    ROW(surface_diffusivity, 1),
    ROW(supported_diffusivity, 1),
    ROW(free_standing_diffusivity, 1),
    ROW(migration_diffusivity, 2),
    ROW(mullins_coefficient, 1),
    ROW(rounding_time, 1),
    ROW(facet_ratio, 2),
    ROW(facet_equilibrium, 2),
    ROW(facet_goal, 3),
    ROW(boundary_life, 1),
    ROW(crystalline_share, 1),
};

const size_t equation_count = sizeof equation_table / sizeof equation_table[0];

const Equation *equation_find(const char *name)
{
    for (size_t i = 0; i < equation_count; i++)
        if (strcmp(equation_table[i].name, name) == 0)
            return &equation_table[i];
    return NULL;
}

Model equation_model(const Parameters *par)
{
    Model m;
    memset(&m, 0, sizeof m);
    m.par = *par;
    m.d = derive_constants(par);
    m.kernels = kernels_named("auto");
    return m;
}
