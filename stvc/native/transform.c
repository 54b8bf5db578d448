/* Between pixels and coefficients: bands mixed, blocks transformed; the twins are in
 * stvc/codec/spectral.py and transform.py.
 *
 * Products are those of integers in float64, exact in any order. A kernel of the block transform
 * is even or odd in both directions, so that a block's even and odd parts have a quarter of the
 * products each. */
#include "kernels.h"

#include <string.h>

enum {
    SIDE = 8,
    HALF = SIDE / 2,
    PARTS = 4, /* even and odd down, times even and odd across */
    PART = HALF * HALF,
    AT_ONCE = 64 /* pixels */
};

/* Rounds multiples of 2**-18 below 2**31 half up: a little more than they are, to the nearest. In
 * the sum with the great number, the lowest bits are those of the integer, whatever they are. */
static const double LITTLE = 1.0 / (1 << 20), GREAT = 6755399441055744.0 /* 1.5 * 2**52 */;

static inline int32_t rounded(double x)
{
    int64_t bits;
    x = x + LITTLE + GREAT;
    memcpy(&bits, &x, sizeof bits);
    return (int32_t)(uint32_t)(uint64_t)bits;
}

/* ---- bands ---- */

STVC_CLONES
static void mix_some(const double *matrix, int64_t bands, const double *in, int64_t size, int64_t n,
                     int32_t *out)
{
    for (int64_t i = 0; i < bands; i++) {
        double sums[AT_ONCE];
        for (int k = 0; k < AT_ONCE; k++)
            sums[k] = matrix[i * bands] * in[k];
        for (int64_t j = 1; j < bands; j++) {
            const double weight = matrix[i * bands + j], *row = in + j * AT_ONCE;
            for (int k = 0; k < AT_ONCE; k++)
                sums[k] += weight * row[k];
        }
        for (int64_t k = 0; k < n; k++)
            out[i * size + k] = rounded(sums[k]);
    }
}

STVC_CLONES
static void widen(const void *planes, int wide, int64_t at, int64_t n, double *out)
{
    if (wide)
        for (int64_t k = 0; k < n; k++)
            out[k] = ((const int32_t *)planes)[at + k];
    else
        for (int64_t k = 0; k < n; k++)
            out[k] = ((const uint16_t *)planes)[at + k];
}

void bands_mix_part(const double *matrix, int64_t bands, int64_t size, const void *planes,
                    int wide, int64_t first, int64_t count, int64_t next, int32_t *out)
{
    double in[TRANSFORM_BANDS * AT_ONCE];
    for (int64_t at = 0; at < count; at += AT_ONCE) {
        const int64_t n = count - at < AT_ONCE ? count - at : AT_ONCE;
        for (int64_t j = 0; j < bands; j++) {
            widen(planes, wide, j * size + first + at, n, in + j * AT_ONCE);
            for (int64_t k = n; k < AT_ONCE; k++)
                in[j * AT_ONCE + k] = 0;
        }
        mix_some(matrix, bands, in, next, n, out + at);
    }
}

void bands_mix(const double *matrix, int64_t bands, int64_t size, const void *planes, int wide,
               int32_t *out)
{
    bands_mix_part(matrix, bands, size, planes, wide, 0, size, size, out);
}

/* ---- blocks ---- */

typedef double numbers __attribute__((vector_size(32)));
enum { LANES = 4, VECTORS = PART / LANES };

/* (16,) times (16, 16), for each of four parts, two side by side. */
static inline __attribute__((always_inline)) void multiply_any(const double *matrix, const double *in,
                                                               double *out)
{
    for (int part = 0; part < PARTS; part += 2) {
        const double *rows = matrix + part * PART * PART;
        numbers sums[2 * VECTORS];
        /* Unrolled, the sums stay in registers. */
#pragma GCC unroll 8
        for (int v = 0; v < 2 * VECTORS; v++)
            sums[v] = (numbers){0};
        for (int i = 0; i < PART; i++)
#pragma GCC unroll 8
            for (int v = 0; v < 2 * VECTORS; v++) {
                numbers row;
                memcpy(&row, rows + (v / VECTORS * PART + i) * PART + v % VECTORS * LANES,
                       sizeof row);
                sums[v] += in[(part + v / VECTORS) * PART + i] * row;
            }
#pragma GCC unroll 8
        for (int v = 0; v < 2 * VECTORS; v++) {
            numbers one = sums[v];
            memcpy(out + part * PART + v * LANES, &one, sizeof one);
        }
    }
}

