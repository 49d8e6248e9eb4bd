#include "geometry.h"

#include <math.h>

double cap_volume_factor(double tau)
{
    return PI / 6.0 * tau * (3.0 + tau * tau);
}

double cap_tau(double volume, double base_radius)
{
    const double cube = base_radius * base_radius * base_radius;
    return 2.0 * sinh(asinh(3.0 * volume / (PI * cube)) / 3.0);
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
    return 2.0 * atan(tau);
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
    line.tau_advancing = tan(0.5 * advancing_rad);
    line.tau_receding = tan(0.5 * receding_rad);
    line.slide_advancing = 1.0 / cbrt(cap_volume_factor(line.tau_advancing));
    line.slide_receding = 1.0 / cbrt(cap_volume_factor(line.tau_receding));
    return line;
}

double contact_line_slide(const ContactLine *line, double volume, double *base_radius, int *side)
{
    const double size = cbrt(volume);
    const double smallest = line->slide_advancing * size;
    const double largest = line->slide_receding * size;
    if (*base_radius <= smallest) {
        *base_radius = smallest;
        *side = 1;
        return line->tau_advancing;
    }
    if (*base_radius >= largest) {
        *base_radius = largest;
        *side = -1;
        return line->tau_receding;
    }
    *side = 0;
    return cap_tau(volume, *base_radius);
}
