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

void events_settle(Events *e)
{
    for (size_t i = e->settled + 1; i < e->count; i++) { /* few, and nearly in order */
        const Event moving = e->log[i];
        size_t k = i;
        for (; k > e->settled && e->log[k - 1].time > moving.time; k--)
            e->log[k] = e->log[k - 1];
        e->log[k] = moving;
    }
    e->settled = e->count;
}