static inline __attribute__((always_inline)) void fold(const double *top, const double *low,
                                                       double *to)
{
    for (int x = 0; x < HALF; x++) {
        double a = top[x], c = top[SIDE - 1 - x], d = low[x], e = low[SIDE - 1 - x];
        to[x] = (a + c) + (d + e);
        to[PART + x] = (a - c) + (d - e);
        to[2 * PART + x] = (a + c) - (d + e);
        to[3 * PART + x] = (a - c) - (d - e);
    }
}

static inline __attribute__((always_inline)) void unfold(const double *from, double *top,
                                                         double *low)
{
    for (int x = 0; x < HALF; x++) {
        double ee = from[x], eo = from[PART + x], oe = from[2 * PART + x], oo = from[3 * PART + x];
        top[x] = (ee + oe) + (eo + oo);
        top[SIDE - 1 - x] = (ee + oe) - (eo + oo);
        low[x] = (ee - oe) + (eo - oo);
        low[SIDE - 1 - x] = (ee - oe) - (eo - oo);
    }
}

STVC_CLONES
static void forward_row_any(const block_transform *t, const int32_t *plane, int64_t width, int32_t *out)
{
    for (int64_t b = 0; b < width / SIDE; b++, plane += SIDE, out += TRANSFORM_BLOCK) {
        double parts[TRANSFORM_BLOCK], found[TRANSFORM_BLOCK];
        for (int y = 0; y < HALF; y++) {
            double rows[2][SIDE];
            for (int x = 0; x < SIDE; x++) {
                rows[0][x] = plane[y * width + x];
                rows[1][x] = plane[(SIDE - 1 - y) * width + x];
            }
            fold(rows[0], rows[1], parts + y * HALF);
        }
        multiply_any(t->forward, parts, found);
        int32_t whole[TRANSFORM_BLOCK];
        for (int k = 0; k < TRANSFORM_BLOCK; k++)
            whole[k] = rounded(found[k]);
        for (int k = 0; k < TRANSFORM_BLOCK; k++)
            out[t->order[k]] = whole[k];
    }
}

STVC_CLONES
static void inverse_row_any(const block_transform *t, const int32_t *in, int64_t width, int32_t *plane)
{
    for (int64_t b = 0; b < width / SIDE; b++, plane += SIDE, in += TRANSFORM_BLOCK) {
        double numbers_in[TRANSFORM_BLOCK], parts[TRANSFORM_BLOCK];
        for (int k = 0; k < TRANSFORM_BLOCK; k++)
            numbers_in[k] = in[t->order[k]];
        multiply_any(t->inverse, numbers_in, parts);
        for (int y = 0; y < HALF; y++) {
            double rows[2][SIDE];
            unfold(parts + y * HALF, rows[0], rows[1]);
            for (int x = 0; x < SIDE; x++) {
                plane[y * width + x] = rounded(rows[0][x]);
                plane[(SIDE - 1 - y) * width + x] = rounded(rows[1][x]);
            }
        }
    }
}

#define NAMED(name) name##_any
#define TARGET STVC_CLONES
#include "transform_lanes.h"
#undef NAMED
#undef TARGET

#if STVC_DOTS
#include <immintrin.h>

#define NAMED(name) name##_wide
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw")))
TARGET
static inline void multiply_wide(const double *matrix, const double *in, double *out)
{
    enum { WIDE = 8, EACH = PART / WIDE };
    __m512d sums[PARTS * EACH];
#pragma GCC unroll 8
    for (int v = 0; v < PARTS * EACH; v++)
        sums[v] = _mm512_setzero_pd();
    for (int i = 0; i < PART; i++)
#pragma GCC unroll 8
        for (int v = 0; v < PARTS * EACH; v++) {
            const int row = v / EACH * PART + i;
            sums[v] = _mm512_fmadd_pd(_mm512_set1_pd(in[row]),
                                      _mm512_loadu_pd(matrix + row * PART + v % EACH * WIDE),
                                      sums[v]);
        }
#pragma GCC unroll 8
    for (int v = 0; v < PARTS * EACH; v++)
        _mm512_storeu_pd(out + v * WIDE, sums[v]);
}

/* Where each of 64 numbers comes from, in four vectors. */
typedef struct {
    __m512i from[4];
} permutation;

