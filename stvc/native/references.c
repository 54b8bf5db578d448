/* References of a unit: moved, dated, combined, weighed; the twins are in registration.py,
 * references.py and prediction.py of stvc/codec. All of it is integer arithmetic. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { TAP_BITS = 7, PASS_BITS = 3, SIDE = 8, OLDEST = 4000, SHARE_BITS = 12 };

/* ---- warp ---- */

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

/* Sums of six rows, or of a row and its five neighbors; 4 bits more precise. */
STVC_CLONES
static void filter(const int32_t *const *rows, const int32_t *taps, int phase, int64_t n,
                   int32_t *out)
{
    if (!phase) {
        for (int64_t x = 0; x < n; x++)
            out[x] = (int32_t)((uint32_t)rows[2][x] << (TAP_BITS - PASS_BITS));
        return;
    }
    const int32_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3], *e = rows[4],
                  *f = rows[5];
    const int32_t t[WARP_TAPS] = {taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]};
    for (int64_t x = 0; x < n; x++)
        out[x] = (a[x] * t[0] + b[x] * t[1] + c[x] * t[2] + d[x] * t[3] + e[x] * t[4] +
                  f[x] * t[5] + (1 << PASS_BITS >> 1)) >>
                 PASS_BITS;
}

STVC_CLONES
static void to_pixels(const int32_t *fine, int64_t n, int32_t *out)
{
    enum { BITS = 2 * (TAP_BITS - PASS_BITS) };
    for (int64_t x = 0; x < n; x++) {
        int32_t v = (fine[x] + (1 << BITS >> 1)) >> BITS;
        v = v < 0 ? 0 : v;
        out[x] = v > UINT16_MAX ? UINT16_MAX : v;
    }
}

STVC_CLONES
static int all_pixels(const int32_t *planes, int64_t n)
{
    uint32_t any = 0;
    for (int64_t k = 0; k < n; k++)
        any |= (uint32_t)planes[k];
    return any <= UINT16_MAX;
}

stvc_status planes_warp(const int32_t *planes, const int32_t *filters, int64_t count,
                        int64_t height, int64_t width, int down, int across, int32_t *out)
{
    if (!all_pixels(planes, count * height * width))
        return STVC_RANGE;
    for (int k = 0; k < WARP_UNITS * WARP_TAPS; k++)
        if (filters[k] > 1 << TAP_BITS || filters[k] < -(1 << TAP_BITS))
            return STVC_RANGE;
    int32_t *memory = malloc((size_t)(2 * width + WARP_TAPS) * sizeof *memory);
    if (!memory)
        return STVC_MEMORY;
    int32_t *padded = memory, *fine = memory + width + WARP_TAPS;
    int phase_down, phase_across;
    const int64_t rows_on = whole_of(down, &phase_down);
    const int64_t columns_on = whole_of(across, &phase_across);
    for (int64_t r = 0; r < count * height; r++) {
        const int64_t plane = r / height * height, y = r % height;
        const int32_t *near[WARP_TAPS];
        for (int k = 0; k < WARP_TAPS; k++)
            near[k] = planes + (plane + within(y + rows_on + k - 2, height)) * width;
        filter(near, filters + phase_down * WARP_TAPS, phase_down, width, fine);
        for (int64_t x = 0; x < width + WARP_TAPS - 1; x++)
            padded[x] = fine[within(x + columns_on - 2, width)];
        for (int k = 0; k < WARP_TAPS; k++)
            near[k] = padded + k;
        filter(near, filters + phase_across * WARP_TAPS, phase_across, width, fine);
        to_pixels(fine, width, out + r * width);
    }
    free(memory);
    return STVC_OK;
}

/* ---- ages ---- */

void block_ages(const int32_t *days, int64_t height, int64_t width, int64_t today, int absolute,
                int32_t never, int32_t *out)
{
    for (int64_t by = 0; by < height / SIDE; by++)
        for (int64_t bx = 0; bx < width / SIDE; bx++) {
            int64_t total = 0, count = 0;
            for (int y = 0; y < SIDE; y++)
                for (int x = 0; x < SIDE; x++) {
                    const int32_t day = days[(by * SIDE + y) * width + bx * SIDE + x];
                    int64_t age = today - day;
                    age = absolute && age < 0 ? -age : age;
                    age = age < 0 ? 0 : age > OLDEST ? OLDEST : age;
                    total += day > never ? age : 0;
                    count += day > never;
                }
            out[by * (width / SIDE) + bx] = count ? (int32_t)(total / count) : -1;
        }
}

