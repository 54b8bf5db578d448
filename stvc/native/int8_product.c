/* Products of 8-bit matrices, scaled, biased and rounded: `product` of stvc/model/int8.py.
 *
 * Some rows go side by side through some outputs, so that a weight that was loaded serves all of
 * them. Sums are exact in 32 bits whatever the bytes are: there are at most 2**15 columns. What
 * becomes of a sum is float32, as in torch: callers see to it that 24 bits hold all of it. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#if STVC_DOTS
#include <immintrin.h>

#define INTEGERS __m512i
#define LANES 16
#define ROWS 6  /* side by side: with these sums all registers are in use */
#define TILES 4 /* vectors of outputs, side by side */
#define KIND uint8_t /* of numbers of rows, as many as there are in 32 bits */
#define NAMED(name) name##_8
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define ZERO() _mm512_setzero_si512()
#define LOAD(from) _mm512_loadu_si512(from)
#define SPREAD(word) _mm512_set1_epi32(word)
/* As `_mm512_dpbusd_epi32`, which gcc 12 surrounds with copies of all sums. */
#define DOT(sum, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w))
TARGET
static inline void finish_8(const int8_product *p, __m512i sum, int64_t column, int64_t at,
                            void *out)
{
    const int64_t left = p->outputs - column;
    const __mmask16 mask = left >= LANES ? 0xFFFF : (__mmask16)((1 << left) - 1);
    __m512 found = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(p->scale + column));
    found = _mm512_add_ps(found, _mm512_loadu_ps(p->bias + column));
    if (!p->rounded) {
        _mm512_mask_storeu_ps((float *)out + at, mask, found);
        return;
    }
    __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(found), _mm512_set1_epi32(p->offset));
    whole = _mm512_min_epi32(_mm512_max_epi32(whole, ZERO()), _mm512_set1_epi32(p->top));
    _mm_mask_storeu_epi8((uint8_t *)out + at, mask, _mm512_cvtepi32_epi8(whole));
}
#include "int8_lanes.h"
#undef INTEGERS
#undef LANES
#undef ROWS
#undef TILES
#undef KIND
#undef NAMED
#undef TARGET
#undef ZERO
#undef LOAD
#undef SPREAD
#undef DOT

#define INTEGERS __m256i
#define LANES 8
#define ROWS 4
#define TILES 2
#define KIND int16_t
#define NAMED(name) name##_16
#define TARGET __attribute__((target("avx2")))
#define ZERO() _mm256_setzero_si256()
#define LOAD(from) _mm256_loadu_si256((const __m256i *)(from))
#define SPREAD(word) _mm256_set1_epi32(word)
#define DOT(sum, x, w) (sum) = _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
TARGET
static inline void finish_16(const int8_product *p, __m256i sum, int64_t column, int64_t at,
                             void *out)
{
    const int64_t left = p->outputs - column, count = left >= LANES ? LANES : left;
    __m256 found = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(p->scale + column));
    found = _mm256_add_ps(found, _mm256_loadu_ps(p->bias + column));
    if (!p->rounded) {
        float lanes[LANES];
        _mm256_storeu_ps(lanes, found);
        memcpy((float *)out + at, lanes, (size_t)count * sizeof *lanes);
        return;
    }
    __m256i whole = _mm256_add_epi32(_mm256_cvtps_epi32(found), _mm256_set1_epi32(p->offset));
    whole = _mm256_min_epi32(_mm256_max_epi32(whole, ZERO()), _mm256_set1_epi32(p->top));
    int32_t lanes[LANES];
    _mm256_storeu_si256((__m256i *)lanes, whole);
    for (int64_t k = 0; k < count; k++)
        ((uint8_t *)out)[at + k] = (uint8_t)lanes[k];
}
#include "int8_lanes.h"

stvc_status int8_multiply(const int8_product *p, int level, void *out)
{
    if (level <= NO_DOTS || level > attention_level() || p->columns > INT8_COLUMNS)
        return STVC_RANGE;
    return level >= DOTS_8 ? multiply_8(p, out) : multiply_16(p, out);
}
#else
stvc_status int8_multiply(const int8_product *p, int level, void *out)
{
    (void)p, (void)level, (void)out;
    return STVC_RANGE;
}
#endif
