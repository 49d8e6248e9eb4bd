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

#include "contacts.h"
#include "events.h"
#include "geometry.h"
#include "kernels.h"
#include "ledger.h"
#include "parameters.h"
#include "particles.h"

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
    Grid site_grid;
    Contacts contacts;
    unsigned char *taken;   /* work space of fusion, one a particle */
    size_t room_taken;
    Events events;
    const Kernels *kernels;
    uint64_t next_uid;
    uint64_t cycle;         /* deposition half-cycles begun */
    bool stripped;          /* the last half-cycle took lithium away */

    double eta;             /* at the end of the last tick, V */
    double eta_mean;        /* over the last tick, V */
    double trend;           /* change of sum I by growth at fixed eta in the last tick, pA */
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

Derived derive_constants(const Parameters *par);

/* NULL when memory is short.  The parameters must have passed parameters_complaint().  The model
 * computes with the widest kernels there are; m->kernels may be set to others at any time. */
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

/* Book the volume change before -> after as deposited or stripped by charge. */
void model_book(Model *m, double before, double after);

#endif