/* ---- between two dates ---- */

STVC_CLONES
static void choose(const uint8_t *closer, const int32_t *before, const int32_t *after, int64_t n,
                   int32_t *near, int32_t *far)
{
    for (int64_t k = 0; k < n; k++) {
        const int32_t mask = -(int32_t)closer[k], a = before[k], b = after[k];
        near[k] = (a & mask) | (b & ~mask);
        far[k] = (b & mask) | (a & ~mask);
    }
}

STVC_CLONES
static void average(const reference_side *a, const reference_side *b, int64_t at, int64_t n,
                    int32_t *out)
{
    for (int64_t k = 0; k < n; k++) {
        const int32_t x = a->average[at + k], y = b->average[at + k];
        const int32_t both = (int32_t)((uint32_t)x + (uint32_t)y + 1) >> 1;
        out[k] = a->count[k] == 0 ? y : b->count[k] == 0 ? x : both;
    }
}

static int64_t distance(int64_t a, int64_t b)
{
    return a < b ? b - a : a - b;
}

void references_between(int64_t bands, int64_t size, int64_t day, const reference_side *before,
                        const reference_side *after, const reference_middle *out)
{
    enum { AT_ONCE = 1024 };
    uint8_t closer[AT_ONCE];
    for (int64_t at = 0; at < size; at += AT_ONCE) {
        const int64_t n = size - at < AT_ONCE ? size - at : AT_ONCE;
        for (int64_t k = 0; k < n; k++) {
            const int32_t a = before->count[at + k], b = after->count[at + k];
            closer[k] = distance(day, before->day[at + k]) <= distance(day, after->day[at + k]);
            out->count[at + k] = a > b ? a : b;
        }
        choose(closer, before->day + at, after->day + at, n, out->recent_day + at,
               out->second_day + at);
        const reference_side a = {NULL, before->average, NULL, before->count + at},
                             b = {NULL, after->average, NULL, after->count + at};
        for (int64_t c = 0; c < bands; c++) {
            const int64_t here = c * size + at;
            choose(closer, before->recent + here, after->recent + here, n, out->recent + here,
                   out->second + here);
            average(&a, &b, here, n, out->average + here);
        }
    }
}

/* ---- one date on ---- */

STVC_CLONES
static void keep_or_take(const uint8_t *hidden, const int32_t *old, const int32_t *new, int64_t n,
                         int32_t *out)
{
    for (int64_t k = 0; k < n; k++)
        out[k] = hidden[k] ? old[k] : new[k];
}

STVC_CLONES
static void approach(const uint8_t *hidden, const int32_t *average, const int32_t *count,
                     const int32_t *shares, const int32_t *home, int64_t n, int32_t *out)
{
    for (int64_t k = 0; k < n; k++) {
        const int32_t far = (int32_t)((uint32_t)home[k] - (uint32_t)average[k]);
        const uint32_t part = (uint32_t)far * (uint32_t)shares[count[k]];
        const int32_t moved = (int32_t)(part + (1 << SHARE_BITS >> 1)) >> SHARE_BITS;
        out[k] = hidden[k] ? average[k] : (int32_t)((uint32_t)moved + (uint32_t)average[k]);
    }
}

stvc_status references_advance(const reference_step *s, const reference_middle *out)
{
    for (int64_t k = 0; k < s->size; k++) {
        const int32_t count = s->old.count[k];
        if (count < 0 || count > REFERENCE_MEMORY)
            return STVC_RANGE;
        out->count[k] = count + (!s->hidden[k] && count < REFERENCE_MEMORY);
        out->recent_day[k] = s->hidden[k] ? s->old.day[k] : (int32_t)s->day;
    }
    keep_or_take(s->hidden, s->second_day, s->old.day, s->size, out->second_day);
    for (int64_t c = 0; c < s->bands; c++) {
        const int64_t at = c * s->size;
        keep_or_take(s->hidden, s->old.recent + at, s->home + at, s->size, out->recent + at);
        keep_or_take(s->hidden, s->second + at, s->old.recent + at, s->size, out->second + at);
        approach(s->hidden, s->old.average + at, out->count, s->shares, s->home + at, s->size,
                 out->average + at);
    }
    return STVC_OK;
}

