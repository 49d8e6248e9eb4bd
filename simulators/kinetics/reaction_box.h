/*
 * Point particles that walk in a periodic box and fuse when they meet: A + A -> A.
 *
 * It checks the machinery of motion and contact against closed forms and against other codes.
 *
 * One step: every particle moves by sqrt(2 D dt) times a normal number along each axis, keyed by
 * (seed; uid, step).  Then all pairs nearer than the radius, nearest images, are fused in rising
 * order of (smaller uid, larger uid), each particle at most once; this is repeated until no such
 * pair is left.  The fused particle sits in the middle and keeps the smaller uid.
 *
 * Contacts come from a list of pairs nearer than radius + skin (Verlet, Phys. Rev. 159, 1967, 98),
 * made anew from cells as soon as a particle has gone further than skin/2: no contact is missed.
 * Units: any one of length, seconds, and length^2/s for D.
 */
#ifndef STMTEM_REACTION_BOX_H
#define STMTEM_REACTION_BOX_H

#include "box_geometry.h"
#include "kernels.h"

typedef struct {
    uint64_t count, seed;
    int dimensions;
    double length, diffusivity, radius, step_s;
    const char *instructions; /* "auto" or the name of an instruction set */
    bool every_pair;          /* no list: look at every pair in every step, as a check */
} BoxSettings;

typedef struct {
    uint64_t kept, gone; /* uids */
    int32_t a, b;        /* where they are */
} BoxContact;

typedef struct {
    BoxSettings set;
    const Kernels *kernels;
    double spread;      /* rms displacement along an axis in a step */
    uint64_t step;      /* steps done */
    uint64_t listings;  /* times that the pairs were listed */
    size_t alive;       /* particles */
    size_t filled;      /* places in use; those of particles that are gone hold NaN */
    size_t room;        /* places: whole tiles, at least one of them never used */
    uint64_t *uid;
    double *x[3], *start[3], *spare[3];
    uint64_t *spare_uid;
    uint32_t *cell_of, *cell_start;
    size_t room_cells;
    double far_square;  /* see BoxMove */
    size_t pairs, room_pairs;
    int32_t *a, *b;
    uint32_t *found;
    size_t room_contacts;
    BoxContact *contact;
    unsigned char *taken;
    bool stale;         /* the list must be made before it is used */
    bool unfinished;    /* the particles have moved, contacts are still to be looked for */
} ReactionBox;

/* What is wrong with the settings, or NULL. */
const char *box_complaint(const BoxSettings *set);

/* NULL when memory is short.  The particles start at random places. */
ReactionBox *box_create(const BoxSettings *set);
void box_free(ReactionBox *b);

/* False when memory is short; a later call takes up the step that was not finished. */
bool box_run(ReactionBox *b, uint64_t steps);

/* Positions, one row of `dimensions` numbers a particle, and uids, in rising order of uid. */
bool box_export(const ReactionBox *b, bool folded, double *rows, int64_t *uids);

/* ---- inside ---- */

/* Sort the particles by cell, drop those that are gone and list the near pairs (box_pairs.c). */
bool box_list_pairs(ReactionBox *b);

/* Room for `count` more pairs, or contacts. */
bool box_reserve_pairs(ReactionBox *b, size_t more);
bool box_reserve_contacts(ReactionBox *b, size_t count);

/* The geometry of the box, without pairs. */
BoxPairs box_geometry(const ReactionBox *b);

#endif
