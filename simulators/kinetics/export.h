/* Flat records of the state, as the Python face shows them; every field is 8 bytes. */
#ifndef STMTEM_EXPORT_H
#define STMTEM_EXPORT_H

#include "model.h"

/* X(type code of NumPy, C type, name) in the order of the record. */
#define PARTICLE_RECORD(X)             \
    X("i8", int64_t, uid)              \
    X("i8", int64_t, fibre)            \
    X("f8", double, s_nm)              \
    X("f8", double, y_nm)              \
    X("f8", double, volume_nm3)        \
    X("f8", double, base_radius_nm)    \
    X("f8", double, contact_angle_rad) \
    X("f8", double, height_nm)         \
    X("f8", double, radius_nm)         \
    X("f8", double, diameter_nm)       \
    X("f8", double, side_area_nm2)     \
    X("f8", double, phi)               \
    X("f8", double, neck_nm)           \
    X("f8", double, neck_direction_rad)\
    X("f8", double, neck_share)        \
    X("i8", int64_t, grains)           \
    X("f8", double, boundary_life_s)   \
    X("f8", double, crystalline)       \
    X("f8", double, current_A)         \
    X("f8", double, feed)              \
    X("f8", double, age_s)             \
    X("f8", double, born_s)

typedef struct {
#define X(code, type, name) type name;
    PARTICLE_RECORD(X)
#undef X
} ParticleRecord;

/* `out` has room for particles.count records. */
void export_particles(const Model *m, ParticleRecord *out);

/* Side-view area of all caps, nm2. */
double export_side_area(const Model *m);

#endif
