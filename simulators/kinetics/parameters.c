#include "parameters.h"

#include <math.h>
#include <string.h>

#define LEAST_FEED 1e-6 /* times a scatter of 1e-11: rates and their inverses must stay finite */

const ParameterRow parameter_table[] = {
#define X(name, value, low, high) {#name, value, low, high},
    KINETIC_PARAMETERS(X)
#undef X
};

const size_t parameter_count = sizeof parameter_table / sizeof parameter_table[0];

static const size_t parameter_offset[] = {
#define X(name, value, low, high) offsetof(Parameters, name),
    KINETIC_PARAMETERS(X)
#undef X
};

double parameters_get(const Parameters *p, size_t index)
{
    double value;
    memcpy(&value, (const char *)p + parameter_offset[index], sizeof value);
    return value;
}

void parameters_set(Parameters *p, size_t index, double value)
{
    memcpy((char *)p + parameter_offset[index], &value, sizeof value);
}

Parameters parameters_default(void)
{
    Parameters p;
    for (size_t i = 0; i < parameter_count; i++)
        parameters_set(&p, i, parameter_table[i].value);
    return p;
}

const char *parameters_complaint(const Parameters *p)
{
    for (size_t i = 0; i < parameter_count; i++) {
        const double value = parameters_get(p, i);
        if (!(value >= parameter_table[i].low && value <= parameter_table[i].high))
            return parameter_table[i].name;
    }
    if (p->site_count != floor(p->site_count))
        return "site_count must be a whole number";
    if (p->fibre_count != floor(p->fibre_count))
        return "fibre_count must be a whole number";
    if (p->metal != floor(p->metal))
        return "metal must be 0 (Li), 1 (Na) or 2 (K)";
    if (p->substrate != floor(p->substrate))
        return "substrate must be 0 (carbon) or 1 (lithium oxide)";
    if (p->receding_angle_deg > p->advancing_angle_deg)
        return "receding_angle_deg must not exceed advancing_angle_deg";
    if (p->first_site_feed > 0.0 && p->first_site_feed < LEAST_FEED)
        return "first_site_feed must be 0 or at least 1e-6";
    if (pow(p->fibre_feed_ratio, p->fibre_count - 1.0) < LEAST_FEED)
        return "fibre_feed_ratio leaves the last fibre less than 1e-6 of the feed of the first";
    return NULL;
}
