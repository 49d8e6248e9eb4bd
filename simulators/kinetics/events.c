#include "events.h"

#include <stdlib.h>
#include <string.h>

static bool events_reserve(Events *e)
{
    if (e->count < e->room)
        return true;
    if (e->count >= EVENTS_KEPT) { /* drop the older half */
        const size_t half = e->count / 2;
        memmove(e->log, e->log + half, (e->count - half) * sizeof *e->log);
        e->count -= half;
        e->settled = e->settled > half ? e->settled - half : 0;
        e->lost += half;
        return true;
    }
    const size_t room = e->room ? 2 * e->room : 256;
    Event *grown = realloc(e->log, room * sizeof *grown);
    if (!grown)
        return false;
    e->log = grown;
    e->room = room;
    return true;
}

void events_log(Events *e, Event event)
{
    if (!events_reserve(e)) {
        e->failed = true;
        return;
    }
    e->log[e->count++] = event;
}

typedef struct {
    double time;
    size_t place;
} Moment;

static int by_time(const void *x, const void *y)
{
    const Moment *a = x, *b = y;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return a->place < b->place ? -1 : (a->place > b->place);
}

void events_settle(Events *e)
{
    const size_t count = e->count - e->settled;
    if (count == 0)
        return;
    Event *fresh = e->log + e->settled;
    bool ordered = true;
    for (size_t i = 1; i < count && ordered; i++)
        ordered = fresh[i - 1].time <= fresh[i].time;
    e->settled = e->count;
    if (ordered)
        return;
    Moment *moment = malloc(count * sizeof *moment);
    Event *copy = malloc(count * sizeof *copy);
    if (moment && copy) {
        for (size_t i = 0; i < count; i++)
            moment[i] = (Moment){fresh[i].time, i};
        memcpy(copy, fresh, count * sizeof *copy);
        qsort(moment, count, sizeof *moment, by_time);
        for (size_t i = 0; i < count; i++)
            fresh[i] = copy[moment[i].place];
    } else {
        e->failed = true;
    }
    free(moment);
    free(copy);
}
