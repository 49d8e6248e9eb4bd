#include "kernels.h"

#include <string.h>

#include "rows.h"

extern const Kernels kernels_baseline;
extern const RowKernels row_kernels_baseline;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES 1
extern const Kernels kernels_avx2, kernels_avx512;
extern const RowKernels row_kernels_avx2, row_kernels_avx512;
#endif

/* The builds in this order, the widest last. */
enum { BASELINE, AVX2, AVX512, BUILDS };

static bool known_here(int build)
{
#ifdef CLONES
    __builtin_cpu_init();
    if (build == AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2");
    if (build == AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
#endif
    return build == BASELINE;
}

/* The number of the build of this name, -1 when there is none here. */
static int build_named(const char *name)
{
    static const char *const names[BUILDS] = {"baseline", "avx2", "avx512"};
    const bool widest = strcmp(name, "auto") == 0;
    for (int build = BUILDS - 1; build >= 0; build--)
        if ((widest || strcmp(name, names[build]) == 0) && known_here(build))
            return build;
    return -1;
}

const Kernels *kernels_named(const char *name)
{
    static const Kernels *const builds[BUILDS] = {
        &kernels_baseline,
#ifdef CLONES
        &kernels_avx2,
        &kernels_avx512,
#endif
    };
    const int build = build_named(name);
    return build < 0 ? NULL : builds[build];
}

const RowKernels *row_kernels_named(const char *name)
{
    static const RowKernels *const builds[BUILDS] = {
        &row_kernels_baseline,
#ifdef CLONES
        &row_kernels_avx2,
        &row_kernels_avx512,
#endif
    };
    const int build = build_named(name);
    return build < 0 ? NULL : builds[build];
}
