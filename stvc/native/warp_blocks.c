/* Some blocks of planes that are moved: what `planes_warp` would make of them, without the rest.
 *
 * A block needs 13 x 13 pixels: those beyond an edge are repeated, in a copy. */
#include "kernels.h"

#include <string.h>

enum {
    SIDE = 8,
    TAP_BITS = 7,
    PASS_BITS = 3,
    NEED = SIDE + WARP_TAPS - 1,
    WIDE = 16 /* columns that are read: two vectors */
};

typedef int32_t lanes __attribute__((vector_size(4 * SIDE)));

static int64_t within(int64_t k, int64_t count)
{
    return k < 0 ? 0 : k >= count ? count - 1 : k;
}

/* Whole pixels, rounded down, and eighths. */
static int64_t whole_of(int shift, int *phase)
{
    *phase = (shift % WARP_UNITS + WARP_UNITS) % WARP_UNITS;
    return (shift - *phase) / WARP_UNITS;
}

/* A block from where its 13 x 16 pixels lie; all that was read is in *any. */
STVC_CLONES
static void move_block(const int32_t *in, int64_t stride, const int32_t *down,
                       const int32_t *across, int64_t next, int32_t *out, uint32_t *any)
{
    enum { BITS = 2 * (TAP_BITS - PASS_BITS) };
    int32_t fine[SIDE][WIDE];
    lanes rows[NEED][2], seen = {0};
#pragma GCC unroll 13
    for (int y = 0; y < NEED; y++) {
        memcpy(rows[y], in + y * stride, sizeof rows[y]);
        seen |= rows[y][0] | rows[y][1];
    }
    for (int y = 0; y < SIDE; y++)
        for (int half = 0; half < 2; half++) {
            lanes sum = rows[y + 2][half] << (TAP_BITS - PASS_BITS);
            if (down) {
                sum = rows[y][half] * down[0];
#pragma GCC unroll 5
                for (int k = 1; k < WARP_TAPS; k++)
                    sum += rows[y + k][half] * down[k];
                sum = (sum + (1 << PASS_BITS >> 1)) >> PASS_BITS;
            }
            memcpy(&fine[y][half * SIDE], &sum, sizeof sum);
        }
    for (int y = 0; y < SIDE; y++) {
        lanes sum, one;
        if (across) {
            sum = (lanes){0};
#pragma GCC unroll 6
            for (int k = 0; k < WARP_TAPS; k++) {
                memcpy(&one, &fine[y][k], sizeof one);
                sum += one * across[k];
            }
            sum = (sum + (1 << PASS_BITS >> 1)) >> PASS_BITS;
        } else {
            memcpy(&sum, &fine[y][2], sizeof sum);
            sum <<= TAP_BITS - PASS_BITS;
        }
        sum = (sum + (1 << BITS >> 1)) >> BITS;
        sum &= ~(sum < 0);
        lanes over = sum > UINT16_MAX;
        sum = (sum & ~over) | (over & UINT16_MAX);
        memcpy(out + y * next, &sum, sizeof sum);
    }
    uint32_t parts[SIDE];
    memcpy(parts, &seen, sizeof parts);
    for (int k = 0; k < SIDE; k++)
        *any |= parts[k];
}

stvc_status blocks_warp(const int32_t *planes, const int32_t *filters, int64_t count,
                        int64_t height, int64_t width, int down, int across,
                        const int64_t *blocks, int64_t n, int32_t *out)
{
    const int64_t columns = width / SIDE, total = height / SIDE * columns;
    for (int64_t k = 0; k < n; k++)
        if (blocks[k] < 0 || blocks[k] >= total)
            return STVC_RANGE;
    for (int k = 0; k < WARP_UNITS * WARP_TAPS; k++)
        if (filters[k] > 1 << TAP_BITS || filters[k] < -(1 << TAP_BITS))
            return STVC_RANGE;
    int phase_down, phase_across;
    const int64_t rows_on = whole_of(down, &phase_down) - 2;
    const int64_t columns_on = whole_of(across, &phase_across) - 2;
    const int32_t *taps_down = phase_down ? filters + phase_down * WARP_TAPS : NULL;
    const int32_t *taps_across = phase_across ? filters + phase_across * WARP_TAPS : NULL;
    uint32_t any = 0;
    for (int64_t c = 0; c < count; c++)
        for (int64_t k = 0; k < n; k++) {
            const int32_t *plane = planes + c * height * width;
            const int64_t y = blocks[k] / columns * SIDE + rows_on;
            const int64_t x = blocks[k] % columns * SIDE + columns_on;
            int32_t copy[NEED][WIDE];
            const int32_t *in = copy[0];
            int64_t stride = WIDE;
            if (y < 0 || y + NEED > height || x < 0 || x + WIDE > width) {
                for (int dy = 0; dy < NEED; dy++)
                    for (int dx = 0; dx < WIDE; dx++)
                        copy[dy][dx] = plane[within(y + dy, height) * width + within(x + dx, width)];
            } else
                in = plane + y * width + x, stride = width;
            move_block(in, stride, taps_down, taps_across, n * SIDE, out + (c * SIDE * n + k) * SIDE,
                       &any);
        }
    return any <= UINT16_MAX ? STVC_OK : STVC_RANGE;
}
