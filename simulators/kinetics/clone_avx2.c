/* The hot loops for processors with AVX2. */
#include "kernels.h"

#define VECTOR_BYTES 32u

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx2,bmi2")
#include "box_kernels.h"
#include "particle_kernels.h"
#include "row_kernels.h"

extern const Kernels kernels_avx2;
extern const RowKernels row_kernels_avx2;

const Kernels kernels_avx2 = {
    .name = "avx2",
#include "kernel_table.h"
};

const RowKernels row_kernels_avx2 = {
    .path = path_kernel,
    .transmit = transmit_kernel,
    .electrons = electrons_kernel,
    .spread = spread_kernel,
    .readout = readout_kernel,
    .count = count_kernel,
};
#pragma GCC pop_options
#else
typedef int no_clone_here; /* a translation unit must not be empty */
#endif
