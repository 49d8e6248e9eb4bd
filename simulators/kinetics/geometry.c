#include "geometry.h"

#include <math.h>

#include "elementary.h"

double cap_volume_factor(double tau)
{
    return PI / 6.0 * tau * (3.0 + tau * tau);
}

double cap_tau(double volume, double base_radius)
{
    const double cube = base_radius * base_radius * base_radius;
    const double q = 6.0 * volume / (PI * cube);
    const double root = elementary_cbrt(q);
    double t = q / (3.0 + root * root); /* right in both limits */
    for (int i = 0; i < 5; i++) {       /* Halley's rule on t^3 + 3 t - q */
        const double value = t * (t * t + 3.0) - q, slope = 3.0 * (t * t + 1.0);
        t -= value * slope / (slope * slope - 3.0 * t * value);
    }
    return t;
}

double cap_radius(double base_radius, double tau)
{
    return base_radius * (1.0 + tau * tau) / (2.0 * tau);
}

double cap_free_area(double base_radius, double tau)
{
    return PI * base_radius * base_radius * (1.0 + tau * tau);
}

double cap_height(double base_radius, double tau)
{
    return base_radius * tau;
}

double cap_angle(double tau)
{
    return 2.0 * elementary_atan(tau);
}

double cap_side_area(double base_radius, double tau)
{
    const double theta = cap_angle(tau);
    const double radius = cap_radius(base_radius, tau);
    return radius * radius * (theta - sin(theta) * cos(theta));
}

double cap_area_constant(double theta)
{
    const double c = cos(theta);
    const double volume = PI / 3.0 * (2.0 + c) * (1.0 - c) * (1.0 - c);
    return 2.0 * PI * (1.0 - c) / pow(volume, 2.0 / 3.0);
}

double half_cube_area_constant(void)
{
    return 3.0 * pow(2.0, 2.0 / 3.0);
}

double crossing_angle(void)
{
    double low = 0.2, high = 1.5; /* the constant falls with theta up to 90 degrees */
    for (int i = 0; i < 80; i++) {
        const double middle = 0.5 * (low + high);
        if (cap_area_constant(middle) > half_cube_area_constant())
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

ContactLine contact_line(double advancing_rad, double receding_rad)
{
    ContactLine line;
    line.tau_advancing = elementary_tan(0.5 * advancing_rad);
    line.tau_receding = elementary_tan(0.5 * receding_rad);
    line.slide_advancing = 1.0 / elementary_cbrt(cap_volume_factor(line.tau_advancing));
    line.slide_receding = 1.0 / elementary_cbrt(cap_volume_factor(line.tau_receding));
    return line;
}

Cap cap_resting(const ContactLine *line, double volume, double base)
{
    Cap cap = {.volume = volume, .size = elementary_cbrt(volume)};
    const double lowest = line->slide_advancing * cap.size;
    const double highest = line->slide_receding * cap.size;
    cap.base = base <= lowest ? lowest : (base >= highest ? highest : base);
    cap.tau = base <= lowest ? line->tau_advancing
                             : (base >= highest ? line->tau_receding : cap_tau(volume, base));
    return cap;
}
