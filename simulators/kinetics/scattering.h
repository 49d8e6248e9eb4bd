/*
 * Elastic scattering of fast electrons by atoms and by the lattices of the specimen.
 *
 * Lengths in A and scattering vectors g = 1/d = 2 sin(theta)/lambda in 1/A, as is usual in
 * crystallography.  Amplitudes for electrons come from the X-ray factors by the formula of Mott
 * and Bethe, f_e = 0.023934 (Z - f_x)/(g/2)^2 A, with f_x = c + sum a exp(-b (g/2)^2) of Cromer and
 * Mann for neutral atoms (International Tables C, table 6.1.1.4), good up to g = 4 1/A; they are
 * for slow electrons, relativistic ones scatter gamma times as strongly.
 *
 * The alkali metals are BCC with a = (2 Omega)^(1/3): spots (hkl) with h+k+l even, structure
 * factor 2 f_e.  Extinction distance xi = pi a^3 cos(theta)/(lambda gamma 2 f_e).
 * Thermal motion: amplitudes times exp(-B g^2/4), B = 4.7 A2 for Li; 6.6 for Na and 10.7 for K
 * (Sears and Shelley, Acta Cryst. 1991, A47, 441), all at room temperature.
 */
#ifndef STMTEM_SCATTERING_H
#define STMTEM_SCATTERING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ATOM_LI = 0, ATOM_NA = 1, ATOM_K = 2, ATOM_C = 3, ATOM_O = 4 };

/* Amplitude f_e for slow electrons, A, at g > 0 in 1/A. */
double electron_amplitude(int atom, double g);

/* B of the thermal motion of a metal, A2. */
double thermal_B(int metal);

double electron_gamma(double energy_keV);
double electron_wavelength_A(double energy_keV);

/* Extinction distance of an allowed reflection of a BCC metal, nm, without thermal motion. */
double bcc_extinction_nm(int metal, double lattice_A, double g, double energy_keV);

/* One family {hkl} of a BCC metal; every field is 8 bytes. */
typedef struct {
    int64_t h, k, l, multiplicity;
    double d_A, inverse_d_A, two_theta_mrad, f_e_A, extinction_nm;
    double powder_static; /* multiplicity f_e^2, in per cent of 110 */
    double powder;        /* the same with thermal motion */
    double ring;          /* powder d: what a ring of a pattern holds, in per cent of 110 */
} Family;

#define FAMILIES_MOST 4096u

/* Families with g <= largest in order of g; several may have the same g.  Returns how many. */
size_t bcc_families(int metal, double lattice_A, double energy_keV, double largest, Family *out);

/* Interference functions S(g) of disordered matter: scattering is N gamma^2 f_e^2 S(g). */
double amorphous_metal_order(double g, double lattice_A);
double carbon_order(double g);

/* Intensity of the (002) maximum of carbon alone, part of carbon_order(). */
double carbon_layers(double g);

/* Rings of the oxide M2O of an alkali metal (antifluorite). */
#define OXIDE_RINGS 5
typedef struct {
    double g;         /* 1/A */
    double intensity; /* sum over the family of |F|^2 exp(-2M), A2, slow electrons */
} OxideRing;
double oxide_rings(int metal, OxideRing ring[OXIDE_RINGS]); /* returns the cell volume, A3 */

#endif
