#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "parallel.h"

#define SAMPLES_MOST 1.0e6 /* of a particle's box when its scale is measured */

double fibre_centre(const Model *m, size_t fibre)
{
    return ((double)fibre - 0.5 * (m->par.fibre_count - 1.0)) * m->par.fibre_spacing_nm;
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
    b.faces = b.above = 0;
    if (phi <= 0.1)
        return b;
    double r[9];
    lattice_rotation(m->seed, p->lattice[i], r);
    b.radius = radius * (1.0 + 0.2 * phi);
    b.face_distance = radius * (1.0 - 0.13 * phi);
    for (int axis = 0; axis < 3; axis++) /* the six {110} normals that look up, and their opposites */
        for (int sign = 0; sign < 2; sign++) {
            const double u = 0.7071067811865476, v = sign ? -u : u;
            const int c1 = (axis + 1) % 3, c2 = (axis + 2) % 3;
            double n[3];
            for (int k = 0; k < 3; k++)
                n[k] = r[3 * k + c1] * u + r[3 * k + c2] * v;
            const double up = n[2] < 0.0 ? -1.0 : 1.0;
            const double inverse = 1.0 / fmax(fabs(n[2]), 1e-6);
            for (int k = 0; k < 3; k++) {
                b.face[b.faces][k] = up * n[k];
                b.face[b.faces + 6][k] = -up * n[k];
            }
            b.inverse[b.faces] = inverse;
            b.inverse[b.faces++ + 6] = -inverse;
        }
    b.above = b.faces;
    b.faces *= 2;
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

/* The box of a picture in pixels; it may lie outside the view. */
typedef struct {
    int64_t first_column, last_column, first_row, last_row;
    int fine; /* samples along each side of a pixel; small particles are sampled finer */
} Box;

static Box box_of(const Picture *picture, const View *v)
{
    const double cx = 0.5 * (double)v->width - 0.5, cy = 0.5 * (double)v->height - 0.5;
    Box box;
    box.first_column = (int64_t)floor((picture->left - v->origin_x) / v->pixel + cx);
    box.last_column = (int64_t)ceil((picture->right - v->origin_x) / v->pixel + cx);
    box.first_row = (int64_t)floor(cy - (picture->top - v->origin_y) / v->pixel);
    box.last_row = (int64_t)ceil(cy - (picture->bottom - v->origin_y) / v->pixel);
    const double widest = picture->right - picture->left;
    box.fine = widest < 3.0 * v->pixel ? 6 : (widest < 8.0 * v->pixel ? 2 : 1);
    return box;
}

static double box_x(const View *v, int64_t column)
{
    return v->origin_x + ((double)column + 0.5 - 0.5 * (double)v->width) * v->pixel;
}

static double box_y(const View *v, int64_t row)
{
    return v->origin_y - ((double)row + 0.5 - 0.5 * (double)v->height) * v->pixel;
}

#define PIECE 512 /* pixels of a row at once */

/* What the drawing of one picture needs. */
typedef struct {
    const RowKernels *rows;
    const View *view;
    const Picture *picture;
    int fine;
} Brush;

/* Mean path over each of `count` <= PIECE pixels from `column` on, every `stride`-th, and the part
 * of it below the skin if `core` is not NULL; nm. */
static void path_piece(const Brush *brush, int64_t row, int64_t column, int64_t stride,
                       size_t count, float *out, float *core)
{
    const View *v = brush->view;
    const Picture *picture = brush->picture;
    const int fine = brush->fine;
    const double step = v->pixel * (double)stride;
    float path[PIECE], inner[PIECE], other[PIECE], other_inner[PIECE];
    if (fine == 1 && picture->bodies == 1) {
        brush->rows->path(&picture->body[0], SKIN_NM, box_x(v, column), step, box_y(v, row), count,
                          out, core);
        return;
    }
    memset(out, 0, count * sizeof *out);
    if (core)
        memset(core, 0, count * sizeof *core);
    const float share = 1.0f / (float)(fine * fine);
    for (int j = 0; j < fine; j++)
        for (int i = 0; i < fine; i++) {
            const double x = box_x(v, column) + ((i + 0.5) / fine - 0.5) * v->pixel;
            const double y = box_y(v, row) + ((j + 0.5) / fine - 0.5) * v->pixel;
            brush->rows->path(&picture->body[0], SKIN_NM, x, step, y, count, path,
                              core ? inner : NULL);
            if (picture->bodies > 1) {
                brush->rows->path(&picture->body[1], SKIN_NM, x, step, y, count, other,
                                  core ? other_inner : NULL);
                for (size_t k = 0; k < count; k++)
                    path[k] = other[k] > path[k] ? other[k] : path[k];
                for (size_t k = 0; k < count && core; k++)
                    inner[k] = other_inner[k] > inner[k] ? other_inner[k] : inner[k];
            }
            for (size_t k = 0; k < count; k++)
                out[k] += share * path[k];
            for (size_t k = 0; k < count && core; k++)
                core[k] += share * inner[k];
        }
}

static double sum_of(const float *values, size_t count)
{
    double lanes[8] = {0.0};
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (size_t l = 0; l < 8; l++)
            lanes[l] += (double)values[i + l];
    for (size_t l = 0; i < count; i++, l++)
        lanes[l] += (double)values[i];
    double sum = 0.0;
    for (size_t l = 0; l < 8; l++)
        sum += lanes[l];
    return sum;
}

/* Sum of the paths over all pixels of the box, nm; a large box is sampled. */
static double box_sum(const Brush *brush, const Box *q)
{
    const double wide = (double)(q->last_column - q->first_column + 1);
    const double tall = (double)(q->last_row - q->first_row + 1);
    const int64_t stride = 1 + (int64_t)sqrt(wide * tall / SAMPLES_MOST);
    double sum = 0.0;
    for (int64_t r = q->first_row; r <= q->last_row; r += stride)
        for (int64_t c = q->first_column; c <= q->last_column; c += stride * PIECE) {
            float path[PIECE];
            const int64_t left = (q->last_column - c) / stride + 1;
            const size_t count = left < PIECE ? (size_t)left : PIECE;
            path_piece(brush, r, c, stride, count, path, NULL);
            sum += sum_of(path, count);
        }
    return sum * (double)(stride * stride);
}

/* Turn the paths of a row of a patch into losses. */
static void row_losses(const Brush *brush, const Patch *patch, size_t row, double scale,
                       const Attenuation *at, const float *restrict core, float *restrict line)
{
    const Picture *picture = brush->picture;
    const size_t count = patch->last_column - patch->first_column + 1;
    const float metal = (float)(scale * (at->metal - at->oxide));
    const float oxide = (float)(scale * at->oxide);
    for (size_t k = 0; k < count; k++)
        line[k] = metal * core[k] + oxide * line[k];
    if (!picture->grain[0].dark && !picture->grain[1].dark)
        return;
    const double y = view_y(brush->view, row);
    for (size_t k = 0; k < count; k++) {
        if (!(core[k] > 0.0f))
            continue;
        const double x = view_x(brush->view, patch->first_column + k);
        const int which = picture->split_x * x + picture->split_y * y > picture->split_at;
        if (picture->grain[which].dark)
            line[k] += grain_loss(&picture->grain[which], (float)scale * core[k]);
    }
}

/* A particle that no sample hits goes whole into the pixel of its centre. */
static void put_whole(const Brush *brush, const Patch *patch, double amount, float *pixels)
{
    const Solid *b = &brush->picture->body[0];
    const View *v = brush->view;
    const double c = floor((b->x - v->origin_x) / v->pixel + 0.5 * (double)v->width);
    const double r = floor(0.5 * (double)v->height - (b->y - v->origin_y) / v->pixel);
    if (c >= (double)patch->first_column && r >= (double)patch->first_row &&
        c <= (double)patch->last_column && r <= (double)patch->last_row) {
        const size_t wide = patch->last_column - patch->first_column + 1;
        pixels[((size_t)r - patch->first_row) * wide + ((size_t)c - patch->first_column)] +=
            (float)(amount / (v->pixel * v->pixel));
    }
}

typedef struct {
    const Model *m;
    const RowKernels *rows;
    const View *view;
    const Attenuation *at;
    double energy_keV;
    Patches *patches;
} Drawing;

/* Whether all of the box is in the view. */
static bool is_whole(const Patch *patch, const Box *box)
{
    return (int64_t)patch->first_row == box->first_row &&
           (int64_t)patch->last_row == box->last_row &&
           (int64_t)patch->first_column == box->first_column &&
           (int64_t)patch->last_column == box->last_column;
}

static void draw_patch(void *context, size_t k)
{
    const Drawing *d = context;
    const Patch *patch = &d->patches->patch[k];
    const double volume = d->m->particles.volume[patch->particle];
    float *pixels = d->patches->pool + patch->offset;
    const size_t wide = patch->last_column - patch->first_column + 1;
    Picture picture;
    bodies_of(d->m, patch->particle, &picture);
    picture_box(&picture);
    picture.split_x = picture.split_y = 0.0;
    picture.split_at = 1e300;
    picture.grain[0].dark = picture.grain[1].dark = false;
    if (d->at && d->at->crystals)
        picture_grains(d->m, patch->particle, d->energy_keV, &picture);
    const Box box = box_of(&picture, d->view);
    const Brush brush = {d->rows, d->view, &picture, box.fine};
    const size_t tall = patch->last_row - patch->first_row + 1;
    float *cores = d->at ? d->patches->pool + d->patches->pixels + patch->offset : NULL;
    double sum = 0.0;
    for (size_t r = 0; r < tall; r++)
        for (size_t c = 0; c < wide; c += PIECE) {
            const size_t count = wide - c < PIECE ? wide - c : PIECE, place = r * wide + c;
            path_piece(&brush, (int64_t)(patch->first_row + r), (int64_t)(patch->first_column + c),
                       1, count, pixels + place, cores ? cores + place : NULL);
            sum += sum_of(pixels + place, count);
        }
    if (!is_whole(patch, &box))
        sum = box_sum(&brush, &box);
    if (!(sum > 0.0)) { /* no sample hits the particle */
        memset(pixels, 0, wide * tall * sizeof *pixels);
        put_whole(&brush, patch, volume * (d->at ? d->at->oxide : 1.0), pixels);
        return;
    }
    const double scale = volume / (sum * d->view->pixel * d->view->pixel);
    if (!d->at) {
        for (size_t k = 0; k < wide * tall; k++)
            pixels[k] *= (float)scale;
        return;
    }
    for (size_t r = 0; r < tall; r++)
        row_losses(&brush, patch, patch->first_row + r, scale, d->at, cores + r * wide,
                   pixels + r * wide);
}

/* Note the box of particle i if some of it is in the view.  false when memory is short. */
static bool note_patch(const Model *m, const View *view, size_t i, size_t *pixels, Patches *list)
{
    Picture picture;
    bodies_of(m, i, &picture);
    picture_box(&picture);
    const Box box = box_of(&picture, view);
    const int64_t bottom = (int64_t)view->height - 1, right = (int64_t)view->width - 1;
    if (box.last_column < 0 || box.last_row < 0 || box.first_column > right ||
        box.first_row > bottom)
        return true;
    if (list->count == list->room) {
        const size_t room = 2 * list->room + 64;
        Patch *grown = realloc(list->patch, room * sizeof *grown);
        if (!grown)
            return false;
        list->patch = grown;
        list->room = room;
    }
    Patch *patch = &list->patch[list->count++];
    patch->particle = i;
    patch->first_row = (size_t)(box.first_row > 0 ? box.first_row : 0);
    patch->first_column = (size_t)(box.first_column > 0 ? box.first_column : 0);
    patch->last_row = (size_t)(box.last_row < bottom ? box.last_row : bottom);
    patch->last_column = (size_t)(box.last_column < right ? box.last_column : right);
    patch->offset = *pixels;
    *pixels += (patch->last_row - patch->first_row + 1) *
               (patch->last_column - patch->first_column + 1);
    return true;
}

bool patches_draw(const Model *m, const RowKernels *rows, const View *view, const Attenuation *at,
                  double energy_keV, size_t threads, Patches *patches)
{
    size_t pixels = 0;
    patches->count = 0;
    for (size_t i = 0; i < m->particles.count; i++)
        if (!note_patch(m, view, i, &pixels, patches))
            return false;
    patches->pixels = pixels;
    if (2 * pixels > patches->room_pool) {
        float *pool = realloc(patches->pool, 2 * pixels * sizeof *pool);
        if (!pool)
            return false;
        patches->pool = pool;
        patches->room_pool = 2 * pixels;
    }
    Drawing drawing = {m, rows, view, at, energy_keV, patches};
    parallel_for(threads, patches->count, draw_patch, &drawing);
    return true;
}

void patches_add(const Patches *patches, size_t row, float *line)
{
    for (size_t k = 0; k < patches->count; k++) {
        const Patch *patch = &patches->patch[k];
        if (row < patch->first_row || row > patch->last_row)
            continue;
        const size_t wide = patch->last_column - patch->first_column + 1;
        const float *from = patches->pool + patch->offset + (row - patch->first_row) * wide;
        for (size_t c = 0; c < wide; c++)
            line[patch->first_column + c] += from[c];
    }
}

void patches_free(Patches *patches)
{
    free(patches->patch);
    free(patches->pool);
    *patches = (Patches){0};
}
