/* Sums of products of integers, exact in any order: what the predictive coder learns from.
 *
 * Halves above the diagonal are enough, matrices are symmetric. Products and sums stay below 2**53:
 * fused operations give the same. */
#include "walk.h"

#if STVC_DOTS
#include <immintrin.h>

#define VECTOR __m512d
#define VECTOR_LANES 8
#define NAMED(name) name##_8
#define TARGET __attribute__((target("avx512f")))
#define LOAD(from) _mm512_loadu_pd(from)
#define STORE(to, v) _mm512_storeu_pd(to, v)
#define SPREAD(x) _mm512_set1_pd(x)
#define MULTIPLY_ADD(a, b, c) _mm512_fmadd_pd(a, b, c)
#include "products_lanes.h"

#define VECTOR __m256d
#define VECTOR_LANES 4
#define NAMED(name) name##_4
#define TARGET __attribute__((target("avx2,fma")))
#define LOAD(from) _mm256_loadu_pd(from)
#define STORE(to, v) _mm256_storeu_pd(to, v)
#define SPREAD(x) _mm256_set1_pd(x)
#define MULTIPLY_ADD(a, b, c) _mm256_fmadd_pd(a, b, c)
#include "products_lanes.h"
#endif

static void add_plain(const products_batch *b, double *sums)
{
    const int64_t next = (b->variables + 3) / 4 * 4 * WALK_LANES;
    for (int64_t p = 0; p < b->count; p++) {
        const double *row = b->rows + p * b->wide;
        const double *weighted = b->weighted + p / WALK_LANES * next + p % WALK_LANES;
        for (int64_t i = 0; i < b->variables; i++) {
            const double one = weighted[i * WALK_LANES];
            double *to = sums + i * b->wide;
            for (int64_t j = i; j < b->wide; j++)
                to[j] += one * row[j];
        }
    }
}

void products_add(const products_batch *b, double *sums)
{
#if STVC_DOTS
    if (__builtin_cpu_supports("avx512f")) {
        add_8(b, sums);
        return;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        add_4(b, sums);
        return;
    }
#endif
    add_plain(b, sums);
}
