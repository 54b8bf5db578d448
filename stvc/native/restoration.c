/* In-loop restoration: features and integer network of `stvc/codec/restoration.py`, row by row.
 *
 * 16 pixels at a time go through all layers, and stay in registers or in the fastest cache: with
 * 8-bit dot products (AVX-512 VNNI, inputs as bytes with an offset of 128), or 16-bit ones (AVX2).
 * Plain C would be no faster than torch, which runs elsewhere. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#if STVC_DOTS
#include <immintrin.h>
#endif

enum {
    STRIP = 16, /* pixels */
    REACH = 2,  /* of the neighbors */
    NEAR = 8,
    AROUND = 12, /* near and far ones */
    OFFSET = 128,
    TOP = 127,
    BEYOND = 1 << 29
};

/* Row and column steps to the neighbors: _NEAR and _FAR of restoration.py. */
static const int8_t OFFSETS[AROUND][2] = {{0, 1},  {1, 0},   {0, -1}, {-1, 0}, {1, 1},  {1, -1},
                                          {-1, 1}, {-1, -1}, {0, 2},  {2, 0},  {0, -2}, {-2, 0}};

/* Weights in the order in which strips want them. */
typedef struct {
    /* Four inputs of each output in one word, and biases that make up for the offset and round. */
    int32_t first[REST_FIRST][REST_INPUTS / 4], second[REST_SECOND][REST_FIRST / 4],
        last[REST_SECOND / 4];
    /* The same with two 16-bit inputs in a word. */
    int32_t first_16[REST_FIRST][REST_INPUTS / 2], second_16[REST_SECOND][REST_FIRST / 2],
        last_16[REST_SECOND / 2];
    int32_t bias[REST_NUMBERS];
    int bits[REST_NUMBERS];
} packed_network;

static int32_t word_of(const int8_t *four)
{
    uint32_t word = 0;
    for (int k = 0; k < 4; k++)
        word |= (uint32_t)(uint8_t)four[k] << 8 * k;
    return (int32_t)word;
}

static int32_t pair_of(const int8_t *two)
{
    return (int32_t)((uint32_t)(uint16_t)two[0] | (uint32_t)(uint16_t)two[1] << 16);
}

static stvc_status pack(packed_network *p, const rest_network *n)
{
    for (int o = 0; o < REST_NUMBERS; o++) {
        if (n->bits[o] < 1 || n->bits[o] > 16 || n->bias[o] > 1 << 22 || n->bias[o] < -(1 << 22))
            return STVC_RANGE;
        p->bits[o] = n->bits[o];
        p->bias[o] = n->bias[o] + (1 << (n->bits[o] - 1));
    }
    for (int o = 0; o < REST_FIRST; o++) {
        const int8_t *row = n->first + o * REST_INPUTS;
        for (int i = 0; i < REST_INPUTS; i++)
            p->bias[o] -= OFFSET * row[i];
        for (int q = 0; q < REST_INPUTS / 4; q++)
            p->first[o][q] = word_of(row + 4 * q);
        for (int q = 0; q < REST_INPUTS / 2; q++)
            p->first_16[o][q] = pair_of(row + 2 * q);
    }
    for (int o = 0; o < REST_SECOND; o++) {
        const int8_t *row = n->second + o * REST_FIRST;
        for (int q = 0; q < REST_FIRST / 4; q++)
            p->second[o][q] = word_of(row + 4 * q);
        for (int q = 0; q < REST_FIRST / 2; q++)
            p->second_16[o][q] = pair_of(row + 2 * q);
    }
    for (int q = 0; q < REST_SECOND / 4; q++)
        p->last[q] = word_of(n->last + 4 * q);
    for (int q = 0; q < REST_SECOND / 2; q++)
        p->last_16[q] = pair_of(n->last + 2 * q);
    return STVC_OK;
}

#if STVC_DOTS
/* ---- 16 pixels, with 8-bit dot products ---- */

#define DOT_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

