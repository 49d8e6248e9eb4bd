/*
 * State of the specimen and its advance in whole ticks.
 *
 * Units inside the core: nm, s, V, pA, pC, pF and TOhm (V/pA), so that Ohm's law and the
 * capacitor need no factors.  Volumes in nm3 are the conserved quantity; charge follows from
 * them: Omega/e0 nm3 per pC.
 *
 * Signs: the bias U is what stands at the fibre, negative deposits.  The overpotential eta is
 * positive while depositing.
 */
#ifndef STMTEM_MODEL_H
#define STMTEM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "geometry.h"
#include "parameters.h"

/* Numbers derived once from the parameters. */
typedef struct {
    double f;                  /* e0/(kB T), 1/V */
    double faraday;            /* Omega/e0, nm3 per pC */
    double kelvin;             /* 2 gamma Omega / e0, V nm (0 when the effect is off) */
    double mullins;            /* D_s gamma Omega^(4/3)/(kB T) without the size factor, nm4/s */
    double hop;                /* c_m D_s Omega^(4/3), nm6/s: D_c = hop size(R) / R^4 (1-phi)^2 */
    double series, parallel, leak; /* TOhm */
    double birth_volume;       /* n0 Omega, nm3 */
    double gone_volume;        /* a particle smaller than this that dissolves is gone, nm3 */
    double critical;           /* 2 gamma Omega / e0 for the radius of a nucleus, V nm */
    double period;             /* circumference of a fibre, nm */
    ContactLine line;
} Derived;

/* One array a field; all of length particles.room. */
#define PARTICLE_FIELDS(X)                                                                  \
    X(uint64_t, uid)           /* identity, never used twice */                             \
    X(size_t, fibre)                                                                        \
    X(double, s)               /* along the fibre, nm */                                    \
    X(double, y)               /* around it, nm, 0 <= y < period */                         \
    X(double, volume)          /* nm3 */                                                    \
    X(double, base)            /* radius a of the contact line, nm */                       \
    X(double, tau)             /* tan(theta/2), kept with (volume, base) */                 \
    X(double, phi)             /* facet order parameter, 0 droplet ... 1 faceted */         \
    X(double, feed)            /* factor of the transport limits, set by the site */        \
    X(double, neck)            /* distance of the two fused bodies, nm; 0 = one body */     \
    X(double, neck_direction)  /* from the larger body to the smaller, rad in (s, y) */     \
    X(double, neck_share)      /* volume share of the smaller body */                       \
    X(uint64_t, lattice)       /* orientation of the (larger) grain */                      \
    X(uint64_t, lattice_2)     /* orientation of the second grain */                        \
    X(double, boundary_life)   /* s that the grain boundary still lives; 0 = one grain */   \
    X(double, born)            /* s */                                                      \
    X(double, current)         /* mean over the last tick, pA, + deposits */                \
    X(double, free_growth)     /* dR/dt of the unfaceted particle, nm/s */                  \
    X(int, side)               /* of the contact line: +1 advancing, 0 pinned, -1 receding */ \
    X(int, level)              /* 0 droplet, 1 local facets, 2 faceted */

typedef struct {
    size_t count, room;
#define X(type, name) type *name;
    PARTICLE_FIELDS(X)
#undef X
} Particles;

typedef struct {
    size_t count;          /* all fibres; those of fibre f are [f*per_fibre, (f+1)*per_fibre) */
    size_t per_fibre;
    size_t *fibre;
    double *s, *y;         /* nm */
    double *rate_factor;   /* e^z */
    double *feed;
    double *hazard;        /* integral of the rate */
    double *threshold;     /* the site fires when its hazard reaches this */
    unsigned char *used, *blocked;
} Sites;

/* Points of all fibres sorted into cells; see grid_* in motion.h. */
typedef struct {
    size_t fibres, along, around;
    double cell_s, cell_y, length, period;
    size_t *start; /* first item of a cell; cells + 1 entries */
    size_t *item;
    size_t *cell;  /* cell of a point */
    size_t room_cells, room_items;
} Grid;

enum {
    EVENT_BIRTH = 0,
    EVENT_MERGE = 1,
    EVENT_FACET_ON = 2,
    EVENT_FACET_OFF = 3,
    EVENT_DEPIN = 4,
    EVENT_GONE = 5,
    EVENT_BOUNDARY_END = 6,
    EVENT_KIND_COUNT = 7
};

typedef struct {
    double time;   /* s */
    int64_t kind;
    uint64_t uid;
    int64_t other; /* merge: uid of the absorbed; facet on/off: level reached; else 0 */
    double volume; /* nm3 */
    int64_t fibre;
} Event;

