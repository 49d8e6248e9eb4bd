/*
 * Elementary functions of the core's hot loops, and of everything that the state depends on.
 *
 * Own ones for two reasons: loops over them become vector code, and they give the same bits on
 * every machine, where the C library chooses among several versions of its own.  Errors against
 * the C library, held by the check program: exp 2 ulp in [-300, 300], log 4 ulp, sine and cosine
 * 3e-16 absolute, cube root 4 ulp, arc tangent 1e-15.
 *
 * Rounding to an integer is done by adding 1.5 * 2^52 (2^23 for float): never build with
 * -ffast-math or -fassociative-math, which would remove it.
 */
#ifndef STMTEM_ELEMENTARY_H
#define STMTEM_ELEMENTARY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "never build with -ffast-math: it removes the rounding steps of the elementary functions"
#endif

static inline uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(x), x taken into [-300, 300] first; a NaN stays one. */
static inline double elementary_exp(double x)
{
    const double low = x < -300.0 ? -300.0 : x, bounded = low > 300.0 ? 300.0 : low;
    const double shifted = bounded * 1.4426950408889634 + 0x1.8p52;
    const double whole = shifted - 0x1.8p52;
    const double r = (bounded - whole * 0x1.62e42fefa0000p-1) - whole * 0x1.cf79abc9e3b39p-40;
    /* Taylor's series; the term left out is below 2e-17 for |r| <= ln(2)/2 */
    double p = 1.6059043836821613e-10;
    p = p * r + 2.0876756987868099e-9;
    p = p * r + 2.5052108385441719e-8;
    p = p * r + 2.7557319223985893e-7;
    p = p * r + 2.7557319223985888e-6;
    p = p * r + 2.4801587301587302e-5;
    p = p * r + 1.9841269841269841e-4;
    p = p * r + 1.3888888888888889e-3;
    p = p * r + 8.3333333333333333e-3;
    p = p * r + 4.1666666666666666e-2;
    p = p * r + 1.6666666666666666e-1;
    p = p * r + 0.5;
    p = 1.0 + (r + r * r * p);
    return p * double_of((bits_of(shifted) + 1023u) << 52);
}

/* log(x) of a positive normal number. */
static inline double elementary_log(double x)
{
    /* x = 2^e m, m in [sqrt(1/2), sqrt(2)) */
    const uint64_t root_half = 0x3FE6A09E667F3BCDu;
    const uint64_t moved = bits_of(x) + (0x3FF0000000000000u - root_half);
    const double m = double_of((moved & 0x000FFFFFFFFFFFFFu) + root_half);
    const double e = double_of((moved >> 52) | 0x4330000000000000u) - (0x1p52 + 1023.0);
    const double t = (m - 1.0) / (m + 1.0), t2 = t * t;
    /* 2 artanh(t); the last term stands for all that are left out */
    double p = (((0.055 * t2 + 0.058823529411764705) * t2 + 0.06666666666666667) * t2 +
         0.07692307692307693) * t2 + 0.09090909090909091;
    p = ((((p * t2 + 0.1111111111111111) * t2 + 0.14285714285714285) * t2 + 0.2) * t2 +
         0.3333333333333333) * t2;
    return e * 0x1.62e42fefa0000p-1 + (2.0 * t * p + e * 0x1.cf79abc9e3b39p-40) + 2.0 * t;
}

/* sin and cos of 2 pi u, 0 <= u <= 1. */
static inline void elementary_turn(double u, double *sine, double *cosine)
{
    const double shifted = 4.0 * u + 0x1.8p52;
    const double x = (u - 0.25 * (shifted - 0x1.8p52)) * 6.283185307179586;
    const uint64_t quarter = bits_of(shifted);
    const double x2 = x * x;
    double s = -7.647163731819816e-13;
    s = s * x2 + 1.6059043836821613e-10;
    s = s * x2 - 2.505210838544172e-8;
    s = s * x2 + 2.7557319223985893e-6;
    s = s * x2 - 1.984126984126984e-4;
    s = s * x2 + 8.333333333333333e-3;
    s = s * x2 - 0.16666666666666666;
    s = x + x * x2 * s;
    double c = 4.779477332387385e-14;
    c = c * x2 - 1.1470745597729725e-11;
    c = c * x2 + 2.08767569878681e-9;
    c = c * x2 - 2.755731922398589e-7;
    c = c * x2 + 2.48015873015873e-5;
    c = c * x2 - 1.388888888888889e-3;
    c = c * x2 + 4.1666666666666664e-2;
    c = 1.0 - 0.5 * x2 + x2 * x2 * c;
    /* Odd quarters swap the two; signs: sine negative in the 3rd and 4th quarter, cosine in the
     * 2nd and 3rd.  With masks, since not every processor compares 64-bit numbers in vectors. */
    const uint64_t swap = 0u - (quarter & 1u);
    const uint64_t other = (bits_of(s) ^ bits_of(c)) & swap;
    *sine = double_of((bits_of(s) ^ other) ^ ((quarter & 2u) << 62));
    *cosine = double_of((bits_of(c) ^ other) ^ (((quarter + 1u) & 2u) << 62));
}

/* Cube root of a positive normal number. */
static inline double elementary_cbrt(double x)
{
    const double g = elementary_exp(elementary_log(x) * (1.0 / 3.0)), g3 = g * g * g;
    return g - g * (g3 - x) / (2.0 * g3 + x); /* Halley's step */
}

/* Arc tangent of 0 <= x < infinity, by Newton's rule on sine and cosine. */
static inline double elementary_atan(double x)
{
    double angle = x / (1.0 + 0.28125 * x * x); /* good for x <= 1 */
    if (x > 1.0)
        angle = 1.5707963267948966 - x / (x * x + 0.28125);
    for (int i = 0; i < 3; i++) {
        double s, c;
        elementary_turn(angle * 0.15915494309189535, &s, &c);
        angle += (x * c - s) / (c + x * s);
    }
    return angle;
}

static inline double elementary_tan(double angle)
{
    double s, c;
    elementary_turn(angle * 0.15915494309189535, &s, &c);
    return s / c;
}

#endif
