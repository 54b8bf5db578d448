/* What a band was before it was cut: the search of stvc/codec/truncation_search.py, encoder only.
 *
 * Coefficients are visited one after the other, level by level; the pixels that depend on one are
 * made anew and priced. The values are those of `stvc.codec.wavelet.inverse`. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { REACH = 2, MOST_SIDE = 4 * REACH + 3, BEYOND = 256 };

typedef struct {
    int64_t height, width, first_row, first_column;
    int32_t *coefficients, *across, *values;
} level;

/* A rectangle that a trial changes, and what it held. */
typedef struct {
    int64_t top, bottom, left, right;
    int32_t values[MOST_SIDE * MOST_SIDE], across[MOST_SIDE * MOST_SIDE];
} patch;

static int64_t mirrored(int64_t k, int64_t n)
{
    k = k < 0 ? -k : k;
    return k > n - 1 ? 2 * (n - 1) - k : k;
}

static int64_t within(int64_t k, int64_t low, int64_t high)
{
    return k < low ? low : k > high ? high : k;
}

static void compose_row(const level *a, int64_t row, int64_t left, int64_t right)
{
    const int64_t n = a->width;
    const int32_t *from = a->coefficients + row * n;
    int32_t *to = a->across + row * n;
    int64_t c = left + ((left ^ a->first_column) & 1);
    for (; c <= right; c += 2)
        to[c] = from[c] - ((from[mirrored(c - 1, n)] + from[mirrored(c + 1, n)] + 2) >> 2);
    for (c = left + (((left ^ a->first_column) & 1) ^ 1); c <= right; c += 2)
        to[c] = from[c] + ((to[mirrored(c - 1, n)] + to[mirrored(c + 1, n)]) >> 1);
}

static void compose_columns(const level *a, int64_t top, int64_t bottom, int64_t left,
                            int64_t right)
{
    const int64_t w = a->width, h = a->height;
    int64_t r = top + ((top ^ a->first_row) & 1);
    for (; r <= bottom; r += 2) {
        const int32_t *above = a->across + mirrored(r - 1, h) * w;
        const int32_t *below = a->across + mirrored(r + 1, h) * w;
        for (int64_t c = left; c <= right; c++)
            a->values[r * w + c] = a->across[r * w + c] - ((above[c] + below[c] + 2) >> 2);
    }
    for (r = top + (((top ^ a->first_row) & 1) ^ 1); r <= bottom; r += 2) {
        const int32_t *above = a->values + mirrored(r - 1, h) * w;
        const int32_t *below = a->values + mirrored(r + 1, h) * w;
        for (int64_t c = left; c <= right; c++)
            a->values[r * w + c] = a->across[r * w + c] + ((above[c] + below[c]) >> 1);
    }
}

static void compose(const level *a)
{
    for (int64_t r = 0; r < a->height; r++)
        compose_row(a, r, 0, a->width - 1);
    compose_columns(a, 0, a->height - 1, 0, a->width - 1);
}

static int64_t price_of(const level *a, const int16_t *prices, int64_t top, int64_t bottom,
                        int64_t left, int64_t right)
{
    int64_t sum = 0;
    for (int64_t r = top; r <= bottom; r++)
        for (int64_t c = left; c <= right; c++)
            sum += prices[within(a->values[r * a->width + c], -BEYOND, 65535 + BEYOND) + BEYOND];
    return sum;
}

/* Copy between a plane and what a patch holds of it. */
static void copy(const patch *p, int64_t width, int32_t *plane, int32_t *held, int back)
{
    const size_t n = (size_t)(p->right - p->left + 1);
    for (int64_t r = p->top; r <= p->bottom; r++, held += n) {
        int32_t *row = plane + r * width + p->left;
        memcpy(back ? row : held, back ? held : row, n * sizeof *row);
    }
}

static patch *held(const level *a, patch *p, int64_t top, int64_t bottom, int64_t left,
                   int64_t right)
{
    p->top = within(top, 0, a->height - 1), p->bottom = within(bottom, 0, a->height - 1);
    p->left = within(left, 0, a->width - 1), p->right = within(right, 0, a->width - 1);
    copy(p, a->width, a->values, p->values, 0);
    copy(p, a->width, a->across, p->across, 0);
    return p;
}

static void put_back(const level *a, patch *p)
{
    copy(p, a->width, a->values, p->values, 1);
    copy(p, a->width, a->across, p->across, 1);
}

static uint32_t mixed(uint32_t a, uint32_t b)
{
    uint32_t z = a * 0x9E3779B1u ^ (b + 0x7F4A7C15u) * 0x85EBCA77u;
    z ^= z >> 15, z *= 0x2C1B3C6Du;
    z ^= z >> 12, z *= 0x297A2D39u;
    return z ^ z >> 15;
}

/* Another value that is cut to the same one. */
static int32_t other_of(int32_t came, int32_t now, uint32_t chance)
{
    if (came)
        return now == came ? came - (came > 0 ? 1 : -1) : came;
    const int32_t next = now + 1 + (int32_t)(chance & 1);
    return next > 1 ? next - 3 : next;
}

