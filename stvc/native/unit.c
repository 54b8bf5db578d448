/* Whole units between pixels and levels, a row of blocks at a time, so that what one step leaves
 * the next one finds in the cache; twins of stvc/codec/analysis.py, prediction.py, synthesis.py. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { SIDE = 8, BLOCK = TRANSFORM_BLOCK };

stvc_status unit_forward(const block_transform *t, const double *matrix, int64_t bands,
                         int64_t height, int64_t width, const void *planes, int wide,
                         int32_t *mixed, int32_t *out)
{
    const int64_t strip = SIDE * width, size = height * width;
    int32_t *room = malloc((size_t)(bands * strip) * sizeof *room);
    if (!room)
        return STVC_MEMORY;
    for (int64_t at = 0; at < size; at += strip) {
        bands_mix_part(matrix, bands, size, planes, wide, at, strip, strip, room);
        for (int64_t c = 0; c < bands; c++) {
            if (mixed)
                memcpy(mixed + c * size + at, room + c * strip, (size_t)strip * sizeof *room);
            blocks_forward(t, room + c * strip, 1, width, out + c * size + at);
        }
    }
    free(room);
    return STVC_OK;
}

/* ---- levels ---- */

/* The block at a token, in raster order. */
static void take_block(const int32_t *plane, int64_t width, int64_t token, int32_t *block)
{
    const int64_t across = width / SIDE, y = token / across * SIDE, x = token % across * SIDE;
    for (int k = 0; k < SIDE; k++)
        memcpy(block + k * SIDE, plane + (y + k) * width + x, SIDE * sizeof *block);
}

static int take_flags(const uint8_t *flags, int64_t width, int64_t token, uint8_t *block)
{
    const int64_t across = width / SIDE, y = token / across * SIDE, x = token % across * SIDE;
    uint64_t any = 0;
    for (int k = 0; k < SIDE; k++) {
        uint64_t row;
        memcpy(&row, flags + (y + k) * width + x, sizeof row);
        memcpy(block + k * SIDE, &row, sizeof row);
        any |= row;
    }
    return any != 0;
}

STVC_CLONES
static void subtract(const int32_t *a, const int32_t *b, double *out)
{
    for (int k = 0; k < BLOCK; k++)
        out[k] = (double)a[k] - b[k];
}

/* Levels of a token; adds to how many of them there are, and how far inward they lie. */
STVC_CLONES
static void quantize(const double *residual, double step, double dead_zone, double most,
                     int32_t *out, double *inward)
{
    double sizes[BLOCK];
    int32_t any = 0;
    for (int k = 0; k < BLOCK; k++) {
        const double x = residual[k];
        sizes[k] = (x < 0 ? -x : x) / step;
        const double size = sizes[k] + dead_zone;
        const int32_t whole = (int32_t)(size < most ? size : most);
        out[k] = x < 0 ? -whole : whole;
        any |= whole;
    }
    if (!any)
        return;
    for (int k = 0; k < BLOCK; k++) {
        const int32_t size = out[k] < 0 ? -out[k] : out[k];
        if (size) {
            double *to = inward + (size > 1 ? 2 : 0);
            to[0]++;
            to[1] += (size - sizes[k]) * LEVEL_UNITS;
        }
    }
}

void levels_requantize(const double *residual, const int64_t *steps, int64_t components,
                       int64_t tokens, double dead_zone, int32_t most, int32_t *symbols,
                       double *inward)
{
    memset(inward, 0, 4 * sizeof *inward);
    for (int64_t k = 0; k < components * tokens; k++)
        quantize(residual + k * BLOCK, (double)steps[k % tokens], dead_zone, most,
                 symbols + k * BLOCK, inward);
}