/* The inverse of an order, or the order itself: out[k] is what lies at from[k]. */
TARGET
static permutation permuted(const uint8_t *order, int back)
{
    int32_t from[TRANSFORM_BLOCK] = {0};
    for (int k = 0; k < TRANSFORM_BLOCK; k++)
        from[back ? k : order[k]] = back ? order[k] : k;
    permutation p;
    for (int v = 0; v < 4; v++)
        p.from[v] = _mm512_loadu_si512(from + 16 * v);
    return p;
}

TARGET
static inline __m512i pick(const __m512i *in, __m512i from)
{
    const __m512i low = _mm512_permutex2var_epi32(in[0], from, in[1]);
    const __m512i high = _mm512_permutex2var_epi32(in[2], from, in[3]);
    const __mmask16 upper = _mm512_test_epi32_mask(from, _mm512_set1_epi32(32));
    return _mm512_mask_blend_epi32(upper, low, high);
}

/* Rounds as `rounded` does. */
TARGET
static inline __m256i whole_of(__m512d x)
{
    x = _mm512_add_pd(_mm512_add_pd(x, _mm512_set1_pd(LITTLE)), _mm512_set1_pd(GREAT));
    return _mm512_cvtepi64_epi32(_mm512_castpd_si512(x));
}

TARGET
static inline __m512d reversed(__m512d x)
{
    return _mm512_permutexvar_pd(_mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7), x);
}

TARGET
static inline __m512d row_of(const int32_t *row)
{
    return _mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i *)row));
}

TARGET
static void forward_row_wide(const block_transform *t, const int32_t *plane, int64_t width,
                             int32_t *out)
{
    const permutation p = permuted(t->order, 0);
    for (int64_t b = 0; b < width / SIDE; b++, plane += SIDE, out += TRANSFORM_BLOCK) {
        double parts[TRANSFORM_BLOCK], found[TRANSFORM_BLOCK];
        for (int y = 0; y < HALF; y++) {
            const __m512d top = row_of(plane + y * width);
            const __m512d low = row_of(plane + (SIDE - 1 - y) * width);
            const __m512d sum = _mm512_add_pd(top, low), rest = _mm512_sub_pd(top, low);
            const __m512d sum_back = reversed(sum), rest_back = reversed(rest);
            double *to = parts + y * HALF;
            _mm256_storeu_pd(to, _mm512_castpd512_pd256(_mm512_add_pd(sum, sum_back)));
            _mm256_storeu_pd(to + PART, _mm512_castpd512_pd256(_mm512_sub_pd(sum, sum_back)));
            _mm256_storeu_pd(to + 2 * PART, _mm512_castpd512_pd256(_mm512_add_pd(rest, rest_back)));
            _mm256_storeu_pd(to + 3 * PART, _mm512_castpd512_pd256(_mm512_sub_pd(rest, rest_back)));
        }
        multiply_wide(t->forward, parts, found);
        __m512i whole[PARTS];
        for (int v = 0; v < PARTS; v++)
            whole[v] = _mm512_inserti64x4(
                _mm512_castsi256_si512(whole_of(_mm512_loadu_pd(found + v * PART))),
                whole_of(_mm512_loadu_pd(found + v * PART + SIDE)), 1);
        for (int v = 0; v < PARTS; v++)
            _mm512_storeu_si512(out + v * PART, pick(whole, p.from[v]));
    }
}

TARGET
static void inverse_row_wide(const block_transform *t, const int32_t *in, int64_t width,
                             int32_t *plane)
{
    const permutation p = permuted(t->order, 1);
    for (int64_t b = 0; b < width / SIDE; b++, plane += SIDE, in += TRANSFORM_BLOCK) {
        double numbers_in[TRANSFORM_BLOCK], parts[TRANSFORM_BLOCK];
        __m512i given[PARTS];
        for (int v = 0; v < PARTS; v++)
            given[v] = _mm512_loadu_si512(in + v * PART);
        for (int v = 0; v < PARTS; v++) {
            const __m512i one = pick(given, p.from[v]);
            _mm512_storeu_pd(numbers_in + v * PART,
                             _mm512_cvtepi32_pd(_mm512_castsi512_si256(one)));
            _mm512_storeu_pd(numbers_in + v * PART + SIDE,
                             _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(one, 1)));
        }
        multiply_wide(t->inverse, numbers_in, parts);
        for (int y = 0; y < HALF; y++) {
            const double *from = parts + y * HALF;
            const __m256d ee = _mm256_loadu_pd(from), eo = _mm256_loadu_pd(from + PART);
            const __m256d oe = _mm256_loadu_pd(from + 2 * PART);
            const __m256d oo = _mm256_loadu_pd(from + 3 * PART);
            const __m256d even = _mm256_add_pd(ee, oe), odd = _mm256_add_pd(eo, oo);
            const __m256d even_low = _mm256_sub_pd(ee, oe), odd_low = _mm256_sub_pd(eo, oo);
            const __m512d top = _mm512_insertf64x4(
                _mm512_castpd256_pd512(_mm256_add_pd(even, odd)),
                _mm256_permute4x64_pd(_mm256_sub_pd(even, odd), 0x1B), 1);
            const __m512d low = _mm512_insertf64x4(
                _mm512_castpd256_pd512(_mm256_add_pd(even_low, odd_low)),
                _mm256_permute4x64_pd(_mm256_sub_pd(even_low, odd_low), 0x1B), 1);
            _mm256_storeu_si256((__m256i *)(plane + y * width), whole_of(top));
            _mm256_storeu_si256((__m256i *)(plane + (SIDE - 1 - y) * width), whole_of(low));
        }
    }
}
#include "transform_lanes.h"
#undef NAMED
#undef TARGET

