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
