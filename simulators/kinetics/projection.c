#include <math.h>

#include "image.h"

#define SKIN_NM 3.5        /* oxide on lithium in the residual gas of the column */
#define SAMPLES_MOST 1.0e6 /* of a particle's box when its scale is measured */

double fibre_centre(const Model *m, size_t fibre)
{
    return ((double)fibre - 0.5 * (m->par.fibre_count - 1.0)) * m->par.fibre_spacing_nm;
}

double solid_path(const Solid *b, double x, double y, double skin)
{
    const double dx = x - b->x, dy = y - b->y, radius = b->radius - skin;
    const double inside = radius * radius - dx * dx - dy * dy;
    if (radius <= 0.0 || inside <= 0.0)
        return 0.0;
    double half = sqrt(inside), low = -half, high = half;
    for (int k = 0; k < b->faces; k++) {
        const double *n = b->face[k];
        const double room = b->face_distance - skin - n[0] * dx - n[1] * dy;
        if (n[2] > 1e-9)
            high = fmin(high, room / n[2]);
        else if (n[2] < -1e-9)
            low = fmax(low, room / n[2]);
        else if (room < 0.0)
            return 0.0;
    }
    low += b->z;
    high += b->z;
    /* Its own side of the fibre ... */
    const double from_axis = y - b->fibre_y, outward = from_axis * b->out_y;
    if (b->out_z > 1e-9)
        low = fmax(low, -outward / b->out_z);
    else if (b->out_z < -1e-9)
        high = fmin(high, -outward / b->out_z);
    else if (outward < 0.0)
        return 0.0;
    if (high <= low)
        return 0.0;
    /* ... and outside it. */
    const double carbon = b->fibre_radius * b->fibre_radius - from_axis * from_axis;
    if (carbon <= 0.0)
        return high - low;
    const double wall = sqrt(carbon);
    return fmax(0.0, fmin(high, -wall) - low) + fmax(0.0, high - fmax(low, wall));
}

typedef struct {
    Solid body[2];
    int bodies;
    Grain grain[2];
    double split_x, split_y, split_at; /* second grain where split . (x, y) > split_at */
    double left, right, bottom, top;   /* box, nm */
} Picture;

/* One cap of this volume with the particle's contact angle, standing at (s, y). */
static Solid solid_of(const Model *m, size_t i, double s, double y, double volume)
{
    const Particles *p = &m->particles;
    const double tau = p->tau[i], phi = p->phi[i];
    const double base = cbrt(volume / cap_volume_factor(tau));
    const double radius = cap_radius(base, tau), lift = m->par.fibre_radius_nm - radius +
                                                        cap_height(base, tau);
    const double azimuth = y / m->par.fibre_radius_nm;
    Solid b;
    b.fibre_y = fibre_centre(m, p->fibre[i]);
    b.fibre_radius = m->par.fibre_radius_nm;
    b.out_y = cos(azimuth);
    b.out_z = sin(azimuth);
    b.x = s - 0.5 * m->par.fibre_length_nm;
    b.y = b.fibre_y + lift * b.out_y;
    b.z = lift * b.out_z;
    b.radius = radius;
    b.faces = 0;
    if (phi <= 0.1)
        return b;
    double r[9];
    lattice_rotation(m->seed, p->lattice[i], r);
    b.radius = radius * (1.0 + 0.2 * phi);
    b.face_distance = radius * (1.0 - 0.13 * phi);
    for (int axis = 0; axis < 3; axis++) /* the twelve {110} normals */
        for (int signs = 0; signs < 4; signs++) {
            const double u = (signs & 1 ? -1.0 : 1.0) * 0.7071067811865476;
            const double v = (signs & 2 ? -1.0 : 1.0) * 0.7071067811865476;
            const int c1 = (axis + 1) % 3, c2 = (axis + 2) % 3;
            double *n = b.face[b.faces++];
            for (int k = 0; k < 3; k++)
                n[k] = r[3 * k + c1] * u + r[3 * k + c2] * v;
        }
    return b;
}

