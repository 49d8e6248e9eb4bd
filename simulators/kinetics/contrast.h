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

/* Attenuation per nm of the metal, carbon, oxide and tungsten. */
typedef struct {
    double metal, carbon, oxide, tungsten;
} Attenuation;

Attenuation attenuation_at(double energy_keV, int metal);

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
