/* What the entropy network does between its products: `Passes` of stvc/model/int8_passes.py.
 *
 * Numbers in float32 are integers, or products that are to be rounded down. Whatever is in them,
 * NaN included, is cut before it becomes an integer. */
#include "kernels.h"

#include <string.h>

enum {
    LIMIT = 1 << 15, /* of the residual stream's summands: what network.py says of these */
    ACTIVATION_LIMIT = 127,
    OFFSET = 128,
    RESIDUAL_BITS = 6,
    LOCATION_LIMIT = 1 << 17,
    SCALES = 56,
    SCALE_OCTAVE = 4,
    SCALE_ZERO = 18
};

/* Compilers make no vectors of comparisons of floats, for NaN's sake; of those of their bits they
 * do. */
static inline int32_t bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float cut(float x, int32_t limit)
{
    const int32_t most = bits_of((float)limit), bits = bits_of(x);
    int32_t size = bits & INT32_MAX;
    size = (size < most ? size : most) | (bits & INT32_MIN);
    memcpy(&x, &size, sizeof x);
    return x;
}

static inline int32_t rounded_down(float x, int32_t limit)
{
    x = cut(x, limit);
    int32_t near_zero = (int32_t)x;
    return near_zero - (bits_of((float)near_zero - x) > 0);
}

static inline int32_t between(int32_t x, int32_t low, int32_t high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* The residual stream has 2 more bits than activations; both are rounded half up. */
static inline uint8_t activation(float h)
{
    int32_t x = (int32_t)cut(h * 0.25f + (OFFSET + 0.5f), LIMIT);
    return (uint8_t)between(x, OFFSET - ACTIVATION_LIMIT, OFFSET + ACTIVATION_LIMIT);
}

STVC_CLONES
void passes_begin(float *h, int64_t n, uint8_t *activations)
{
    for (int64_t i = 0; i < n; i++) {
        h[i] = (float)rounded_down(h[i], LIMIT);
        activations[i] = activation(h[i]);
    }
}

STVC_CLONES
void passes_absorb(float *h, const float *added, int64_t n, uint8_t *activations)
{
    for (int64_t i = 0; i < n; i++) {
        h[i] += (float)rounded_down(added[i], LIMIT);
        activations[i] = activation(h[i]);
    }
}

void passes_look_up(const int32_t *symbols, int64_t n, const uint8_t *table, int64_t reach,
                    uint8_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t x = symbols[i];
        x = x < -reach ? -reach : x;
        out[i] = table[(x > reach ? reach : x) + reach];
    }
}

/* Sums are unsigned: what neighbors suggest is the caller's, and may be anything. */
STVC_CLONES
static void place_token(const passes_heads *a, const float *heads, const int16_t *moves,
                        const int32_t *near, int32_t *location, int32_t *scale)
{
    const int n = a->count, candidates = a->candidates;
    uint32_t sums[PASSES_COEFFICIENTS];
    int32_t move[PASSES_COEFFICIENTS];
    for (int k = 0; k < n; k++)
        sums[k] = (uint32_t)(8 * rounded_down(heads[k], LIMIT));
    for (int c = 0; c < candidates; c++) {
        const float *gates = heads + (2 + c) * n;
        for (int k = 0; k < n; k++)
            move[k] = moves[k * candidates + c];
        for (int k = 0; k < n; k++)
            sums[k] += (uint32_t)(rounded_down(gates[k], ACTIVATION_LIMIT) * move[k]);
    }
    const float *gates = heads + (2 + candidates) * n;
    if (near)
        for (int k = 0; k < n; k++)
            sums[k] += (uint32_t)rounded_down(gates[k], ACTIVATION_LIMIT) * (uint32_t)near[k];
    for (int k = 0; k < n; k++) {
        int32_t x = (int32_t)(sums[k] + (1 << RESIDUAL_BITS >> 1)) >> RESIDUAL_BITS;
        location[k] = between(x, -LOCATION_LIMIT, LOCATION_LIMIT);
        int32_t s = SCALE_OCTAVE * rounded_down(heads[n + k], LIMIT);
        s = (s + (SCALE_ZERO << RESIDUAL_BITS) + (1 << RESIDUAL_BITS >> 1)) >> RESIDUAL_BITS;
        scale[k] = between(s, 0, SCALES - 1);
    }
}

void passes_place(const passes_heads *a, int32_t *location, int32_t *scale)
{
    const int64_t n = a->count;
    for (int64_t u = 0; u < a->units; u++)
        for (int64_t t = 0; t < a->rows; t++) {
            int64_t at = u * a->rows + t, token = u * a->tokens + a->first + t;
            place_token(a, a->heads + at * (3 + a->candidates) * n,
                        a->moves + (token * PASSES_COEFFICIENTS + a->low) * a->candidates,
                        a->near ? a->near + at * n : NULL, location + at * n, scale + at * n);
        }
}
