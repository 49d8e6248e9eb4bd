#include "scattering.h"

#include <math.h>

#include "contrast.h"

#define MOTT_BETHE 0.0239337 /* m e^2/(2 h^2 4 pi eps0) * 4 for g/2 = sin(theta)/lambda, 1/A */

typedef struct {
    double a[4], b[4];
} XrayFactor;

static const XrayFactor xray_factor[5] = {
    {{1.1282, 0.7508, 0.6175, 0.4653}, {3.9546, 1.0524, 85.3905, 168.261}},
    {{4.7626, 3.1736, 1.2674, 1.1128}, {3.2850, 8.8422, 0.3136, 129.424}},
    {{8.2186, 7.4398, 1.0519, 0.8659}, {12.7949, 0.7748, 213.187, 41.6841}},
    {{2.3100, 1.0200, 1.5886, 0.8650}, {20.8439, 10.2075, 0.5687, 51.6512}},
    {{3.0485, 2.2868, 1.5463, 0.8670}, {13.2771, 5.7011, 0.3239, 32.9089}},
};

double electron_amplitude(int atom, double g)
{
    const XrayFactor *x = &xray_factor[atom];
    /* Z - f_x is taken as the sum of a (1 - exp(-b (g/2)^2)), that is with c = Z - sum a: what the
     * rounding of the printed c leaves would diverge at small angles. */
    const double square = 0.25 * g * g;
    double missing = 0.0;
    for (int i = 0; i < 4; i++)
        missing -= x->a[i] * expm1(-x->b[i] * square);
    return MOTT_BETHE * missing / square;
}

double thermal_B(int metal)
{
    static const double B[3] = {4.7, 6.6, 10.7};
    return B[metal];
}

double electron_gamma(double energy_keV)
{
    return 1.0 + energy_keV / 510.99895;
}

double electron_wavelength_A(double energy_keV)
{
    return 10.0 * electron_wavelength_nm(energy_keV);
}

double bcc_extinction_nm(int metal, double lattice_A, double g, double energy_keV)
{
    const double wave = electron_wavelength_A(energy_keV), sine = 0.5 * wave * g;
    const double volume = lattice_A * lattice_A * lattice_A;
    const double amplitude = 2.0 * electron_amplitude(metal, g) * electron_gamma(energy_keV);
    return 0.1 * PI * volume * sqrt(1.0 - sine * sine) / (wave * amplitude);
}

/* How many (hkl) follow from one with h >= k >= l >= 0 by permutation and sign. */
static int64_t family_size(int h, int k, int l)
{
    const int orders = h == k && k == l ? 1 : (h == k || k == l ? 3 : 6);
    return orders * (h ? 2 : 1) * (k ? 2 : 1) * (l ? 2 : 1);
}

static Family family_of(int metal, double lattice_A, double energy_keV, int h, int k, int l)
{
    const double g = sqrt((double)(h * h + k * k + l * l)) / lattice_A;
    const double amplitude = electron_amplitude(metal, g);
    Family f = {
        .h = h,
        .k = k,
        .l = l,
        .multiplicity = family_size(h, k, l),
        .d_A = 1.0 / g,
        .inverse_d_A = g,
        .two_theta_mrad = 2e3 * asin(0.5 * g * electron_wavelength_A(energy_keV)),
        .f_e_A = amplitude,
        .extinction_nm = bcc_extinction_nm(metal, lattice_A, g, energy_keV),
    };
    f.powder_static = (double)f.multiplicity * amplitude * amplitude;
    f.powder = f.powder_static * exp(-0.5 * thermal_B(metal) * g * g);
    f.ring = f.powder * f.d_A;
    return f;
}

static bool comes_before(const Family *a, const Family *b)
{
    const int64_t square_a = a->h * a->h + a->k * a->k + a->l * a->l;
    const int64_t square_b = b->h * b->h + b->k * b->k + b->l * b->l;
    return square_a < square_b || (square_a == square_b && a->h < b->h);
}

