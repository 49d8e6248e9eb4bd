#include "kernels.h"

#include <string.h>

extern const Kernels kernels_baseline;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES 1
extern const Kernels kernels_avx2, kernels_avx512;
#endif

/* The clone if the processor knows its instructions. */
static const Kernels *clone_named(const char *name)
{
#ifdef CLONES
    __builtin_cpu_init();
    if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return &kernels_avx512;
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2"))
        return &kernels_avx2;
#else
    (void)name;
#endif
    return NULL;
}

const Kernels *kernels_named(const char *name)
{
    if (strcmp(name, "baseline") == 0)
        return &kernels_baseline;
    if (strcmp(name, "auto") != 0)
        return clone_named(name);
    const Kernels *widest = clone_named("avx512");
    if (!widest)
        widest = clone_named("avx2");
    return widest ? widest : &kernels_baseline;
}
