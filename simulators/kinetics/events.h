/* What happened, with times exact within a tick: the history that tests and screens read. */
#ifndef STMTEM_EVENTS_H
#define STMTEM_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    size_t settled;/* those before are in order of time */
    Event *log;
} Events;

void events_log(Events *e, Event event);

/* Put the events since the last call in order of time; equal times stay as they came. */
void events_settle(Events *e);

#endif
