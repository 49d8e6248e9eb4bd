/*
 * Which particles touch: the gap between two contact lines is below touch_gap_nm.
 *
 * A list of candidate pairs is kept over many ticks.  Each particle has an anchor, the place and
 * base radius at which its neighbourhood was last looked up; every pair that was closer than
 * touch_gap + skin then is in the list.  While no particle's contact line has come further than
 * skin/2 from its anchor, no other pair can touch; one that has is looked up anew.  So a tick
 * costs a pass over the particles and the few pairs that are near, and no contact is missed.
 */
#ifndef STMTEM_CONTACTS_H
#define STMTEM_CONTACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grid.h"
#include "particles.h"

typedef struct {
    double gap;  /* between the contact lines at the anchors, nm */
    size_t a, b; /* slots */
} Candidate;

typedef struct {
    size_t i, j; /* indices, uid of i below that of j */
    uint64_t uid_i, uid_j;
} Pair;

typedef struct {
    bool valid;
    bool crowd;          /* so many touch that they are thinned out before a list is made */
    double skin;         /* nm */
    double wide;         /* base radius beyond which a particle is kept as a giant, nm */
    Grid grid;           /* of the anchors at the time of the last rebuild */
    size_t slots, room_slots;
    size_t *index;       /* of a slot; NO_SLOT: the particle is gone */
    size_t *next;        /* slot after this one in its cell; NO_SLOT: last */
    size_t *cell;        /* of a slot */
    size_t *head, room_cells; /* first slot of a cell */
    size_t *giant, giants, room_giants;
    Candidate *candidate;
    size_t candidates, room_candidates;
    size_t sorted;       /* so many candidates are in order of gap; the others came later */
    double excursion;    /* the furthest of all particles from their anchors, nm; set each tick */
    size_t *loose, looses, room_loose; /* slots of particles that jumped */
    Pair *pair;          /* what contacts_find() found */
    size_t room_pairs;
} Contacts;

/* All touching pairs in order of their uids, in c->pair.  Returns how many, -1 when memory is
 * short. */
ptrdiff_t contacts_find(Contacts *c, const Parameters *par, double period, Particles *p);

/* Put the particles in the order of their cells, so that neighbours lie near in memory.  false
 * when memory is short. */
bool contacts_sort(Contacts *c, const Parameters *par, double period, Particles *p);

/* Particle i is gone; to be called before particles_remove(p, i). */
void contacts_forget(Contacts *c, Particles *p, size_t i);

/* Particle i jumped (fused); its neighbourhood will be looked up anew.  false when memory is
 * short. */
bool contacts_loosen(Contacts *c, Particles *p, size_t i);

void contacts_free(Contacts *c);

#endif