/* ---- what is shown ---- */

STVC_CLONES
static void cut_row(const int32_t *in, int64_t n, uint16_t *out)
{
    for (int64_t k = 0; k < n; k++) {
        int32_t x = in[k] < 0 ? 0 : in[k];
        out[k] = (uint16_t)(x > UINT16_MAX ? UINT16_MAX : x);
    }
}

static int any_of(const uint8_t *block, int64_t width)
{
    int any = 0;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            any |= block[y * width + x];
    return any;
}

stvc_status pixels_show(const int32_t *pixels, const uint8_t *concealed, int64_t bands,
                        int64_t height, int64_t width, const int32_t *instead, int64_t blocks,
                        uint16_t *out)
{
    cut_row(pixels, bands * height * width, out);
    int64_t rank = 0;
    for (int64_t y = 0; y < height; y += SIDE)
        for (int64_t x = 0; x < width; x += SIDE) {
            const uint8_t *flags = concealed + y * width + x;
            if (!any_of(flags, width))
                continue;
            if (rank == blocks)
                return STVC_RANGE;
            for (int64_t c = 0; c < bands; c++) {
                uint16_t there[SIDE * SIDE], *here = out + (c * height + y) * width + x;
                cut_row(instead + (c * blocks + rank) * SIDE * SIDE, SIDE * SIDE, there);
                for (int k = 0; k < SIDE * SIDE; k++)
                    if (flags[k / SIDE * width + k % SIDE])
                        here[k / SIDE * width + k % SIDE] = there[k];
            }
            rank++;
        }
    return rank == blocks ? STVC_OK : STVC_RANGE;
}

/* ---- prediction ---- */

STVC_CLONES
static void weigh(const int32_t *const *planes, const int32_t *const *weights, int used,
                  const int64_t *start, int bits, int64_t tokens, int32_t *out)
{
    for (int64_t t = 0; t < tokens; t++, out += PREDICT_BLOCK) {
        int64_t sums[PREDICT_BLOCK];
        memcpy(sums, start, sizeof sums);
        for (int k = 0; k < used; k++) {
            const int32_t *plane = planes[k] + t * PREDICT_BLOCK, *weight = weights[k];
            for (int f = 0; f < PREDICT_BLOCK; f++)
                sums[f] += (int64_t)weight[f] * plane[f];
        }
        for (int f = 0; f < PREDICT_BLOCK; f++)
            out[f] = (int32_t)(uint32_t)(uint64_t)(sums[f] >> bits);
    }
}

void predict_units(const prediction *p, int32_t *out)
{
    for (int64_t c = 0; c < p->components; c++) {
        const int32_t *mean = p->mean + c * PREDICT_BLOCK;
        const int32_t *planes[PREDICT_PLANES], *weights[PREDICT_PLANES];
        int64_t start[PREDICT_BLOCK];
        int used = 0;
        for (int f = 0; f < PREDICT_BLOCK; f++)
            start[f] = mean[f] * ((int64_t)1 << p->bits) + ((int64_t)1 << p->bits >> 1);
        for (int k = 0; k < PREDICT_PLANES; k++) {
            const int32_t *weight = p->weights + (c * PREDICT_PLANES + k) * PREDICT_BLOCK;
            int any = 0;
            for (int f = 0; f < PREDICT_BLOCK; f++)
                any |= weight[f];
            if (!p->planes[k] || !any)
                continue;
            for (int f = 0; f < PREDICT_BLOCK; f++)
                start[f] -= (int64_t)weight[f] * mean[f];
            planes[used] = p->planes[k] + c * p->tokens * PREDICT_BLOCK;
            weights[used++] = weight;
        }
        int32_t *to = out + c * p->tokens * PREDICT_BLOCK;
        weigh(planes, weights, used, start, p->bits, p->tokens, to);
        for (int64_t t = 0; t < p->tokens; t++)
            to[t * PREDICT_BLOCK] =
                (int32_t)(uint32_t)((uint64_t)to[t * PREDICT_BLOCK] + (uint64_t)p->offsets[c]);
    }
}
