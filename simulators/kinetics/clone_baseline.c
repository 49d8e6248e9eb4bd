/* The hot loops for any processor. */
#include "kernels.h"

#include "particle_kernels.h"

extern const Kernels kernels_baseline;

const Kernels kernels_baseline = {
    .name = "baseline",
#include "kernel_table.h"
};
