/*
 * Spherical caps on a plane, written with tau = tan(theta/2) of the contact angle theta.
 *
 * a is the radius of the contact line, R that of the sphere, V the volume:
 *   h = a tau,  R = a (1+tau^2)/(2 tau),  free area S = pi a^2 (1+tau^2),
 *   V = (pi/6) a^3 tau (3+tau^2) = k_V(theta) a^3,
 *   side-view area A = R^2 (theta - sin theta cos theta).
 * Lengths in nm (any unit will do). Wang et al., ACS Energy Lett. 2023, 8, 1929, eqs 1-6 are the
 * case h = R/2, theta = 60 degrees.
 */
#ifndef STMTEM_GEOMETRY_H
#define STMTEM_GEOMETRY_H

#define PI 3.14159265358979323846

/* Volume of a cap over the cube of its base radius. */
double cap_volume_factor(double tau);

/* tau of the cap with this volume and base radius: the one real root of
 * tau^3 + 3 tau - 6V/(pi a^3) = 0. */
double cap_tau(double volume, double base_radius);

double cap_radius(double base_radius, double tau);
double cap_free_area(double base_radius, double tau);
double cap_height(double base_radius, double tau);
double cap_angle(double tau);
double cap_side_area(double base_radius, double tau);

/* Free area over V^(2/3) of a cap (eq. 5 for 60 degrees) and of half a cube (eq. 6). */
double cap_area_constant(double theta);
double half_cube_area_constant(void);

/* Contact angle (rad) at which the two constants are equal: 44.2667 degrees. */
double crossing_angle(void);

/*
 * Contact-angle hysteresis of one droplet.  The line stays where it is while theta lies between
 * the receding and the advancing angle and slides beyond: a <- clamp(a, adv V^(1/3), rec V^(1/3)).
 */
typedef struct {
    double tau_advancing, tau_receding;
    double slide_advancing; /* k_V(theta_adv)^(-1/3), the smallest a / V^(1/3) */
    double slide_receding;  /* k_V(theta_rec)^(-1/3), the largest */
} ContactLine;

ContactLine contact_line(double advancing_rad, double receding_rad);

/* A cap with what is kept of it: V, V^(1/3), a, tau. */
typedef struct {
    double volume, size, base, tau;
} Cap;

/* The cap of this volume, its line moved from `base` if it must. */
Cap cap_resting(const ContactLine *line, double volume, double base);

/* Which way the line would slide next: +1 at the advancing angle, -1 at the receding angle, 0
 * pinned. */
static inline int cap_side(const ContactLine *line, double tau)
{
    return tau == line->tau_advancing ? 1 : (tau == line->tau_receding ? -1 : 0);
}

#endif
