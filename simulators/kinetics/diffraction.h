/*
 * The diffraction pattern of a selected area of the specimen.
 *
 * Means are electrons, not arbitrary units: with D electrons per area through the aperture
 *   a spot of a column of area A and thickness t holds D A sin^2(pi t s_eff)/(xi s_eff)^2,
 *     s_eff = sqrt(s^2 + xi^-2), s = -(g_z + lambda g^2/2) (for thin crystals D A (pi t/xi)^2
 *     sinc^2(pi t s), so that the spots of many grains hold D V (pi/xi)^2 d/2 each);
 *   N disordered atoms scatter D N gamma^2 f_e^2 S(g) into each unit of solid angle.
 * BCC atoms make spots, thermal motion takes a share of them to a diffuse background; the other
 * atoms of a particle make a halo like a liquid's.  The oxide skin, which thickens with the age of
 * a particle, makes rings, the carbon fibre broad ones.  Particles and fibre do not scatter
 * twice.  What is not scattered stays in the central beam, with the small angles of plasmons
 * (Lorentzian, theta_E = dE/(gamma m v^2)).
 * A grain's spots are as wide as 0.9 over its size, all as wide as the undiffracted beam.
 *
 * The electrons travel along +z of the view; the spot of g lies at (g_x, g_y) of the view, so
 * that pattern and picture are not rotated against each other.  Row 0 is the top; the central
 * beam is in the middle, (height/2, width/2).
 */
#ifndef STMTEM_DIFFRACTION_H
#define STMTEM_DIFFRACTION_H

#include "model.h"

typedef struct {
    size_t height, width;
    double pixel;                  /* 1/A */
    double electrons;              /* through the aperture, this exposure */
    double energy_keV;
    double aperture_x, aperture_y; /* of its centre on the specimen, nm */
    double aperture_diameter;      /* nm */
    double beam_width;             /* of the undiffracted beam, full at half maximum, 1/A */
    double stop_radius;            /* of the beam stop, 1/A; 0: none */
    double stop_axis_rad;          /* direction of its shaft from the centre */
} PatternRequest;

/* Mean electrons a pixel.  false when memory is short. */
bool diffraction_render(const Model *m, const PatternRequest *request, float *mean);

#endif