#define EVENTS_KEPT ((size_t)1 << 18)

typedef struct {
    size_t count, room;
    uint64_t lost; /* oldest events dropped because more than EVENTS_KEPT came */
    bool failed;   /* memory ran out while logging */
    Event *log;
} Events;

typedef struct {
    size_t i, j;
} Pair;

/* Work space of one tick. */
typedef struct {
    size_t room;
    double *forward, *backward; /* j0 S exp(-+...) of (BV), pA */
    double *plating, *stripping;/* transport limits, pA */
    double *m_plate, *m_strip;  /* facet factors */
    size_t room_pairs;
    Pair *pair;
    unsigned char *taken;
} Scratch;

/* A sum carried in two doubles, so that the charge balance survives complete stripping. */
typedef struct {
    double high, low;
} LongSum;

/* What one call of advance asks for. */
typedef struct {
    double bias, bias_end;  /* V at the fibre, linear from the start of the call to its end */
    bool open;              /* no contact or relay open */
    bool terminals_off;     /* relay open: the meter sees nothing either */
    double series;          /* TOhm added to R_s */
    double beam;            /* e/(nm2 s) on the specimen */
    int64_t start_ps, duration_ps;
} Drive;

typedef struct Model {
    Parameters par;
    Derived d;
    uint64_t seed;
    int64_t tick;           /* ticks done */
    int64_t clock_ps;       /* time asked for so far; runs ahead of the ticks by less than one */
    int64_t tick_ps;
    Particles particles;
    Sites sites;
    Grid site_grid, particle_grid;
    Events events;
    Scratch scratch;
    uint64_t next_uid;
    uint64_t cycle;         /* deposition half-cycles begun */
    bool stripped;          /* the last half-cycle took lithium away */

    double eta;             /* V */
    double bias;            /* at the terminals at the end of the last tick, V */
    double current;         /* pA, mean over the last tick, instrument's sign */
    LongSum charge;         /* pC, integral of current */
    LongSum net_volume;     /* nm3 deposited minus stripped, by charge */
    LongSum deposited, stripped_volume, eroded; /* nm3, gross */
    LongSum placed;         /* nm3 that model_place() put there */
    double faradaic_current; /* pA, mean over the last tick, + deposits */
    double kirchhoff;       /* residual of (C) in the last tick over the largest term */

    void *imaging;          /* tables of image.c, made on first use */
} Model;

/* NULL when memory is short.  The parameters must have passed parameters_complaint(). */
Model *model_create(const Parameters *par, uint64_t seed);
void model_free(Model *m);

/* Book the time of a call; then model_run() until no tick is due. */
void model_begin(Model *m, Drive *drive, double seconds);

/* Forget time that was asked for and not yet run. */
void model_cancel(Model *m);

/* Do up to most_ticks of the due ticks.  Returns ticks done, -1 when memory is short (the state
 * is that of the last whole tick). */
int64_t model_run(Model *m, const Drive *drive, int64_t most_ticks);

/* A crystal that is put on a fibre from outside. */
typedef struct {
    double fibre, s, y;     /* number; nm along (0 ... length) and around */
    double volume;          /* nm3 */
    double angle;           /* contact angle, rad; NaN: advancing */
    double phi, feed;       /* 0 ... 1; factor of the transport limits */
} Placing;

/* Put `count` crystals there.  NULL when done, else what is wrong with one of them, and none is
 * there.  Their uids follow each other and start at *first_uid. */
const char *model_place(Model *m, const Placing *list, size_t count, uint64_t *first_uid);

/* Time at which so many ticks are done, s. */
double model_time(const Model *m, int64_t ticks);

/* Sum of the living volumes, nm3, exact to the last bit. */
double model_volume(const Model *m);

/* Melting-point depression of the surface diffusivity: exp(min(R_D/R, 6)). */
double model_size_factor(const Model *m, double radius);

void model_log(Model *m, double time, int kind, uint64_t uid, int64_t other, double volume,
               size_t fibre);

/* Append a particle; the room was reserved by the tick.  Returns its index. */
size_t particles_append(Particles *p);
/* Remove by moving the last one here. */
void particles_remove(Particles *p, size_t i);
bool particles_reserve(Particles *p, size_t room);

void long_sum_add(LongSum *sum, double term);
static inline double long_sum_value(const LongSum *sum)
{
    return sum->high + sum->low;
}

/* Change the volume of particle i and book exactly what the rounding left of it. */
void model_set_volume(Model *m, size_t i, double volume);

/* Book the volume change before -> after as deposited or stripped by charge. */
void model_book(Model *m, double before, double after);

#endif
