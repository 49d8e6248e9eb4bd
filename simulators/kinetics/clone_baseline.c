/* The hot loops for any processor. */
#include "kernels.h"

#define BUILD baseline
#define VECTOR_BYTES 16u
#include "clone_body.h"