stvc_status unit_quantize(const block_transform *t, const unit_levels *u, double *residual,
                          int32_t *symbols, double *inward)
{
    const int64_t tokens = u->down * u->across, width = u->across * SIDE;
    const int64_t size = tokens * BLOCK;
    memset(inward, 0, 4 * sizeof *inward);
    for (int64_t k = 0; k < u->components * tokens; k++) {
        const int64_t token = k % tokens, component = k / tokens;
        double *to = residual + k * BLOCK;
        if (u->skipped[token]) {
            memset(to, 0, BLOCK * sizeof *to);
            memset(symbols + k * BLOCK, 0, BLOCK * sizeof *symbols);
            continue;
        }
        uint8_t hidden[BLOCK];
        const double step = (double)u->steps[token];
        if (u->fill && take_flags(u->hidden, width, token, hidden)) {
            int32_t mine[BLOCK], expected[BLOCK];
            double miss[BLOCK];
            take_block(u->mixed + component * size, width, token, mine);
            blocks_inverse(t, u->predicted + k * BLOCK, 1, SIDE, expected);
            subtract(mine, expected, miss);
            block_fill(t, miss, hidden, step, to);
        } else
            subtract(u->target + k * BLOCK, u->predicted + k * BLOCK, to);
        if (!u->cosine)
            quantize(to, step, u->dead_zone, u->most, symbols + k * BLOCK, inward);
    }
    if (u->cosine) {
        const turn_batch turns = {u->components, tokens, 0, u->cosine, u->sine};
        components_turn(&turns, NULL, residual);
        levels_requantize(residual, u->steps, u->components, tokens, u->dead_zone, u->most,
                          symbols, inward);
    }
    return STVC_OK;
}

/* ---- pixels ---- */

static void add(const int32_t *a, const int32_t *b, int32_t *out)
{
    for (int k = 0; k < BLOCK; k++)
        out[k] = (int32_t)((uint32_t)a[k] + (uint32_t)b[k]);
}

STVC_CLONES
static void reconstruct(const int32_t *predicted, const int32_t *symbols, int64_t step,
                        const int64_t *toward, int32_t *out)
{
    levels_dequantize(symbols, &step, 1, 1, toward, out);
    add(predicted, out, out);
}

static inline uint16_t pixel_of(int32_t x)
{
    return (uint16_t)(x < 0 ? 0 : x > UINT16_MAX ? UINT16_MAX : x);
}

/* Blocks of a row of them, one beside the other, on their way to pixels. */
typedef struct {
    int64_t count;
    int64_t *column;     /* which they are */
    int32_t *components; /* (components, 8, 8 count), then their bands */
    int32_t *bands;
} strip;

static void mix(const unit_pixels *u, strip *s)
{
    bands_mix(u->matrix, u->components, s->count * BLOCK, s->components, 1, s->bands);
}

/* Levels (components, count, 64) of blocks of a row, turned back. */
static void turned_levels(const unit_pixels *u, const strip *s, int64_t row, int32_t *levels)
{
    const int64_t tokens = u->down * u->across;
    for (int64_t c = 0; c < u->components; c++)
        for (int64_t b = 0; b < s->count; b++) {
            const int64_t token = row * u->across + s->column[b];
            levels_dequantize(u->symbols + (c * tokens + token) * BLOCK, u->steps + token, 1, 1,
                              u->toward, levels + (c * s->count + b) * BLOCK);
        }
    const turn_batch t = {u->components, s->count, 1, u->cosine, u->sine};
    components_turn(&t, levels, NULL);
}

/* Write pixels of blocks: where they are concealed, or (`want` 0) where they are not. */
static void write(const unit_pixels *u, const strip *s, int64_t row, int want, uint16_t *out)
{
    const int64_t width = u->across * SIDE, size = u->down * u->across * BLOCK;
    for (int64_t b = 0; b < s->count; b++) {
        uint8_t flags[BLOCK];
        const int some = take_flags(u->concealed, width, row * u->across + s->column[b], flags);
        for (int64_t c = 0; c < u->components; c++)
            for (int y = 0; y < SIDE; y++) {
                const int32_t *from = s->bands + (c * SIDE + y) * s->count * SIDE + b * SIDE;
                uint16_t *to = out + c * size + (row * SIDE + y) * width + s->column[b] * SIDE;
                for (int x = 0; x < SIDE; x++)
                    if (!some || flags[y * SIDE + x] == want)
                        to[x] = pixel_of(from[x]);
            }
    }
}

