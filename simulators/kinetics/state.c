#include "state.h"

#include <stdlib.h>
#include <string.h>

#include "soundness.h"

#define LAYOUT 0x53544D4B494E3034u /* "STMKIN04"; another byte order reads another number */

typedef struct {
    uint64_t layout, checksum;
    uint64_t seed, parameters, particles, sites, events;
    int64_t tick, clock_ps;
    uint64_t next_uid, cycle, stripped, events_lost;
    double eta, eta_mean, trend, bias, current, faradaic_current, kirchhoff;
    LongSum charge, net_volume, deposited, stripped_volume, eroded, placed;
} Header;

/* Where the bytes go to or come from; one walk over the fields serves both ways. */
typedef struct {
    unsigned char *to;
    const unsigned char *from;
} Cursor;

static void pass(Cursor *c, void *field, size_t size)
{
    if (size == 0)
        return;
    if (c->to) {
        memcpy(c->to, field, size);
        c->to += size;
    } else {
        memcpy(field, c->from, size);
        c->from += size;
    }
}

static size_t particle_bytes(void)
{
    size_t sum = 0;
#define X(type, name) sum += sizeof(type);
    PARTICLE_STATE(X)
#undef X
    return sum;
}

static size_t body_size(size_t particles, size_t sites, size_t events)
{
    return sizeof(Parameters) + particles * particle_bytes() +
           sites * (2 * sizeof(double) + 1) + events * sizeof(Event);
}

static void walk(Cursor *c, Parameters *par, Particles *p, Sites *t, Events *e)
{
    pass(c, par, sizeof *par);
#define X(type, name) pass(c, p->name, p->count * sizeof(type));
    PARTICLE_STATE(X)
#undef X
    pass(c, t->hazard, t->count * sizeof(double));
    pass(c, t->threshold, t->count * sizeof(double));
    pass(c, t->used, t->count);
    pass(c, e->log, e->count * sizeof(Event));
}

/* FNV-1a over the body and over the header without its checksum. */
static uint64_t checksum_of(Header h, const unsigned char *body, size_t size)
{
    uint64_t sum = 0xCBF29CE484222325u;
    unsigned char head[sizeof h];
    h.checksum = 0;
    memcpy(head, &h, sizeof h);
    for (size_t i = 0; i < sizeof h; i++)
        sum = (sum ^ head[i]) * 0x100000001B3u;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ body[i]) * 0x100000001B3u;
    return sum;
}

size_t state_size(const Model *m)
{
    return sizeof(Header) + body_size(m->particles.count, m->sites.count, m->events.count);
}

void state_save(const Model *m, unsigned char *out)
{
    Header h;
    memset(&h, 0, sizeof h);
    h.layout = LAYOUT;
    h.seed = m->seed;
    h.parameters = parameter_count;
    h.particles = m->particles.count;
    h.sites = m->sites.count;
    h.events = m->events.count;
    h.events_lost = m->events.lost;
    h.tick = m->tick;
    h.clock_ps = m->clock_ps;
    h.next_uid = m->next_uid;
    h.cycle = m->cycle;
    h.stripped = m->stripped;
    h.eta = m->eta;
    h.eta_mean = m->eta_mean;
    h.trend = m->trend;
    h.bias = m->bias;
    h.current = m->current;
    h.faradaic_current = m->faradaic_current;
    h.kirchhoff = m->kirchhoff;
    h.charge = m->charge;
    h.net_volume = m->net_volume;
    h.deposited = m->deposited;
    h.stripped_volume = m->stripped_volume;
    h.eroded = m->eroded;
    h.placed = m->placed;
    Model copy = *m; /* the walk wants pointers it may write through; it only reads here */
    Cursor c = {.to = out + sizeof h};
    walk(&c, &copy.par, &copy.particles, &copy.sites, &copy.events);
    h.checksum = checksum_of(h, out + sizeof h, state_size(m) - sizeof h);
    memcpy(out, &h, sizeof h);
}

static bool room_for(Model *m, const Header *h)
{
    if (!particles_reserve(&m->particles, (size_t)h->particles))
        return false;
    if (h->events > m->events.room) {
        Event *log = realloc(m->events.log, (size_t)h->events * sizeof *log);
        if (!log)
            return false;
        m->events.log = log;
        m->events.room = (size_t)h->events;
    }
    return true;
}

/* Into a fresh model; NULL when done. */
static const char *read_into(Model *m, const Header *h, const unsigned char *body)
{
    if (!room_for(m, h))
        return "memory is short";
    for (uint64_t i = 0; i < h->particles; i++)
        (void)particles_append(&m->particles);
    m->events.count = m->events.settled = (size_t)h->events;
    Parameters par;
    Cursor c = {.from = body};
    walk(&c, &par, &m->particles, &m->sites, &m->events);
    if (memcmp(&par, &m->par, sizeof par) != 0)
        return "a state of other parameters";
    m->events.lost = h->events_lost;
    m->tick = h->tick;
    m->clock_ps = h->clock_ps;
    m->next_uid = h->next_uid;
    m->cycle = h->cycle;
    m->stripped = h->stripped != 0;
    m->eta = h->eta;
    m->eta_mean = h->eta_mean;
    m->trend = h->trend;
    m->bias = h->bias;
    m->current = h->current;
    m->faradaic_current = h->faradaic_current;
    m->kirchhoff = h->kirchhoff;
    m->charge = h->charge;
    m->net_volume = h->net_volume;
    m->deposited = h->deposited;
    m->stripped_volume = h->stripped_volume;
    m->eroded = h->eroded;
    m->placed = h->placed;
    return model_unsound(m) ? "damaged" : NULL;
}

const char *state_load(Model *m, const unsigned char *bytes, size_t size)
{
    Header h;
    if (size < sizeof h)
        return "too short";
    memcpy(&h, bytes, sizeof h);
    if (h.layout != LAYOUT || h.parameters != parameter_count)
        return "not a state of this version";
    if (h.seed != m->seed || h.sites != m->sites.count)
        return "a state of another seed or specimen";
    if (h.particles > size || h.events > size || h.events > EVENTS_KEPT ||
        size - sizeof h != body_size((size_t)h.particles, (size_t)h.sites, (size_t)h.events) ||
        h.checksum != checksum_of(h, bytes + sizeof h, size - sizeof h))
        return "damaged";
    Model *fresh = model_create(&m->par, m->seed);
    if (!fresh)
        return "memory is short";
    fresh->kernels = m->kernels;
    const char *complaint = read_into(fresh, &h, bytes + sizeof h);
    if (!complaint) { /* change places, so that a refused state changes nothing */
        const Model before = *m;
        *m = *fresh;
        *fresh = before;
    }
    model_free(fresh);
    return complaint;
}
