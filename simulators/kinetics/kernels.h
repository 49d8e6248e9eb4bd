/*
 * The hot loops of the core, each in several builds of the same source: one for any processor
 * and, on x86-64, one for AVX2 and one for AVX-512.  The widest that the processor knows is
 * chosen at run time.  All give the same bits: the loops hold only IEEE operations without
 * contraction (-ffp-contract=off), and sums run over SUM_LANES lanes in a fixed order.
 *
 * Units as in model.h: nm, s, V, pA, pC, TOhm.
 */
#ifndef STMTEM_KERNELS_H
#define STMTEM_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK ((size_t)256) /* particles that a kernel takes at once */
#define SUM_LANES 8

/* What growth needs to know of parameters and overpotential; see circuit.h for the equations. */
typedef struct {
    double up_share, down_share;   /* alpha, 1 - alpha */
    double exchange;               /* pi j0, pA/nm2 */
    double capillary;              /* f G, nm */
    double plating, stripping;     /* 1/K_Lc, 1/K_La, nm/pA */
    double slow_growth, slow_strip;/* s_g, s_s */
    double up, down;               /* exp(alpha f eta), exp(-(1-alpha) f eta) */
    double faraday;                /* nm3/pC */
    double erosion;                /* pi b_e J, nm/s */
    double advancing, receding;    /* a/V^(1/3) at the two angles */
    double tau_advancing, tau_receding;
    double gone;                   /* nm3 */
    double tick;                   /* s */
} GrowthConstants;

/* One block of particles before a tick, and what became of it. */
typedef struct {
    const double *volume, *size, *base, *tau, *feed, *phi, *forward, *backward, *resist;
} GrowthInput;

typedef struct {
    double volume[BLOCK], size[BLOCK], base[BLOCK], tau[BLOCK];
    double forward[BLOCK], backward[BLOCK], resist[BLOCK];
    double eroded[BLOCK];      /* nm3 that the beam took */
    double turn[BLOCK];        /* change of the volume rate by growth at fixed eta, nm3/s */
    double free_growth[BLOCK]; /* dR/dt of the unfaceted particle, nm/s */
    signed char side[BLOCK];   /* of the contact line: +1 advancing, 0 pinned, -1 receding */
    unsigned char alone[BLOCK];/* 1: must be done again alone, in smaller steps */
    bool any_alone;
} GrowthOutput;

/* See shape.h. */
typedef struct {
    double premelting;       /* R_D, nm */
    double mullins;          /* without the size factor, nm4/s */
    double hop;              /* nm6/s */
    double rounding, flow;   /* c_r; kappa_f, nm2/s */
    double local_share, local_ratio_2;
    double feedback, switch_inverse, sharpness, rate;
    double edge;             /* beta_e */
    double tick;             /* s */
    bool stripping;          /* eta < 0 */
} ShapeConstants;

/* Sums of a block, combined from lanes. */
typedef struct {
    double net[SUM_LANES], net_low[SUM_LANES]; /* nm3 by charge, in two parts */
    double deposited[SUM_LANES], stripped[SUM_LANES], by_charge[SUM_LANES], trend[SUM_LANES];
} LedgerLanes;

typedef struct {
    double current, slope; /* pA, pA/V */
} CurrentSum;

struct BoxMove; /* of the reaction box; see box_geometry.h */
struct BoxPairs;

typedef struct Kernels {
    const char *name;

    /* exp factors of (BV) without the overpotential, and 1/(R g), for `count` particles. */
    void (*exchange)(const GrowthConstants *k, size_t count, const double *base, const double *tau,
                     const double *feed, double *forward, double *backward, double *resist);

    /* Sum of the particle currents and its slope at the overpotential of `k`. */
    CurrentSum (*currents)(const GrowthConstants *k, double per_volt, size_t count,
                           const double *forward, const double *backward, const double *resist,
                           const double *phi);

    /* One tick of growth for at most BLOCK particles. */
    void (*grow)(const GrowthConstants *k, size_t count, const GrowthInput *in, GrowthOutput *out);

    /* Add what a block gained and lost, and `turn`, to the lanes; by_charge per particle goes to `change`. */
    void (*ledger)(size_t count, const double *before, const double *after, const double *eroded,
                   const double *turn, double *change, LedgerLanes *lanes);

    /* phi after one tick and its level, B/R^4 (1/s) and the rms of a Brownian step (nm); at most
     * BLOCK. */
    void (*facets)(const ShapeConstants *k, size_t count, const double *resist, const double *feed,
                   const double *free_growth, double *phi, signed char *level, double *flattening,
                   double *spread);

    /* Brownian steps keyed by (seed, uid, tick); spread 0: stays.  At most BLOCK. */
    void (*walk)(uint64_t seed, uint64_t tick, double length, double period, size_t count,
                 const uint64_t *uid, const double *spread, double *s, double *y);

    /* The furthest that the contact line of any may have come to others since the anchor:
     * |ds| + |dy| + max(da, 0), nm.  At most BLOCK. */
    double (*excursion)(size_t count, const double *s, const double *y, const double *base,
                        const double *anchor_s, const double *anchor_y,
                        const double *anchor_base);

    /* One Brownian step; true when a particle is further than sqrt(far_square) from its start. */
    bool (*box_move)(const struct BoxMove *m);

    /* Numbers of the pairs nearer than sqrt(near_square), rising; `found` has room for all. */
    size_t (*box_near)(const struct BoxPairs *p, uint32_t *found);
} Kernels;

/* The kernels of this name ("auto", "baseline", "avx2", "avx512"); NULL when this build or this
 * processor does not have them. */
const Kernels *kernels_named(const char *name);

#endif
