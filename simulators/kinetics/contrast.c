#include "contrast.h"

#include <math.h>

#include "elementary.h"
#include "rng.h"

#define REST_ENERGY_keV 510.99895
#define APERTURE_LOSS 0.50  /* share of the inelastic electrons that a 5 mrad aperture stops */
#define MOST_DIFFRACTED 0.8 /* of the beam; the rest is absorption and thickness fringes blurred */

double electron_beta2(double energy_keV)
{
    const double g = 1.0 + energy_keV / REST_ENERGY_keV;
    return 1.0 - 1.0 / (g * g);
}

double electron_wavelength_nm(double energy_keV)
{
    const double volts = energy_keV * 1e3;
    return 1.226426 / sqrt(volts * (1.0 + energy_keV / (2.0 * REST_ENERGY_keV)));
}

/* Malis et al. 1988: 106 F E0/E_m / ln(2 beta E0/E_m), E_m = 7.6 Z^0.36 eV, beta = 10 mrad. */
double inelastic_path_nm(double energy_keV, double atomic_number)
{
    const double mean_loss = 7.6 * pow(atomic_number, 0.36);
    const double g = 1.0 + energy_keV / 511.0;
    const double relativistic = (1.0 + energy_keV / 1022.0) / (g * g);
    return 106.0 * relativistic * energy_keV / mean_loss / log(20.0 * energy_keV / mean_loss);
}

static double attenuation(double energy_keV, double elastic_at_200_nm, double atomic_number)
{
    const double elastic = elastic_at_200_nm * electron_beta2(energy_keV) / electron_beta2(200.0);
    return 1.0 / elastic + APERTURE_LOSS / inelastic_path_nm(energy_keV, atomic_number);
}

Attenuation attenuation_at(double energy_keV, int metal)
{
    static const double elastic[3] = {1446.0, 385.0, 331.0}; /* Li, Na, K at 200 keV, nm */
    static const double number[3] = {3.0, 11.0, 19.0};
    return (Attenuation){
        .metal = attenuation(energy_keV, elastic[metal], number[metal]),
        .carbon = CARBON_FILLING * attenuation(energy_keV, 265.0, 6.0),
        .oxide = attenuation(energy_keV, 235.0, 4.7),
        .tungsten = attenuation(energy_keV, 10.0, 74.0),
        .crystals = true,
    };
}

Attenuation annular_scattering_at(double energy_keV, int metal, double inner_mrad,
                                  double outer_mrad)
{
    static const double number[3] = {3.0, 11.0, 19.0};
    static const double metal_per_nm3[3] = {46.3, 25.4, 13.3};
    static const double oxide_per_nm3[3] = {40.6, 22.1, 14.8}; /* Li2O, Na2O, K2O, as M2O */
    const double gamma = 1.0 + energy_keV / REST_ENERGY_keV;
    const double wave = electron_wavelength_nm(energy_keV), bohr_nm = 0.0529177;
    const double angles =
        1e6 / (inner_mrad * inner_mrad) - 1e6 / (outer_mrad * outer_mrad); /* 1/rad2 */
    const double carbon = 36.0 * gamma * gamma * wave * wave * wave * wave * angles /
                          (4.0 * PI * PI * PI * bohr_nm * bohr_nm); /* nm2 per atom */
    const double of_metal = carbon * pow(number[metal] / 6.0, 1.7);
    const double of_oxygen = carbon * pow(8.0 / 6.0, 1.7);
    return (Attenuation){
        .metal = metal_per_nm3[metal] * of_metal,
        .carbon = CARBON_FILLING * CARBON_ATOMS_PER_NM3 * carbon,
        .oxide = oxide_per_nm3[metal] * (2.0 * of_metal + of_oxygen),
        .tungsten = 63.1 * carbon * pow(74.0 / 6.0, 1.7),
        .crystals = false,
    };
}

