/* The lattices of a particle: which, how much of it, and how much of that in order. */
#ifndef STMTEM_GRAINS_H
#define STMTEM_GRAINS_H

#include "model.h"

/* Share of particle i that has its second lattice; 0 when no grain boundary lives in it. */
double grain_second_share(const Model *m, size_t i);

/* BCC share of the atoms of particle i, 0 when they are too few for spots. */
double grain_crystalline(const Model *m, size_t i);

/* One lattice; two rows a particle while it is a bicrystal. */
typedef struct {
    int64_t uid, lattice;
    double volume_nm3, crystalline;
    double rotation[9]; /* rows x, y, z of the view; columns a, b, c of the lattice */
} GrainRecord;

/* `out` has room for 2*particles.count records; returns how many. */
size_t grain_records(const Model *m, GrainRecord *out);

#endif
