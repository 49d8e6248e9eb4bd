/* The particles, one array a field; they have no fixed order, a uid names each. */
#ifndef STMTEM_PARTICLES_H
#define STMTEM_PARTICLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARTICLE_STATE(X)                                                                   \
    X(uint64_t, uid)           /* identity, never used twice */                             \
    X(size_t, fibre)                                                                        \
    X(double, s)               /* along the fibre, nm */                                    \
    X(double, y)               /* around it, nm, 0 <= y < period */                         \
    X(double, volume)          /* nm3 */                                                    \
    X(double, size)            /* its cube root, nm */                                      \
    X(double, base)            /* radius a of the contact line, nm */                       \
    X(double, tau)             /* tan(theta/2), kept with (volume, base) */                 \
    X(double, phi)             /* facet order parameter, 0 droplet ... 1 faceted */         \
    X(double, feed)            /* factor of the transport limits, set by the site */        \
    X(double, forward)         /* j0 S exp(-alpha f G/R), pA */                             \
    X(double, backward)        /* j0 S exp((1-alpha) f G/R), pA */                          \
    X(double, resist)          /* 1/(R feed), 1/nm */                                       \
    X(double, neck)            /* distance of the two fused bodies, nm; 0 = one body */     \
    X(double, neck_direction)  /* from the larger body to the smaller, rad in (s, y) */     \
    X(double, neck_share)      /* volume share of the smaller body */                       \
    X(uint64_t, lattice)       /* orientation of the (larger) grain */                      \
    X(uint64_t, lattice_2)     /* orientation of the second grain */                        \
    X(double, boundary_life)   /* s that the grain boundary still lives; 0 = one grain */   \
    X(double, born)            /* s */                                                      \
    X(double, current)         /* mean over the last tick, pA, + deposits */                \
    X(signed char, side)       /* of the line: +1 advancing, 0 pinned, -1 receding */       \
    X(signed char, level)      /* 0 droplet, 1 local facets, 2 faceted */                   \
    X(signed char, joined)     /* 1: it has a neck or a grain boundary */

/* What contacts.c notes down; it follows from the state and the past, and changes no result. */
#define PARTICLE_NOTES(X)                                                                   \
    X(double, anchor_s)        /* s, y and base when its contacts were looked up, nm */     \
    X(double, anchor_y)                                                                     \
    X(double, anchor_base)                                                                  \
    X(size_t, slot)            /* its number in the list of contacts; NO_SLOT: none */

#define PARTICLE_FIELDS(X) \
    PARTICLE_STATE(X)      \
    PARTICLE_NOTES(X)

#define NO_SLOT ((size_t)-1)
#define NO_ANCHOR 1e300 /* anchor_s of a particle whose contacts must be looked up */

typedef struct {
    size_t count, room;
#define X(type, name) type *name;
    PARTICLE_FIELDS(X)
#undef X
} Particles;

/* Room for so many in all; false when memory is short. */
bool particles_reserve(Particles *p, size_t room);

/* Append a particle, all fields zero, no slot, no anchor; the room was reserved.  Returns its index. */
size_t particles_append(Particles *p);

/* Remove by moving the last one here. */
void particles_remove(Particles *p, size_t i);

/* Put the particles in this order: order[k] is the present index of the k-th.  false when memory
 * is short; then nothing has moved. */
bool particles_reorder(Particles *p, const size_t *order);

void particles_free(Particles *p);

#endif
