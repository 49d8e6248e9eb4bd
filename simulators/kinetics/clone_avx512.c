/* The hot loops for processors with AVX-512. */
#include "kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,bmi2,prefer-vector-width=512")
#define BUILD avx512
#define VECTOR_BYTES 64u
#include "clone_body.h"
#pragma GCC pop_options
#else
typedef int no_clone_here; /* a translation unit must not be empty */
#endif
