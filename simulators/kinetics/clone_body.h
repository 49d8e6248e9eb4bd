/*
 * One build of the hot loops: tables of its functions.  The file that includes this has set BUILD
 * to its name, VECTOR_BYTES to the width of a register, and the instructions.
 */
#include "box_kernels.h"
#include "particle_kernels.h"
#include "row_kernels.h"

#define JOIN(a, b) a##b
#define NAMED(prefix, name) JOIN(prefix, name)
#define AS_TEXT(name) #name
#define TEXT(name) AS_TEXT(name)

extern const Kernels NAMED(kernels_, BUILD);
extern const RowKernels NAMED(row_kernels_, BUILD);

const Kernels NAMED(kernels_, BUILD) = {
    .name = TEXT(BUILD),
    .exchange = exchange_kernel,
    .currents = currents_kernel,
    .grow = grow_kernel,
    .ledger = ledger_kernel,
    .facets = facets_kernel,
    .walk = walk_kernel,
    .excursion = excursion_kernel,
    .box_move = box_move_kernel,
    .box_near = box_near_kernel,
};

const RowKernels NAMED(row_kernels_, BUILD) = {
    .path = path_kernel,
    .transmit = transmit_kernel,
    .electrons = electrons_kernel,
    .spread = spread_kernel,
    .readout = readout_kernel,
    .count = count_kernel,
};