static int taken(int64_t dearer, const uint32_t *odds, uint32_t chance)
{
    return dearer < 0 || (dearer < UNTRUNCATE_DEARER && mixed(chance, 77) < odds[dearer]);
}

static void try_fine(const level *a, int64_t row, int64_t column, const truncation_search *s,
                     const uint32_t *odds, uint32_t chance)
{
    const int64_t k = row * a->width + column;
    const int32_t was = a->coefficients[k];
    patch p;
    held(a, &p, row - REACH, row + REACH, column - REACH, column + REACH);
    const int64_t before = price_of(a, s->prices, p.top, p.bottom, p.left, p.right);
    if (!before)
        return; /* nothing is left to find, and heat would only do harm */
    a->coefficients[k] = other_of(s->fine.came[k], was, chance);
    compose_row(a, row, p.left, p.right);
    compose_columns(a, p.top, p.bottom, p.left, p.right);
    const int64_t after = price_of(a, s->prices, p.top, p.bottom, p.left, p.right);
    if (!taken(after - before, odds, chance)) {
        a->coefficients[k] = was;
        put_back(a, &p);
    }
}

/* Low frequencies of the finest level are the values of the second. */
static void hand_down(const level *coarse, const level *fine, int64_t top, int64_t bottom,
                      int64_t left, int64_t right)
{
    for (int64_t r = top; r <= bottom; r++)
        for (int64_t c = left; c <= right; c++)
            fine->coefficients[(fine->first_row + 2 * r) * fine->width + fine->first_column +
                               2 * c] = coarse->values[r * coarse->width + c];
}

static void try_coarse(const level *b, const level *a, int64_t row, int64_t column,
                       const truncation_search *s, const uint32_t *odds, uint32_t chance)
{
    const int64_t k = row * b->width + column;
    const int32_t was = b->coefficients[k];
    patch q, p;
    held(b, &q, row - REACH, row + REACH, column - REACH, column + REACH);
    const int64_t top = a->first_row + 2 * q.top, bottom = a->first_row + 2 * q.bottom;
    const int64_t left = a->first_column + 2 * q.left, right = a->first_column + 2 * q.right;
    held(a, &p, top - 1, bottom + 1, left - 1, right + 1);
    const int64_t before = price_of(a, s->prices, p.top, p.bottom, p.left, p.right);
    if (!before)
        return;
    b->coefficients[k] = other_of(s->coarse.came[k], was, chance);
    compose_row(b, row, q.left, q.right);
    compose_columns(b, q.top, q.bottom, q.left, q.right);
    hand_down(b, a, q.top, q.bottom, q.left, q.right);
    for (int64_t r = top; r <= bottom; r += 2)
        compose_row(a, r, p.left, p.right);
    compose_columns(a, p.top, p.bottom, p.left, p.right);
    const int64_t after = price_of(a, s->prices, p.top, p.bottom, p.left, p.right);
    if (!taken(after - before, odds, chance)) {
        b->coefficients[k] = was;
        put_back(b, &q);
        hand_down(b, a, q.top, q.bottom, q.left, q.right);
        put_back(a, &p);
    }
}

static int level_start(level *a, const truncated_level *from)
{
    const size_t n = (size_t)(from->height * from->width);
    *a = (level){from->height, from->width, from->first_row, from->first_column, NULL, NULL, NULL};
    if (!n)
        return 1;
    a->coefficients = malloc(n * sizeof *a->coefficients);
    a->across = malloc(n * sizeof *a->across);
    a->values = malloc(n * sizeof *a->values);
    if (!a->coefficients || !a->across || !a->values)
        return 0;
    memcpy(a->coefficients, from->came, n * sizeof *a->coefficients);
    compose(a);
    return 1;
}

static void level_free(level *a)
{
    free(a->coefficients), free(a->across), free(a->values);
}

static void sweep(const level *a, const level *b, const truncation_search *s, int64_t at)
{
    const uint32_t *odds = s->odds + at * UNTRUNCATE_DEARER;
    for (int64_t r = 0; r < b->height; r++)
        for (int64_t c = 0; c < b->width; c++)
            if (s->coarse.lost[r * b->width + c])
                try_coarse(b, a, r, c, s, odds,
                           mixed((uint32_t)(2 * at + 1), (uint32_t)(r * b->width + c)));
    for (int64_t r = 0; r < a->height; r++)
        for (int64_t c = 0; c < a->width; c++)
            if (s->fine.lost[r * a->width + c])
                try_fine(a, r, c, s, odds,
                         mixed((uint32_t)(2 * at), (uint32_t)(r * a->width + c)));
}

stvc_status untruncate(const truncation_search *s, int32_t *values)
{
    level a, b = {0};
    stvc_status status = STVC_MEMORY;
    if (level_start(&a, &s->fine) && level_start(&b, &s->coarse)) {
        for (int64_t at = 0; at < s->sweeps; at++)
            sweep(&a, &b, s, at);
        memcpy(values, a.values, (size_t)(a.height * a.width) * sizeof *values);
        status = STVC_OK;
    }
    level_free(&a), level_free(&b);
    return status;
}