/* Two bodies while a neck is open; the smaller one flows into the larger as it closes. */
static void bodies_of(const Model *m, size_t i, Picture *picture)
{
    const Particles *p = &m->particles;
    const double volume = p->volume[i], share = p->neck_share[i], distance = p->neck[i];
    picture->bodies = 1;
    if (distance <= 0.0) {
        picture->body[0] = solid_of(m, i, p->s[i], p->y[i], volume);
        return;
    }
    const double factor = cap_volume_factor(p->tau[i]);
    const double touching =
        cbrt((1.0 - share) * volume / factor) + cbrt(share * volume / factor);
    const double open = fmin(1.0, distance / touching);
    const double ds = distance * cos(p->neck_direction[i]);
    const double dy = distance * sin(p->neck_direction[i]);
    picture->bodies = 2;
    picture->body[0] = solid_of(m, i, p->s[i] - share * ds, p->y[i] - share * dy,
                                volume * (1.0 - share * open));
    picture->body[1] = solid_of(m, i, p->s[i] + (1.0 - share) * ds,
                                p->y[i] + (1.0 - share) * dy, volume * share);
}

static void picture_box(Picture *picture)
{
    picture->left = picture->bottom = 1e300;
    picture->right = picture->top = -1e300;
    for (int k = 0; k < picture->bodies; k++) {
        const Solid *b = &picture->body[k];
        picture->left = fmin(picture->left, b->x - b->radius);
        picture->right = fmax(picture->right, b->x + b->radius);
        picture->bottom = fmin(picture->bottom, b->y - b->radius);
        picture->top = fmax(picture->top, b->y + b->radius);
    }
}

static void picture_grains(const Model *m, size_t i, double energy_keV, Picture *picture)
{
    const Particles *p = &m->particles;
    const double atoms = p->volume[i] / m->par.atomic_volume_nm3;
    const double share = crystalline_share(atoms, m->par.atomic_volume_nm3);
    const double thickest = 2.0 * picture->body[0].radius;
    grain_tabulate(&picture->grain[0], m, p->lattice[i], energy_keV, thickest, share);
    picture->grain[1].dark = false;
    picture->split_at = 1e300;
    if (p->boundary_life[i] <= 0.0)
        return;
    grain_tabulate(&picture->grain[1], m, p->lattice_2[i], energy_keV, thickest, share);
    const Solid *b = &picture->body[0];
    const double c = cos(p->neck_direction[i]), d = sin(p->neck_direction[i]) * b->out_z;
    picture->split_x = c;
    picture->split_y = -d; /* around the fibre is down the picture where the surface faces up */
    picture->split_at = c * b->x - d * b->y + 0.3 * b->radius;
}

static double picture_path(const Picture *picture, double x, double y, double skin)
{
    const double path = solid_path(&picture->body[0], x, y, skin);
    return picture->bodies > 1 ? fmax(path, solid_path(&picture->body[1], x, y, skin)) : path;
}

/* Mean path over a pixel; small particles are sampled finer. */
static double pixel_path(const Picture *picture, double x, double y, double pixel, int fine,
                         double skin)
{
    if (fine == 1)
        return picture_path(picture, x, y, skin);
    double sum = 0.0;
    for (int i = 0; i < fine; i++)
        for (int j = 0; j < fine; j++)
            sum += picture_path(picture, x + ((i + 0.5) / fine - 0.5) * pixel,
                                y + ((j + 0.5) / fine - 0.5) * pixel, skin);
    return sum / (fine * fine);
}

typedef struct {
    int64_t first_column, last_column, first_row, last_row; /* of the box, may lie outside */
    int fine;
} Patch;

static Patch patch_of(const Picture *picture, const View *v)
{
    const double cx = 0.5 * (double)v->width - 0.5, cy = 0.5 * (double)v->height - 0.5;
    Patch patch;
    patch.first_column = (int64_t)floor((picture->left - v->origin_x) / v->pixel + cx);
    patch.last_column = (int64_t)ceil((picture->right - v->origin_x) / v->pixel + cx);
    patch.first_row = (int64_t)floor(cy - (picture->top - v->origin_y) / v->pixel);
    patch.last_row = (int64_t)ceil(cy - (picture->bottom - v->origin_y) / v->pixel);
    const double widest = picture->right - picture->left;
    patch.fine = widest < 3.0 * v->pixel ? 6 : (widest < 8.0 * v->pixel ? 2 : 1);
    return patch;
}

