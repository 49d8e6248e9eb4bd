/*
 * What the beam does in matter: attenuation past a small objective aperture and diffraction
 * contrast of single grains.
 *
 * Attenuation per nm = 1/lambda_el + share/lambda_in.  lambda_el: total elastic mean free path
 * in the form of Langmore and Smith (1992), proportional to beta^2; lambda_in: Malis, Cheng and
 * Egerton (1988) for 10 mrad.  A share of the inelastically scattered electrons misses the
 * aperture.  Diffraction: two-beam intensity sin^2(pi t s_eff)/(xi s_eff)^2 with
 * s_eff = sqrt(s^2 + xi^-2), added over the 110, 200 and 211 reflections of a BCC grain.
 */
#ifndef STMTEM_CONTRAST_H
#define STMTEM_CONTRAST_H

#include "model.h"

/* What each nm of metal, carbon, oxide and tungsten takes out of the beam or, for a dark-field
 * picture, scatters onto the detector. */
typedef struct {
    double metal, carbon, oxide, tungsten;
    bool crystals; /* grains are darkened by diffraction */
} Attenuation;

/* Past a small objective aperture. */
Attenuation attenuation_at(double energy_keV, int metal);

/* Scattered between two angles, onto an annular detector.  Carbon: Rutherford's cross-section
 * gamma^2 Z^2 lambda^4/(4 pi^3 a0^2) (1/inner^2 - 1/outer^2); other atoms: times (Z/6)^1.7, which
 * allows for screening (Krivanek et al., Nature 2010, 464, 571; Treacy, Microsc. Microanal. 2011,
 * 17, 847 find exponents of 1.6 ... 1.7). */
Attenuation annular_scattering_at(double energy_keV, int metal, double inner_mrad,
                                  double outer_mrad);

#define CARBON_FILLING 0.35        /* porous carbon fibre, 0.6 g/cm3, against 1.8 of dense carbon */
#define CARBON_ATOMS_PER_NM3 90.3  /* of the dense carbon, 1.8 g/cm3 */

/* Mean free path of inelastic scattering, nm (Malis et al.). */
double inelastic_path_nm(double energy_keV, double atomic_number);

/* v^2/c^2 and wavelength (nm) of electrons of this energy. */
double electron_beta2(double energy_keV);
double electron_wavelength_nm(double energy_keV);

#define GRAIN_STEPS 64

/* -ln(1 - diffracted share) of one grain against thickness, tabulated. */
typedef struct {
    bool dark;          /* false: no reflection is near enough, all zero */
    double per_nm;      /* table steps per nm */
    float loss[GRAIN_STEPS + 2];
} Grain;

/* Rotation matrix of a lattice, uniform over all rotations, from its identity. */
void lattice_rotation(uint64_t seed, uint64_t lattice, double rotation[9]);

void grain_tabulate(Grain *grain, const Model *m, uint64_t lattice, double energy_keV,
                    double thickest_nm, double crystalline);

/* BCC share of a particle of so many atoms: 0.35 nm of disordered surface, and none at all well
 * below 250 atoms. */
double crystalline_share(double atoms, double atomic_volume_nm3);

static inline float grain_loss(const Grain *grain, float thickness)
{
    const float place = thickness * (float)grain->per_nm;
    const int k = place < (float)GRAIN_STEPS ? (int)place : GRAIN_STEPS;
    const float part = place - (float)k;
    return grain->loss[k] + (part < 1.0f ? part : 1.0f) * (grain->loss[k + 1] - grain->loss[k]);
}

#endif
