/* Arithmetic of blocks of pixels: all of it vectors, where the processor has them. */
#ifndef STVC_WALK_LANES_H
#define STVC_WALK_LANES_H

#include "walk.h"

#include <math.h>
#include <string.h>

/* Nobody looks at the exceptions of floating-point arithmetic, and compilers make no vectors of
 * what might raise one. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

enum { PEAK = 65535, ERROR_LIMIT = 1 << 14, LOCAL_LIMIT = 4095, OCTAVE = 16 };

#define LANES(p) for (int p = 0; p < WALK_LANES; p++)

STVC_INLINE double clip(double x, double low, double high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* Of numbers below 2**51: they are rounded where numbers have no fractions. */
STVC_INLINE double rounded_down(double x)
{
    const double whole = 6755399441055744.0; /* 3 * 2**51 */
    const double near = (x + whole) - whole;
    return near - (near > x ? 1.0 : 0.0);
}

/* 16 log2 of an integer >= 1, the mantissa taken as linear. */
STVC_INLINE double log16(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = bits >> 48 | 0x4330000000000000u; /* + 2**52 */
    memcpy(&x, &bits, sizeof x);
    return x - (4503599627370496.0 + 1023 * OCTAVE);
}

/* A block of a step: pixels of one band in rows of the picture one below the other. */
typedef struct {
    int64_t band, count;
    int64_t at;   /* of its first pixel in the step */
    int64_t line; /* of its first pixel, in `of_row` */
    int64_t cell[WALK_LANES];
    double *rows; /* in `room` */
} walk_block;

STVC_INLINE double *row_of(const pixel_walk *w, const walk_block *b, int row)
{
    return b->rows + (w->features + row) * WALK_LANES;
}

/* The block that begins with a step's pixel `at`, of the band that ends before `end`. */
STVC_INLINE walk_block block_at(const pixel_walk *w, int64_t step, int64_t band, int64_t at,
                                int64_t end, int64_t number)
{
    const int64_t *cells = w->cells + w->starts[step] + at, left = end - at;
    walk_block b = {.band = band, .at = at, .count = left < WALK_LANES ? left : WALK_LANES};
    LANES(p)
        b.cell[p] = cells[p < b.count ? p : b.count - 1];
    b.line = band * (w->height + 1) + 1 + b.cell[0] % w->plane / w->row - WALK_MARGIN;
    b.rows = w->room + number * (w->features + ROWS) * WALK_LANES;
    return b;
}

#endif
