/* Inputs of the pixel network: `ContextGatherer` of stvc/codec/predictive_context.py. */
#include "walk_lanes.h"

enum { MOST = 127, ONE = 32, MIDDLE_SCALE = 90 };

/* Differences in logarithmic units of the error that is expected. */
STVC_CLONES
static void compand(const double *restrict d, double size, int8_t *restrict in)
{
    const double rank = log16(size);
    int32_t found[CONTEXT_DIFFERENCES];
    for (int k = 0; k < CONTEXT_DIFFERENCES; k++) {
        const double far = log16(fabs(d[k]) + size) - rank, cut = far < MOST ? far : MOST;
        found[k] = (int32_t)(d[k] < 0 ? -cut : cut);
    }
    for (int k = 0; k < CONTEXT_DIFFERENCES; k++)
        in[k] = (int8_t)found[k];
}

static inline int8_t cut(int64_t v)
{
    return (int8_t)(v < -MOST ? -MOST : v > MOST ? MOST : v);
}

/* Whether all offsets stay within a buffer, whichever cell they start from. */
static int within(const int64_t *offsets, int64_t count, int64_t low, int64_t high, int64_t size)
{
    for (int64_t k = 0; k < count; k++)
        if (offsets[k] < -size || offsets[k] > size || low + offsets[k] < 0 ||
            high + offsets[k] >= size)
            return 0;
    return 1;
}

stvc_status pixel_context(const context_batch *c, int8_t *out)
{
    const int64_t n = c->n, ring = CONTEXT_RING, references = c->references;
    const int64_t values = CONTEXT_OWN + CONTEXT_BACK * (ring + 1) + references * (ring + 3);
    const int64_t beside = references ? CONTEXT_BESIDE : 0;
    if (references < 0 || references > CONTEXT_REFERENCES || c->row < 1 || c->plane < c->row)
        return STVC_RANGE;
    int64_t low = c->size, high = 0;
    for (int64_t i = 0; i < n; i++) {
        low = c->cells[i] < low ? c->cells[i] : low;
        high = c->cells[i] > high ? c->cells[i] : high;
    }
    if (n && (low < 0 || high >= c->size ||
              !within(c->value_offsets, values, low, high, c->all) ||
              !within(c->missed_offsets, CONTEXT_MISSED, low, high, c->size) ||
              !within(c->scale_offsets, CONTEXT_SCALES, low, high, c->size) ||
              !within(c->changed_offsets, beside, low, high, c->all) ||
              !within(c->unchanged_offsets, beside, low, high, c->all)))
        return STVC_RANGE;
    for (int64_t i = 0; i < n; i++) {
        const int64_t cell = c->cells[i], scale = c->scale[i];
        const double *v = c->values + cell, prediction = (double)c->prediction[i];
        const int64_t *offset = c->value_offsets;
        double d[CONTEXT_DIFFERENCES] = {0}, center[CONTEXT_BACK], middle[CONTEXT_REFERENCES], *to = d;
        for (int k = 0; k < CONTEXT_OWN; k++)
            *to++ = v[*offset++] * 8 - prediction;
        for (int b = 0; b < CONTEXT_BACK; b++) {
            center[b] = v[offset[ring]];
            for (int k = 0; k < ring; k++)
                *to++ = (v[offset[k]] - center[b]) * 8;
            offset += ring + 1;
        }
        for (int64_t r = 0; r < references; r++) {
            middle[r] = v[offset[ring]];
            for (int k = 0; k < ring; k++)
                *to++ = (v[offset[k]] - middle[r]) * 8;
            *to++ = middle[r] * 8 - prediction;
            *to++ = (v[offset[ring + 1]] - center[0]) * 8;
            *to++ = (v[offset[ring + 2]] - center[1]) * 8;
            offset += ring + 3;
        }
        to += (CONTEXT_REFERENCES - references) * (ring + 3);
        for (int k = 0; k < CONTEXT_MISSED; k++)
            *to++ = c->missed[cell + c->missed_offsets[k]];
        for (int k = 0; k < CONTEXT_PREDICTORS; k++)
            *to++ = c->each[k * n + i] - prediction;
        *to++ = c->correction[i];
        *to++ = references > 1 ? (middle[0] - middle[1]) * 8 : 0;
        for (int64_t k = 0; k < beside; k++)
            *to++ = (v[c->changed_offsets[k]] - v[c->unchanged_offsets[k]]) * 8;

        const double size = c->sizes[scale < 0 ? 0 : scale >= CONTEXT_SIZES ? CONTEXT_SIZES - 1 : scale];
        int8_t *in = out + i * CONTEXT_FEATURES;
        compand(d, size, in);
        int8_t *flag = in + CONTEXT_DIFFERENCES;
        memset(flag, 0, CONTEXT_FEATURES - CONTEXT_DIFFERENCES);
        const int64_t band = cell / c->plane - CONTEXT_BACK, inside = cell % c->plane;
        flag[band < 0 ? 0 : band < CONTEXT_BANDS ? band : CONTEXT_BANDS - 1] = ONE;
        flag += CONTEXT_BANDS;
        flag[0] = references > 0 ? ONE : 0;
        flag[1] = references > 1 ? ONE : 0;
        flag[2] = c->unclear[i] ? ONE : 0;
        flag[3] = cut(scale - MIDDLE_SCALE);
        flag[4] = cut(scale - c->level);
        for (int k = 0; k < CONTEXT_SCALES; k++)
            flag[5 + k] = cut((int64_t)c->scales[cell + c->scale_offsets[k]] - scale);
        flag[8] = inside / c->row == c->margin ? ONE : 0;
        flag[9] = inside % c->row == c->margin ? ONE : 0;
    }
    return STVC_OK;
}