/* Factor that makes the sum of the paths over all pixels of the box the volume. */
static double patch_scale(const Picture *picture, const View *v, const Patch *q, double volume)
{
    const double wide = (double)(q->last_column - q->first_column + 1);
    const double tall = (double)(q->last_row - q->first_row + 1);
    const int64_t stride = 1 + (int64_t)sqrt(wide * tall / SAMPLES_MOST);
    double sum = 0.0;
    for (int64_t r = q->first_row; r <= q->last_row; r += stride)
        for (int64_t c = q->first_column; c <= q->last_column; c += stride) {
            const double x = v->origin_x + ((double)c + 0.5 - 0.5 * (double)v->width) * v->pixel;
            const double y = v->origin_y - ((double)r + 0.5 - 0.5 * (double)v->height) * v->pixel;
            sum += pixel_path(picture, x, y, v->pixel, q->fine, 0.0);
        }
    const double square = v->pixel * v->pixel * (double)(stride * stride);
    return sum > 0.0 ? volume / (sum * square) : 0.0;
}

/* A particle that no sample hits goes whole into the pixel of its centre. */
static void put_whole(const Picture *picture, const View *v, double volume, double per_nm,
                      float *map)
{
    const Solid *b = &picture->body[0];
    const double c = floor((b->x - v->origin_x) / v->pixel + 0.5 * (double)v->width);
    const double r = floor(0.5 * (double)v->height - (b->y - v->origin_y) / v->pixel);
    if (c >= 0.0 && r >= 0.0 && c < (double)v->width && r < (double)v->height)
        map[(size_t)r * v->width + (size_t)c] += (float)(per_nm * volume / (v->pixel * v->pixel));
}

static void add_patch(const Picture *picture, const View *v, const Patch *q, double scale,
                      const Attenuation *at, float *map)
{
    const size_t first_row = q->first_row > 0 ? (size_t)q->first_row : 0;
    const size_t first_column = q->first_column > 0 ? (size_t)q->first_column : 0;
    for (size_t r = first_row; r < v->height && (int64_t)r <= q->last_row; r++) {
        float *line = map + r * v->width;
        const double y = view_y(v, r);
        for (size_t c = first_column; c < v->width && (int64_t)c <= q->last_column; c++) {
            const double x = view_x(v, c);
            const double path = scale * pixel_path(picture, x, y, v->pixel, q->fine, 0.0);
            if (path <= 0.0)
                continue;
            if (!at) {
                line[c] += (float)path;
                continue;
            }
            const double core = scale * pixel_path(picture, x, y, v->pixel, q->fine, SKIN_NM);
            double loss = at->metal * core + at->oxide * (path - core);
            const int which = picture->split_x * x + picture->split_y * y > picture->split_at;
            const Grain *grain = &picture->grain[which];
            if (grain->dark)
                loss += (double)grain_loss(grain, (float)core);
            line[c] += (float)loss;
        }
    }
}

void project_particles(Model *m, const View *view, const Attenuation *at, double energy_keV,
                       float *map)
{
    const Particles *p = &m->particles;
    Picture picture;
    for (size_t i = 0; i < p->count; i++) {
        bodies_of(m, i, &picture);
        picture_box(&picture);
        const Patch patch = patch_of(&picture, view);
        if (patch.last_column < 0 || patch.last_row < 0 ||
            patch.first_column >= (int64_t)view->width ||
            patch.first_row >= (int64_t)view->height)
            continue;
        picture.split_x = picture.split_y = 0.0;
        picture.split_at = 1e300;
        if (at)
            picture_grains(m, i, energy_keV, &picture);
        const double scale = patch_scale(&picture, view, &patch, p->volume[i]);
        if (scale > 0.0)
            add_patch(&picture, view, &patch, scale, at, map);
        else
            put_whole(&picture, view, p->volume[i], at ? at->oxide : 1.0, map);
    }
}
