/* Work that several threads share for the length of one call. */
#ifndef STMTEM_PARALLEL_H
#define STMTEM_PARALLEL_H

#include <stddef.h>

#define THREADS_MOST 64

/* Call work(context, k) for k = 0 ... count - 1, each once, in up to `threads` threads of which
 * the caller is one; in the caller alone where no more can be had.  Returns when all are done. */
void parallel_for(size_t threads, size_t count, void (*work)(void *context, size_t k),
                  void *context);

#endif
