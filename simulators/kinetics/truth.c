#include "truth.h"

/* Sums over the pixels of one patch. */
typedef struct {
    double mass, row, column, thickest;
    size_t covered, top, left, bottom, right;
} Extent;

static Extent extent_of(const Patch *patch, const float *pixels)
{
    Extent e = {.top = (size_t)-1, .left = (size_t)-1};
    const size_t wide = patch->last_column - patch->first_column + 1;
    for (size_t r = patch->first_row; r <= patch->last_row; r++)
        for (size_t c = patch->first_column; c <= patch->last_column; c++) {
            const double t =
                (double)pixels[(r - patch->first_row) * wide + (c - patch->first_column)];
            if (!(t > 0.0))
                continue;
            e.covered++;
            e.mass += t;
            e.row += t * (double)r;
            e.column += t * (double)c;
            e.thickest = t > e.thickest ? t : e.thickest;
            e.top = r < e.top ? r : e.top;
            e.left = c < e.left ? c : e.left;
            e.bottom = r > e.bottom ? r : e.bottom;
            e.right = c > e.right ? c : e.right;
        }
    return e;
}

static TruthRecord record_of(const Model *m, const View *view, const Patch *patch, Extent e)
{
    const Particles *p = &m->particles;
    const size_t i = patch->particle;
    const double pixel = view->pixel * view->pixel;
    const double turn = p->y[i] / m->d.period; /* 0 and 1/2: in the plane of the picture */
    return (TruthRecord){
        .uid = (int64_t)p->uid[i],
        .fibre = (int64_t)p->fibre[i],
        .row = e.row / e.mass,
        .column = e.column / e.mass,
        .top = (int64_t)e.top,
        .left = (int64_t)e.left,
        .bottom = (int64_t)e.bottom,
        .right = (int64_t)e.right,
        .projected_area_nm2 = (double)e.covered * pixel,
        .thickest_nm = e.thickest,
        .volume_in_view_nm3 = e.mass * pixel,
        .volume_nm3 = p->volume[i],
        .diameter_nm = 2.0 * p->base[i],
        .contact_angle_rad = cap_angle(p->tau[i]),
        .phi = p->phi[i],
        .level = p->level[i],
        .grains = p->boundary_life[i] > 0.0 ? 2 : 1,
        .neck_nm = p->neck[i],
        .far_side = turn > 0.5,
    };
}

ptrdiff_t truth_records(const Model *m, const View *view, TruthRecord *out)
{
    Patches patches = {0};
    const RowKernels *rows = row_kernels_named(m->kernels->name);
    ptrdiff_t count = -1;
    if (patches_draw(m, rows, view, NULL, 200.0, 1, &patches)) {
        count = 0;
        for (size_t k = 0; k < patches.count; k++) {
            const Patch *patch = &patches.patch[k];
            const Extent e = extent_of(patch, patches.pool + patch->offset);
            if (e.covered)
                out[count++] = record_of(m, view, patch, e);
        }
    }
    patches_free(&patches);
    return count;
}
