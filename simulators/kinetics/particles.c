#include "particles.h"

#include <stdlib.h>
#include <string.h>

bool particles_reserve(Particles *p, size_t room)
{
    if (room <= p->room)
        return true;
    room = room < 64 ? 64 : room + room / 2;
#define X(type, name)                                                   \
    {                                                                   \
        type *grown = realloc(p->name, room * sizeof *grown);           \
        if (!grown)                                                     \
            return false;                                               \
        p->name = grown;                                                \
    }
    PARTICLE_FIELDS(X)
#undef X
    p->room = room;
    return true;
}

size_t particles_append(Particles *p)
{
    const size_t i = p->count++;
#define X(type, name) p->name[i] = 0;
    PARTICLE_FIELDS(X)
#undef X
    p->slot[i] = NO_SLOT;
    p->anchor_s[i] = NO_ANCHOR;
    return i;
}

void particles_remove(Particles *p, size_t i)
{
    const size_t last = --p->count;
#define X(type, name) p->name[i] = p->name[last];
    PARTICLE_FIELDS(X)
#undef X
}

bool particles_reorder(Particles *p, const size_t *order)
{
    uint64_t *copy = malloc((p->count ? p->count : 1) * sizeof *copy); /* of the widest field */
    if (!copy)
        return false;
#define X(type, name)                                                   \
    {                                                                   \
        type *moved = (type *)(void *)copy;                             \
        memcpy(moved, p->name, p->count * sizeof *moved);               \
        for (size_t k = 0; k < p->count; k++)                           \
            p->name[k] = moved[order[k]];                               \
    }
    PARTICLE_FIELDS(X)
#undef X
    free(copy);
    return true;
}

void particles_free(Particles *p)
{
#define X(type, name) free(p->name);
    PARTICLE_FIELDS(X)
#undef X
    *p = (Particles){0};
}