/* Four outputs of 16 pixels, divided and cut, in one word each. */
DOT_TARGET
static inline __m512i four_outputs(const __m512i *inputs, int words, const int32_t *weights,
                                   const int32_t *bias, const int *bits)
{
    __m512i sums[4], found = _mm512_setzero_si512();
    for (int j = 0; j < 4; j++)
        sums[j] = _mm512_set1_epi32(bias[j]);
    for (int q = 0; q < words; q++)
        for (int j = 0; j < 4; j++)
            sums[j] =
                _mm512_dpbusd_epi32(sums[j], inputs[q], _mm512_set1_epi32(weights[j * words + q]));
    for (int j = 0; j < 4; j++) {
        __m512i one = _mm512_sra_epi32(sums[j], _mm_cvtsi32_si128(bits[j]));
        one = _mm512_min_epi32(_mm512_max_epi32(one, _mm512_setzero_si512()),
                               _mm512_set1_epi32(TOP));
        found = _mm512_or_si512(found, _mm512_sll_epi32(one, _mm_cvtsi32_si128(8 * j)));
    }
    return found;
}

DOT_TARGET
static void strip_dots(const packed_network *p, const uint8_t *rows, int64_t stride, int32_t *out)
{
    __m512i x[REST_INPUTS / 4], y[REST_FIRST / 4], z[REST_SECOND / 4];
    for (int q = 0; q < REST_INPUTS / 4; q++) {
        x[q] = _mm512_setzero_si512();
        for (int j = 0; j < 4; j++) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(rows + (4 * q + j) * stride));
            __m512i wide = _mm512_cvtepu8_epi32(bytes);
            x[q] = _mm512_or_si512(x[q], _mm512_sll_epi32(wide, _mm_cvtsi32_si128(8 * j)));
        }
    }
    const int32_t *bias = p->bias;
    const int *bits = p->bits;
    for (int o = 0; o < REST_FIRST; o += 4)
        y[o / 4] = four_outputs(x, REST_INPUTS / 4, p->first[o], bias + o, bits + o);
    bias += REST_FIRST, bits += REST_FIRST;
    for (int o = 0; o < REST_SECOND; o += 4)
        z[o / 4] = four_outputs(y, REST_FIRST / 4, p->second[o], bias + o, bits + o);
    __m512i sum = _mm512_set1_epi32(bias[REST_SECOND]);
    for (int q = 0; q < REST_SECOND / 4; q++)
        sum = _mm512_dpbusd_epi32(sum, z[q], _mm512_set1_epi32(p->last[q]));
    sum = _mm512_sra_epi32(sum, _mm_cvtsi32_si128(bits[REST_SECOND]));
    _mm512_storeu_si512(out, sum);
}

/* ---- 8 pixels, with 16-bit dot products ---- */

#define PAIR_TARGET __attribute__((target("avx2")))

/* Two outputs of 8 pixels, divided and cut, in one word each. */
PAIR_TARGET
static inline __m256i two_outputs(const __m256i *inputs, int words, const int32_t *weights,
                                  const int32_t *bias, const int *bits)
{
    __m256i sums[2], found[2];
    for (int j = 0; j < 2; j++)
        sums[j] = _mm256_set1_epi32(bias[j]);
    for (int q = 0; q < words; q++)
        for (int j = 0; j < 2; j++)
            sums[j] = _mm256_add_epi32(
                sums[j], _mm256_madd_epi16(inputs[q], _mm256_set1_epi32(weights[j * words + q])));
    for (int j = 0; j < 2; j++) {
        found[j] = _mm256_sra_epi32(sums[j], _mm_cvtsi32_si128(bits[j]));
        found[j] = _mm256_min_epi32(_mm256_max_epi32(found[j], _mm256_setzero_si256()),
                                    _mm256_set1_epi32(TOP));
    }
    return _mm256_or_si256(found[0], _mm256_slli_epi32(found[1], 16));
}