static int all_of(const uint8_t *flags)
{
    uint8_t all = 1;
    for (int k = 0; k < BLOCK; k++)
        all &= flags[k];
    return all;
}

stvc_status unit_decode(const block_transform *t, const unit_pixels *u, uint16_t *out)
{
    const int64_t width = u->across * SIDE, tokens = u->down * u->across;
    const size_t room = (size_t)(u->components * u->across * BLOCK);
    int32_t *memory = malloc(4 * room * sizeof *memory);
    int64_t *columns = malloc((size_t)(2 * u->across) * sizeof *columns);
    if (!memory || !columns) {
        free(memory), free(columns);
        return STVC_MEMORY;
    }
    int32_t *coefficients = memory + 2 * room, *levels = memory + 3 * room;
    strip seen = {0, columns, memory, memory + room},
          behind = {0, columns + u->across, memory, memory + room};
    if (!u->show)
        memset(out, 0, (size_t)(u->components * tokens * BLOCK) * sizeof *out);
    for (int64_t row = 0; row < u->down; row++) {
        seen.count = behind.count = 0;
        for (int64_t x = 0; x < u->across; x++) {
            uint8_t flags[BLOCK];
            const int some = take_flags(u->concealed, width, row * u->across + x, flags);
            if (!some || !all_of(flags))
                seen.column[seen.count++] = x;
            if (some && u->show)
                behind.column[behind.count++] = x;
        }
        if (u->cosine)
            turned_levels(u, &seen, row, levels);
        for (int64_t c = 0; c < u->components; c++) {
            for (int64_t b = 0; b < seen.count; b++) {
                const int64_t token = row * u->across + seen.column[b];
                const int64_t at = (c * tokens + token) * BLOCK;
                int32_t *to = coefficients + b * BLOCK;
                if (u->cosine)
                    add(u->predicted + at, levels + (c * seen.count + b) * BLOCK, to);
                else
                    reconstruct(u->predicted + at, u->symbols + at, u->steps[token], u->toward,
                                to);
            }
            if (seen.count)
                blocks_inverse(t, coefficients, 1, seen.count * SIDE,
                               seen.components + c * seen.count * BLOCK);
        }
        if (seen.count) {
            mix(u, &seen);
            write(u, &seen, row, 0, out);
        }
        for (int64_t c = 0; c < u->components && behind.count; c++) {
            for (int64_t b = 0; b < behind.count; b++)
                memcpy(coefficients + b * BLOCK,
                       u->predicted + (c * tokens + row * u->across + behind.column[b]) * BLOCK,
                       BLOCK * sizeof *coefficients);
            blocks_inverse(t, coefficients, 1, behind.count * SIDE,
                           behind.components + c * behind.count * BLOCK);
        }
        if (behind.count) {
            mix(u, &behind);
            write(u, &behind, row, 1, out);
        }
    }
    free(memory), free(columns);
    return STVC_OK;
}

STVC_CLONES
static void row_error(const uint16_t *a, const uint16_t *b, const uint8_t *unclear, int64_t n,
                      unit_errors *found)
{
    uint64_t sum = 0;
    int32_t largest = 0;
    for (int64_t k = 0; k < n; k++) {
        int32_t miss = (int32_t)a[k] - b[k];
        miss = miss < 0 ? -miss : miss;
        miss &= -(int32_t)(unclear[k] == 0);
        largest = miss > largest ? miss : largest;
        sum += (uint32_t)miss * (uint32_t)miss; /* below 2**32 */
    }
    found->sum += (int64_t)sum;
    found->largest = largest > found->largest ? largest : found->largest;
}

unit_errors unit_error(const uint16_t *decoded, const uint16_t *pixels, const uint8_t *unclear,
                       int64_t bands, int64_t height, int64_t width, int64_t rows, int64_t stride)
{
    unit_errors found = {0};
    for (int64_t y = 0; y < height; y++) {
        for (int64_t x = 0; x < width; x++)
            found.count += unclear[y * stride + x] == 0;
        for (int64_t c = 0; c < bands; c++)
            row_error(decoded + (c * rows + y) * stride, pixels + (c * height + y) * width,
                      unclear + y * stride, width, &found);
    }
    return found;
}
