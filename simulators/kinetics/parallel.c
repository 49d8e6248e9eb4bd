#include "parallel.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct {
    atomic_size_t next;
    size_t count;
    void (*work)(void *context, size_t k);
    void *context;
} Crew;

static void *take_turns(void *argument)
{
    Crew *crew = argument;
    for (;;) {
        const size_t k = atomic_fetch_add_explicit(&crew->next, 1, memory_order_relaxed);
        if (k >= crew->count)
            return NULL;
        crew->work(crew->context, k);
    }
}

void parallel_for(size_t threads, size_t count, void (*work)(void *context, size_t k),
                  void *context)
{
    Crew crew = {.count = count, .work = work, .context = context};
    pthread_t hand[THREADS_MOST];
    size_t hands = 0;
    atomic_init(&crew.next, 0);
    while (hands + 1 < threads && hands + 1 < count && hands < THREADS_MOST &&
           pthread_create(&hand[hands], NULL, take_turns, &crew) == 0)
        hands++;
    (void)take_turns(&crew);
    for (size_t k = 0; k < hands; k++)
        (void)pthread_join(hand[k], NULL);
}
