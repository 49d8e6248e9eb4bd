#include "columns.h"

#include <math.h>
#include <string.h>

#include "image.h"

#define SAMPLES 24  /* along a side of the box around the cap */
#define STRIPS 400  /* of a fibre, along it */

typedef struct {
    double x, y, z;             /* centre of the sphere, nm */
    double radius, base;        /* of the sphere and of the contact line */
    double out_y, out_z;        /* outward direction */
    double fibre_y, fibre_radius;
    double bottom, top;         /* extent in y */
} Dome;

static Dome dome_of(const Model *m, size_t i)
{
    const Particles *p = &m->particles;
    const double radius = cap_radius(p->base[i], p->tau[i]);
    const double lift = m->par.fibre_radius_nm - radius + cap_height(p->base[i], p->tau[i]);
    const double azimuth = p->y[i] / m->par.fibre_radius_nm;
    Dome c = {
        .radius = radius,
        .base = p->base[i],
        .out_y = cos(azimuth),
        .out_z = sin(azimuth),
        .fibre_y = fibre_centre(m, p->fibre[i]),
        .fibre_radius = m->par.fibre_radius_nm,
    };
    c.x = p->s[i] - 0.5 * m->par.fibre_length_nm;
    c.y = c.fibre_y + lift * c.out_y;
    c.z = lift * c.out_z;
    const double foot = c.fibre_y + c.fibre_radius * c.out_y;
    c.bottom = foot - c.base * fabs(c.out_z);
    c.top = foot + c.base * fabs(c.out_z);
    const double rim = cos(cap_angle(p->tau[i]));
    if (c.out_y > rim) /* the dome reaches further up than its foot */
        c.top = c.y + c.radius;
    if (-c.out_y > rim)
        c.bottom = c.y - c.radius;
    return c;
}

static double dome_path(const Dome *c, double x, double y)
{
    const double dx = x - c->x, dy = y - c->y;
    const double inside = c->radius * c->radius - dx * dx - dy * dy;
    if (inside <= 0.0)
        return 0.0;
    const double half = sqrt(inside);
    double low = c->z - half, high = c->z + half;
    const double foot = c->fibre_radius - (y - c->fibre_y) * c->out_y; /* z out_z >= foot */
    if (c->out_z > 1e-9)
        low = fmax(low, foot / c->out_z);
    else if (c->out_z < -1e-9)
        high = fmin(high, foot / c->out_z);
    else if (foot > 0.0)
        return 0.0;
    return fmax(0.0, high - low);
}

static bool within(const Aperture *a, double x, double y)
{
    const double dx = x - a->x, dy = y - a->y;
    return dx * dx + dy * dy < 0.25 * a->diameter * a->diameter;
}

void columns_of(const Model *m, size_t i, const Aperture *aperture, double volume, Columns *out)
{
    const Dome c = dome_of(m, i);
    memset(out, 0, sizeof *out);
    const double reach = 0.5 * aperture->diameter + 2.0 * c.radius;
    if (fabs(c.x - aperture->x) > reach || fabs(c.y - aperture->y) > reach)
        return;
    const double dx = 2.0 * c.base / SAMPLES, dy = (c.top - c.bottom) / SAMPLES;
    double path[SAMPLES][SAMPLES], sum = 0.0, thickest = 0.0;
    for (int r = 0; r < SAMPLES; r++)
        for (int k = 0; k < SAMPLES; k++) {
            path[r][k] = dome_path(&c, c.x - c.base + (k + 0.5) * dx, c.bottom + (r + 0.5) * dy);
            sum += path[r][k];
            thickest = fmax(thickest, path[r][k]);
        }
    if (sum <= 0.0)
        return;
    const double scale = volume / (sum * dx * dy);
    double held[COLUMN_CLASSES] = {0};
    for (int r = 0; r < SAMPLES; r++)
        for (int k = 0; k < SAMPLES; k++) {
            if (path[r][k] <= 0.0 || !within(aperture, c.x - c.base + (k + 0.5) * dx,
                                             c.bottom + (r + 0.5) * dy))
                continue;
            const int which = (int)fmin(COLUMN_CLASSES * path[r][k] / thickest,
                                        COLUMN_CLASSES - 1.0);
            out->area[which] += dx * dy;
            held[which] += scale * path[r][k] * dx * dy;
        }
    double moment = 0.0;
    for (int k = 0; k < COLUMN_CLASSES; k++) {
        out->thickness[k] = out->area[k] > 0.0 ? held[k] / out->area[k] : 0.0;
        out->volume += held[k];
        moment += held[k] * out->thickness[k];
    }
    out->mean = out->volume > 0.0 ? moment / out->volume : 0.0;
}

Carbon carbon_in(const Model *m, const Aperture *aperture, double depth, double loss)
{
    const double radius = m->par.fibre_radius_nm, end = -0.5 * m->par.fibre_length_nm;
    const double half = 0.5 * aperture->diameter, step = 2.0 * radius / STRIPS;
    Carbon sum = {0};
    for (size_t f = 0; f < (size_t)m->par.fibre_count; f++) {
        const double centre = fibre_centre(m, f);
        for (int k = 0; k < STRIPS; k++) {
            const double y = (k + 0.5) * step - radius;
            const double away = centre + y - aperture->y;
            if (fabs(away) >= half)
                continue;
            const double reach = sqrt(half * half - away * away);
            const double from = fmax(aperture->x - reach, end), to = aperture->x + reach;
            const double area = fmax(0.0, to - from) * step;
            const double chord = 2.0 * sqrt(radius * radius - y * y);
            sum.volume += area * chord;
            sum.single -= area * expm1(-depth * chord) / depth;
            sum.lossy -= area * expm1(-loss * chord);
        }
    }
    return sum;
}