PAIR_TARGET
static void half_strip_pairs(const packed_network *p, const uint8_t *rows, int64_t stride,
                             int32_t *out)
{
    __m256i x[REST_INPUTS / 2], y[REST_FIRST / 2], z[REST_SECOND / 2];
    for (int q = 0; q < REST_INPUTS / 2; q++) {
        const uint8_t *row = rows + 2 * q * stride;
        __m256i low = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)row));
        __m256i high = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(row + stride)));
        x[q] = _mm256_or_si256(low, _mm256_slli_epi32(high, 16));
    }
    const int32_t *bias = p->bias;
    const int *bits = p->bits;
    for (int o = 0; o < REST_FIRST; o += 2)
        y[o / 2] = two_outputs(x, REST_INPUTS / 2, p->first_16[o], bias + o, bits + o);
    bias += REST_FIRST, bits += REST_FIRST;
    for (int o = 0; o < REST_SECOND; o += 2)
        z[o / 2] = two_outputs(y, REST_FIRST / 2, p->second_16[o], bias + o, bits + o);
    __m256i sum = _mm256_set1_epi32(bias[REST_SECOND]);
    for (int q = 0; q < REST_SECOND / 2; q++)
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(z[q], _mm256_set1_epi32(p->last_16[q])));
    sum = _mm256_sra_epi32(sum, _mm_cvtsi32_si128(bits[REST_SECOND]));
    _mm256_storeu_si256((__m256i *)out, sum);
}

static void strip_of(const packed_network *p, const uint8_t *rows, int64_t stride, int level,
                     int32_t *out)
{
    if (level >= DOTS_8) {
        strip_dots(p, rows, stride, out);
    } else {
        half_strip_pairs(p, rows, stride, out);
        half_strip_pairs(p, rows + STRIP / 2, stride, out + STRIP / 2);
    }
}

int rest_level(void)
{
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        return DOTS_8;
    return __builtin_cpu_supports("avx2") ? DOTS_16 : NO_DOTS;
}
#else
static void strip_of(const packed_network *p, const uint8_t *rows, int64_t stride, int level,
                     int32_t *out)
{
    (void)p, (void)rows, (void)stride, (void)level, (void)out;
}

int rest_level(void)
{
    return NO_DOTS;
}
#endif

/* ---- features ---- */

/* A plane in units of 2**-5 base step, modulo 2**16, with `REACH` pixels around it that repeat its
 * edges. */
static void in_units(const int32_t *plane, int64_t h, int64_t w, int64_t reciprocal, int16_t *out)
{
    int64_t stride = w + 2 * REACH;
    for (int64_t y = 0; y < h; y++) {
        int16_t *row = out + (y + REACH) * stride;
        for (int64_t x = 0; x < w; x++) {
            int64_t scaled = (plane[y * w + x] * reciprocal + (1 << 19)) >> 20;
            scaled = scaled > BEYOND ? BEYOND : scaled < -BEYOND ? -BEYOND : scaled;
            row[x + REACH] = (int16_t)(uint16_t)scaled;
        }
        for (int k = 0; k < REACH; k++)
            row[k] = row[REACH], row[w + REACH + k] = row[w + REACH - 1];
    }
    for (int k = 0; k < REACH; k++) {
        memcpy(out + k * stride, out + REACH * stride, stride * sizeof *out);
        memcpy(out + (h + REACH + k) * stride, out + (h + REACH - 1) * stride,
               stride * sizeof *out);
    }
}

/* Differences of two rows, modulo 2**16, cut to -127 .. 127, with the offset. */
STVC_CLONES
static void differences(const int16_t *upper, const int16_t *lower, int64_t n, uint8_t *out)
{
    for (int64_t x = 0; x < n; x++) {
        int16_t d = (int16_t)(uint16_t)(upper[x] - lower[x]);
        d = d > TOP ? TOP : d;
        d = d < -TOP ? -TOP : d;
        out[x] = (uint8_t)(d + OFFSET);
    }
}

