/* The hot loops for processors with AVX2. */
#include "kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx2,bmi2")
#define BUILD avx2
#define VECTOR_BYTES 32u
#include "clone_body.h"
#pragma GCC pop_options
#else
typedef int no_clone_here; /* a translation unit must not be empty */
#endif
