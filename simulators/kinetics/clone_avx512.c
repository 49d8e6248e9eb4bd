/* The hot loops for processors with AVX-512. */
#include "kernels.h"

#define VECTOR_BYTES 64u

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,bmi2,prefer-vector-width=512")
#include "box_kernels.h"
#include "particle_kernels.h"
#include "row_kernels.h"

extern const Kernels kernels_avx512;
extern const RowKernels row_kernels_avx512;

const Kernels kernels_avx512 = {
    .name = "avx512",
#include "kernel_table.h"
};

const RowKernels row_kernels_avx512 = {
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
