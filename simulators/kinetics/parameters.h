/*
 * Parameters of the kinetic model: name, default (lithium), smallest and largest value allowed.
 *
 * The name says the unit.  Defaults and what is fitted: docs of presets.py.  The table is the
 * one truth for names, order and ranges; the Python face reads it from here.
 */
#ifndef STMTEM_PARAMETERS_H
#define STMTEM_PARAMETERS_H

#include <stddef.h>

#define KINETIC_PARAMETERS(X)                       \
    X(tick_s, 1e-3, 1e-5, 1e-2)                     \
    X(temperature_K, 298.0, 50.0, 1500.0)           \
    X(metal, 0.0, 0.0, 2.0)                         \
    X(atomic_volume_nm3, 0.02162, 1e-3, 1.0)        \
    X(surface_energy_J_m2, 0.49, 0.0, 10.0)         \
    X(kelvin, 1.0, 0.0, 1.0)                        \
    X(surface_diffusivity_nm2_s, 1.0e8, 0.0, 1e13)  \
    X(premelting_radius_nm, 8.0, 0.0, 100.0)        \
    X(advancing_angle_deg, 60.0, 5.0, 90.0)         \
    X(receding_angle_deg, 30.0, 5.0, 90.0)          \
    X(series_resistance_GOhm, 20.0, 1e-6, 1e6)      \
    X(parallel_resistance_GOhm, 0.66, 1e-6, 1e9)    \
    X(leak_resistance_GOhm, 1000.0, 1e-3, 1e9)      \
    X(double_layer_pF, 0.2, 1e-6, 1e6)              \
    X(stray_pF, 20.0, 0.0, 1e6)                     \
    X(exchange_current_pA_nm2, 1.5e-5, 0.0, 1.0)    \
    X(transfer_coefficient, 0.5, 0.05, 0.95)        \
    X(plating_limit_pA_nm, 0.19, 1e-9, 1e6)         \
    X(stripping_limit_pA_nm, 0.42, 1e-9, 1e6)       \
    X(site_count, 110.0, 0.0, 20000.0)              \
    X(nucleation_rate_Hz, 3.5, 0.0, 1e6)            \
    X(nucleation_overpotential_V, 0.2, 1e-4, 10.0)  \
    X(nucleation_barrier, 2.0, 0.0, 100.0)          \
    X(site_scatter, 1.0, 0.0, 5.0)                  \
    X(feed_scatter, 0.35, 0.0, 3.0)                 \
    X(first_site_feed, 0.0, 0.0, 100.0)             \
    X(exclusion_gap_nm, 8.0, 0.0, 1e4)              \
    X(exclusion_factor, 0.4, 0.0, 10.0)             \
    X(nucleus_atoms, 100.0, 1.0, 1e6)               \
    X(migration_factor, 0.30, 0.0, 100.0)           \
    X(pinning_energy_eV, 0.06, 0.0, 5.0)            \
    X(touch_gap_nm, 1.0, 0.0, 100.0)                \
    X(adoption_ratio, 0.5, 0.0, 1.0)                \
    X(boundary_sweep_nm2_s, 1e4, 1e-3, 1e12)        \
    X(rounding_factor, 1.12, 1e-6, 1e6)             \
    X(facet_flow_nm2_s, 3000.0, 0.0, 1e9)           \
    X(local_facet_share, 0.30, 0.0, 1.0)            \
    X(local_facet_ratio, 0.25, 1e-6, 1e6)           \
    X(switch_ratio, 8.5, 1e-6, 1e6)                 \
    X(switch_feedback, 6.0, 0.0, 100.0)             \
    X(switch_sharpness, 4.0, 1.0, 20.0)             \
    X(switch_rate, 6.0, 0.0, 1e4)                   \
    X(facet_growth_slowing, 0.7, 0.0, 1.0)          \
    X(facet_strip_slowing, 0.92, 0.0, 1.0)          \
    X(facet_erosion, 4.0, 0.0, 1e3)                 \
    X(fibre_count, 1.0, 1.0, 16.0)                  \
    X(fibre_radius_nm, 150.0, 5.0, 1e5)             \
    X(fibre_length_nm, 2000.0, 10.0, 1e6)           \
    X(fibre_spacing_nm, 420.0, 0.0, 1e6)            \
    X(fibre_feed_ratio, 1.0, 1e-3, 1.0)             \
    X(substrate, 0.0, 0.0, 1.0)                     \
    X(beam_diffusion_nm2_s, 0.0, 0.0, 1e6)          \
    X(beam_conduction_nm2_s, 0.0, 0.0, 1e6)         \
    X(beam_erosion_nm3, 0.0, 0.0, 1e6)

typedef struct {
#define X(name, value, low, high) double name;
    KINETIC_PARAMETERS(X)
#undef X
} Parameters;

typedef struct {
    const char *name;
    double value, low, high;
} ParameterRow;

extern const ParameterRow parameter_table[];
extern const size_t parameter_count;

Parameters parameters_default(void);

/* Value of the parameter in row `index` of the table. */
double parameters_get(const Parameters *p, size_t index);
void parameters_set(Parameters *p, size_t index, double value);

/* NULL when every value is finite, in range and consistent; else what is wrong, in one line. */
const char *parameters_complaint(const Parameters *p);

#endif
