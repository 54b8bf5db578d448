/* From what the pixel network says to distributions of levels: `mixture_of` of
 * stvc/codec/predictive_mixture.py. Right shifts of negative numbers round down, as everywhere. */
#include "kernels.h"

enum {
    PARTS = MIXTURE_PARTS,
    COPIES = MIXTURE_COPIES,
    OUTPUT_LIMIT = 1 << 13,
    RESIDUAL_BITS = 6,
    LOCATION_BITS = 3,
    GRAIN_BITS = 6,
    WEIGHT_BITS = 16,
    OCTAVE = 16,
    LARGEST_SCALE = CONTEXT_SIZES - 1,
    LEAST_WIDTH = 2,
    MOST_WIDTH = 17,
    FARTHEST = 1 << 24,
    MOST_PITCH = 1 << 17,
    MOST = 1 << 30 /* of what comes in: sums and products stay far below 2**63 */
};

static inline int64_t between(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* For pitches above 0. */
static inline int64_t divided(int64_t x, int64_t pitch)
{
    const int64_t quotient = x / pitch;
    return quotient - (x % pitch < 0);
}

static void form_one(const mixture_form *f, int64_t i, int64_t octaves)
{
    const int64_t n = f->n, pitch = f->pitch, far = FARTHEST / pitch;
    const int64_t prediction = f->prediction[i], scale = f->scale[i];
    const int64_t whole = (prediction + 4) >> LOCATION_BITS;
    const int64_t size = (int64_t)f->sizes[between(scale, 0, LARGEST_SCALE)];
    int64_t found[3 * PARTS + COPIES], most = 0, sum = 0, share[PARTS + COPIES], high = -OUTPUT_LIMIT;
    for (int k = 0; k < 3 * PARTS + COPIES; k++)
        found[k] = between(f->outputs[i * (3 * PARTS + COPIES) + k], -OUTPUT_LIMIT, OUTPUT_LIMIT);
    for (int k = 0; k < PARTS; k++) {
        int64_t moved = prediction - (whole << LOCATION_BITS) + (found[k] * size >> RESIDUAL_BITS);
        moved *= 1 << (GRAIN_BITS - LOCATION_BITS);
        f->location[k * n + i] = between(pitch > 1 ? divided(moved, pitch) : moved, -far, far);
        const int64_t rank =
            between(scale + (found[PARTS + k] * OCTAVE >> RESIDUAL_BITS), 0, LARGEST_SCALE);
        f->inverse[k * n + i] = f->inverses[rank] * pitch;
        most = rank > most ? rank : most;
    }
    for (int k = 0; k < COPIES; k++) {
        const int64_t away = f->copied[k * n + i] - whole + pitch / 2;
        f->copies[k * n + i] = pitch > 1 ? divided(away, pitch) : away;
    }
    for (int k = 0; k < PARTS + COPIES; k++)
        high = found[2 * PARTS + k] > high ? found[2 * PARTS + k] : high;
    for (int k = 0; k < PARTS + COPIES; k++) {
        const int64_t below = high - found[2 * PARTS + k];
        share[k] = f->falling[below < MIXTURE_FALLING ? below : MIXTURE_FALLING - 1];
        sum += share[k];
    }
    for (int k = 0; k < PARTS + COPIES; k++)
        f->weight[k * n + i] = (int64_t)((uint64_t)(share[k] << WEIGHT_BITS) / (uint64_t)sum);
    const int64_t above = most - octaves * OCTAVE;
    f->width[i] = between(-(-above >> 4) + 4, LEAST_WIDTH, MOST_WIDTH);
}

stvc_status mixture_make(const mixture_form *f)
{
    const int64_t pitch = f->pitch;
    if (pitch < 1 || pitch > MOST_PITCH)
        return STVC_RANGE;
    for (int64_t i = 0; i < f->n; i++)
        if (f->prediction[i] != between(f->prediction[i], -MOST, MOST) ||
            f->scale[i] != between(f->scale[i], -MOST, MOST))
            return STVC_RANGE;
    for (int64_t k = 0; k < COPIES * f->n; k++)
        if (f->copied[k] != between(f->copied[k], -MOST, MOST))
            return STVC_RANGE;
    for (int k = 0; k < MIXTURE_FALLING; k++)
        if (f->falling[k] < 0 || f->falling[k] > MOST || !f->falling[0])
            return STVC_RANGE;
    int octaves = LOCATION_BITS - 1;
    for (int64_t left = pitch; left; left >>= 1)
        octaves++;
    for (int64_t i = 0; i < f->n; i++)
        form_one(f, i, octaves);
    return STVC_OK;
}