static int wide(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}
#define EITHER(name, ...) (wide() ? name##_wide(__VA_ARGS__) : name##_any(__VA_ARGS__))
#else
#define EITHER(name, ...) name##_any(__VA_ARGS__)
#endif

void blocks_forward(const block_transform *t, const int32_t *planes, int64_t rows, int64_t width,
                    int32_t *out)
{
    for (int64_t r = 0; r < rows; r++)
        EITHER(forward_row, t, planes + r * SIDE * width, width, out + r * SIDE * width);
}

void blocks_inverse(const block_transform *t, const int32_t *coefficients, int64_t rows,
                    int64_t width, int32_t *out)
{
    for (int64_t r = 0; r < rows; r++)
        EITHER(inverse_row, t, coefficients + r * SIDE * width, width, out + r * SIDE * width);
}

/* ---- what is hidden ---- */

void block_fill(const block_transform *t, const double *residual, const uint8_t *hidden,
                double step, double *out)
{
    double filled[TRANSFORM_BLOCK];
    EITHER(fill_block, t, residual, hidden, step, filled);
    EITHER(forward_real, t, filled, out);
}

void blocks_fill(const block_transform *t, const double *residual, const uint8_t *hidden,
                 const double *steps, int64_t components, int64_t count, double *out)
{
    for (int64_t k = 0; k < components * count; k++)
        EITHER(fill_block, t, residual + k * TRANSFORM_BLOCK,
               hidden + k % count * TRANSFORM_BLOCK, steps[k % count], out + k * TRANSFORM_BLOCK);
}

/* ---- levels ---- */

STVC_CLONES
static void quantize_token(const double *residual, double step, double dead_zone, double most,
                           int32_t *out)
{
    for (int k = 0; k < TRANSFORM_BLOCK; k++) {
        double x = residual[k], size = (x < 0 ? -x : x) / step + dead_zone;
        int32_t whole = (int32_t)(size < most ? size : most);
        out[k] = x < 0 ? -whole : whole;
    }
}

void levels_quantize(const double *residual, const int64_t *steps, int64_t components,
                     int64_t tokens, double dead_zone, int32_t most, int32_t *out)
{
    for (int64_t k = 0; k < components * tokens; k++)
        quantize_token(residual + k * TRANSFORM_BLOCK, (double)steps[k % tokens], dead_zone, most,
                       out + k * TRANSFORM_BLOCK);
}

STVC_CLONES
static void dequantize_token(const int32_t *symbols, int64_t step, const int64_t *toward,
                             int32_t *out)
{
    for (int k = 0; k < TRANSFORM_BLOCK; k++) {
        const int64_t s = symbols[k], size = s < 0 ? -s : s;
        const int64_t value = ((size * LEVEL_UNITS - toward[size != 1]) * step + LEVEL_UNITS / 2) >>
                              LEVEL_BITS;
        out[k] = (int32_t)(uint32_t)(uint64_t)(s < 0 ? -value : s ? value : 0);
    }
}

void levels_dequantize(const int32_t *symbols, const int64_t *steps, int64_t components,
                       int64_t tokens, const int64_t *toward, int32_t *out)
{
    for (int64_t k = 0; k < components * tokens; k++)
        dequantize_token(symbols + k * TRANSFORM_BLOCK, steps[k % tokens], toward,
                         out + k * TRANSFORM_BLOCK);
}