/* Planes of a unit, padded; see in_units. */
typedef struct {
    int16_t *first, *mine, *expected;
} planes;

/* Inputs (48, stride) of row y of component c. */
static void feature_rows(const rest_unit *u, const planes *p, int64_t c, int64_t y, int64_t stride,
                         uint8_t *rows)
{
    const int64_t w = u->across * REST_BLOCK, padded = w + 2 * REACH;
    const int64_t here = (y + REACH) * padded + REACH;
    uint8_t *row = rows;
    for (int k = 0; k < AROUND; k++, row += stride)
        differences(p->mine + here + OFFSETS[k][0] * padded + OFFSETS[k][1], p->mine + here, w,
                    row);
    for (int k = 0; k < NEAR; k++, row += stride)
        differences(p->expected + here + OFFSETS[k][0] * padded + OFFSETS[k][1],
                    p->expected + here, w, row);
    differences(p->mine + here, p->expected + here, w, row);
    row += stride;
    for (int k = 0; k < NEAR; k++, row += stride)
        if (c)
            differences(p->first + here + OFFSETS[k][0] * padded + OFFSETS[k][1], p->first + here,
                        w, row);
        else
            memset(row, OFFSET, w);
    /* One-hot distance from the nearest edge of the block, down and across. */
    int inside = (int)(y % REST_BLOCK);
    for (int k = 0; k < REST_BLOCK / 2; k++, row += stride)
        memset(row, (inside == k || REST_BLOCK - 1 - inside == k ? 64 : 0) + OFFSET, w);
    for (int k = 0; k < REST_BLOCK / 2; k++, row += stride) {
        memset(row, OFFSET, w);
        for (int64_t x = 0; x < w; x += REST_BLOCK)
            row[x + k] = row[x + REST_BLOCK - 1 - k] = 64 + OFFSET;
    }
    const int8_t *block =
        u->blocks + (c * REST_BLOCK_INPUTS * u->down + y / REST_BLOCK) * u->across;
    for (int k = 0; k < REST_BLOCK_INPUTS; k++, row += stride, block += u->down * u->across)
        for (int64_t b = 0; b < u->across; b++)
            memset(row + b * REST_BLOCK, block[b] + OFFSET, REST_BLOCK);
    memset(row, OFFSET, rows + REST_INPUTS * stride - row);
}

stvc_status rest_corrections(const rest_network *network, const rest_unit *u, int level,
                             int32_t *out)
{
    if (level <= NO_DOTS || level > rest_level())
        return STVC_RANGE;
    packed_network *packed = malloc(sizeof *packed);
    const int64_t h = u->down * REST_BLOCK, w = u->across * REST_BLOCK;
    const int64_t padded = (h + 2 * REACH) * (w + 2 * REACH);
    const int64_t stride = (w + STRIP - 1) / STRIP * STRIP;
    int16_t *memory = malloc((size_t)padded * 3 * sizeof *memory);
    uint8_t *rows = calloc((size_t)stride, REST_INPUTS);
    planes p = {memory, memory + padded, memory + 2 * padded};
    stvc_status status = packed && memory && rows ? pack(packed, network) : STVC_MEMORY;
    for (int64_t c = 0; !status && c < u->components; c++) {
        in_units(u->decoded + c * h * w, h, w, u->reciprocal, p.mine);
        in_units(u->predicted + c * h * w, h, w, u->reciprocal, p.expected);
        if (c == 0)
            memcpy(p.first, p.mine, (size_t)padded * sizeof *p.first);
        for (int64_t y = 0; y < h; y++) {
            feature_rows(u, &p, c, y, stride, rows);
            for (int64_t x = 0; x < w; x += STRIP) {
                int32_t strip[STRIP];
                strip_of(packed, rows + x, stride, level, strip);
                int64_t here = w - x < STRIP ? w - x : STRIP;
                memcpy(out + (c * h + y) * w + x, strip, (size_t)here * sizeof *out);
            }
        }
    }
    free(packed), free(memory), free(rows);
    return status;
}