size_t bcc_families(int metal, double lattice_A, double energy_keV, double largest, Family *out)
{
    const double reach = largest * lattice_A * (1.0 + 1e-12);
    const double reach2 = reach * reach;
    size_t count = 0;
    for (int h = 1; h <= (int)reach; h++)
        for (int k = 0; k <= h; k++)
            for (int l = 0; l <= k; l++) {
                if ((h + k + l) & 1 || (double)(h * h + k * k + l * l) > reach2 ||
                    count == FAMILIES_MOST)
                    continue;
                Family f = family_of(metal, lattice_A, energy_keV, h, k, l);
                size_t place = count++;
                for (; place && comes_before(&f, &out[place - 1]); place--)
                    out[place] = out[place - 1];
                out[place] = f;
            }
    if (!count)
        return 0;
    const Family first = family_of(metal, lattice_A, energy_keV, 1, 1, 0);
    for (size_t i = 0; i < count; i++) {
        out[i].powder_static *= 100.0 / first.powder_static;
        out[i].powder *= 100.0 / first.powder;
        out[i].ring *= 100.0 / first.ring;
    }
    return count;
}

static double peak(double g, double centre, double width)
{
    const double z = (g - centre) / width;
    return exp(-0.5 * z * z);
}

/* 0 at small angles, where density hardly varies, 1 where atoms scatter on their own. */
static double onset(double g, double knee)
{
    const double ratio = g / knee, square = ratio * ratio;
    return 1.0 - exp(-square * square);
}

double amorphous_metal_order(double g, double lattice_A)
{
    /* Like the liquid, whose first maximum is at Q = 25 1/nm, g = 0.40 1/A for lithium (Scopigno
     * et al., J. Phys.: Condens. Matter 2000, 12, 8009); the others scale with the lattice. */
    const double x = g * lattice_A / 3.51;
    return 0.03 + 0.97 * onset(x, 0.42) + 1.7 * peak(x, 0.40, 0.030) + 0.35 * peak(x, 0.73, 0.05);
}

double carbon_layers(double g)
{
    return 1.7 * peak(g, 0.286, 0.034); /* 3.5 A between the layers, few of them */
}

double carbon_order(double g)
{
    /* (100) at 2.1 A and (110) at 1.2 A within the layers; the pores scatter at small angles. */
    return 0.35 + 0.65 * onset(g, 0.42) + carbon_layers(g) + 0.8 * peak(g, 0.476, 0.033) +
           0.4 * peak(g, 0.82, 0.045);
}

double oxide_rings(int metal, OxideRing ring[OXIDE_RINGS])
{
    static const double lattice_A[3] = {4.62, 5.55, 6.44}; /* Li2O, Na2O, K2O */
    static const int hkl[OXIDE_RINGS][3] = {{1, 1, 1}, {2, 0, 0}, {2, 2, 0}, {3, 1, 1}, {4, 0, 0}};
    static const double B = 1.0; /* A2 */
    const double a = lattice_A[metal];
    for (int i = 0; i < OXIDE_RINGS; i++) {
        const int h = hkl[i][0], k = hkl[i][1], l = hkl[i][2];
        const double g = sqrt((double)(h * h + k * k + l * l)) / a;
        const double oxygen = electron_amplitude(ATOM_O, g);
        const double twice = 2.0 * electron_amplitude(metal, g);
        /* 4 O on the FCC lattice, 8 M at (1/4 1/4 1/4). */
        const double with_metal = h & 1 ? 0.0 : ((h + k + l) % 4 ? -twice : twice);
        const double factor = 4.0 * (oxygen + with_metal);
        ring[i].g = g;
        ring[i].intensity =
            (double)family_size(h, k, l) * factor * factor * exp(-0.5 * B * g * g);
    }
    return a * a * a;
}