void lattice_rotation(uint64_t seed, uint64_t lattice, double r[9])
{
    /* A normalised quadruple of normal numbers is a uniform rotation. */
    double q[4], norm = 0.0;
    rng_normal_pair(rng_draw(seed, DRAW_ORIENTATION, lattice, 0), q);
    rng_normal_pair(rng_draw(seed, DRAW_ORIENTATION, lattice, 1), q + 2);
    for (int i = 0; i < 4; i++)
        norm += q[i] * q[i];
    norm = 1.0 / sqrt(norm);
    const double w = q[0] * norm, x = q[1] * norm, y = q[2] * norm, z = q[3] * norm;
    r[0] = 1.0 - 2.0 * (y * y + z * z);
    r[1] = 2.0 * (x * y - w * z);
    r[2] = 2.0 * (x * z + w * y);
    r[3] = 2.0 * (x * y + w * z);
    r[4] = 1.0 - 2.0 * (x * x + z * z);
    r[5] = 2.0 * (y * z - w * x);
    r[6] = 2.0 * (x * z - w * y);
    r[7] = 2.0 * (y * z + w * x);
    r[8] = 1.0 - 2.0 * (x * x + y * y);
}

double crystalline_share(double atoms, double atomic_volume_nm3)
{
    const double radius = cbrt(3.0 * atoms * atomic_volume_nm3 / (4.0 * PI));
    const double inner = 1.0 - 0.35 / radius;
    const double ratio = 250.0 / atoms;
    return inner > 0.0 ? inner * inner * inner / (1.0 + ratio * ratio * ratio) : 0.0;
}

typedef struct {
    double deviation, extinction; /* s, 1/nm; xi, nm */
} Reflection;

/* Reflections (hkl) with |h|,|k|,|l| <= 2 of the three families that are near enough to show. */
static int near_reflections(const double r[9], double lattice_nm, double energy_keV,
                            Reflection out[], int most)
{
    static const double extinction_200[7] = {0, 0, 262.0, 0, 454.0, 0, 617.0}; /* by h2+k2+l2 */
    const double slower = sqrt(electron_beta2(energy_keV) / electron_beta2(200.0));
    const double wavelength = electron_wavelength_nm(energy_keV);
    int found = 0;
    for (int h = -2; h <= 2; h++)
        for (int k = -2; k <= 2; k++)
            for (int l = -2; l <= 2; l++) {
                const int square = h * h + k * k + l * l;
                if (square == 0 || square > 6 || (square & 1))
                    continue;
                const double along = (r[6] * h + r[7] * k + r[8] * l) / lattice_nm;
                const double g2 = (double)square / (lattice_nm * lattice_nm);
                const double s = -along - 0.5 * wavelength * g2;
                const double xi = extinction_200[square] * slower;
                if (xi * fabs(s) > 8.0 || found == most)
                    continue;
                out[found++] = (Reflection){s, xi};
            }
    return found;
}

void grain_tabulate(Grain *grain, const Model *m, uint64_t lattice, double energy_keV,
                    double thickest_nm, double crystalline)
{
    double r[9];
    Reflection near[8];
    lattice_rotation(m->seed, lattice, r);
    const double lattice_nm = cbrt(2.0 * m->par.atomic_volume_nm3);
    const int count = near_reflections(r, lattice_nm, energy_keV, near, 8);
    grain->dark = count > 0;
    if (!grain->dark)
        return;
    grain->per_nm = GRAIN_STEPS / thickest_nm;
    double diffracted[GRAIN_STEPS + 2] = {0.0};
    for (int n = 0; n < count; n++) {
        const double xi = near[n].extinction;
        const double s = sqrt(near[n].deviation * near[n].deviation + 1.0 / (xi * xi));
        const double half_turn = 0.5 * s / grain->per_nm, strength = 1.0 / (xi * xi * s * s);
        for (int k = 0; k < GRAIN_STEPS + 2; k++) { /* sin^2(pi t s) */
            const double turns = k * half_turn;
            double sine, cosine;
            elementary_turn(turns - (double)(int)turns, &sine, &cosine);
            diffracted[k] += strength * sine * sine;
        }
    }
    for (int k = 0; k < GRAIN_STEPS + 2; k++) {
        const double share = diffracted[k] < MOST_DIFFRACTED ? diffracted[k] : MOST_DIFFRACTED;
        grain->loss[k] = (float)-elementary_log(1.0 - crystalline * share);
    }
}
