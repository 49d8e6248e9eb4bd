/* What is in a picture, particle by particle: the ground truth for those who analyse frames. */
#ifndef STMTEM_TRUTH_H
#define STMTEM_TRUTH_H

#include "image.h"

/* X(type code of NumPy, C type, name) in the order of the record; every field is 8 bytes. */
#define TRUTH_RECORD(X)                 \
    X("i8", int64_t, uid)               \
    X("i8", int64_t, fibre)             \
    X("f8", double, row)                \
    X("f8", double, column)             \
    X("i8", int64_t, top)               \
    X("i8", int64_t, left)              \
    X("i8", int64_t, bottom)            \
    X("i8", int64_t, right)             \
    X("f8", double, projected_area_nm2) \
    X("f8", double, thickest_nm)        \
    X("f8", double, volume_in_view_nm3) \
    X("f8", double, volume_nm3)         \
    X("f8", double, diameter_nm)        \
    X("f8", double, contact_angle_rad)  \
    X("f8", double, phi)                \
    X("i8", int64_t, level)             \
    X("i8", int64_t, grains)            \
    X("f8", double, neck_nm)            \
    X("i8", int64_t, far_side)

typedef struct {
#define X(code, type, name) type name;
    TRUTH_RECORD(X)
#undef X
} TruthRecord;

/* Records of all particles of which something is in the view; `out` has room for all particles.
 * Returns how many, -1 when memory is short. */
ptrdiff_t truth_records(const Model *m, const View *view, TruthRecord *out);

#endif
