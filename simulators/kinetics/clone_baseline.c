/* The hot loops for any processor. */
#include "kernels.h"

#define VECTOR_BYTES 16u

#include "box_kernels.h"
#include "particle_kernels.h"
#include "row_kernels.h"

extern const Kernels kernels_baseline;
extern const RowKernels row_kernels_baseline;

const Kernels kernels_baseline = {
    .name = "baseline",
#include "kernel_table.h"
};

const RowKernels row_kernels_baseline = {
    .path = path_kernel,
    .transmit = transmit_kernel,
    .electrons = electrons_kernel,
    .spread = spread_kernel,
    .readout = readout_kernel,
    .count = count_kernel,
};
