/* The mask coder's encoder: a walk and the range coder without a detour.
 *
 * Edges are made of frequencies in float32, as the library constriction makes them: see
 * docs/format/masks.md. Frequencies are integers whose sum is below 2**24: sums are exact. */
#include "kernels.h"

#include <stdlib.h>

static stvc_status encode_rank(range_encoder *coder, const float *row, int count, int rank)
{
    float total = 0, below = 0, upto;
    for (int k = 0; k < count; k++)
        total += row[k];
    for (int k = 0; k < rank; k++)
        below += row[k];
    upto = below + row[rank];
    const uint32_t one = (uint32_t)1 << RANGE_BITS;
    const float scale = (float)(one - (uint32_t)count) / total;
    const uint32_t left = (uint32_t)(below * scale) + (uint32_t)rank;
    const uint32_t right = rank == count - 1 ? one : (uint32_t)(upto * scale) + (uint32_t)rank + 1;
    return left < right && right <= one ? range_encode_part(coder, left, right) : STVC_RANGE;
}

stvc_status mask_walk_encode(mask_walk *walk, const uint8_t *ranks, range_encoder *coder)
{
    const int count = walk->weights.count;
    const int64_t pixels = walk->height * walk->width;
    const int64_t most = walk->chunk < pixels ? walk->chunk : pixels;
    int32_t *coded = calloc((size_t)most, sizeof *coded);
    float *table = malloc((size_t)most * count * sizeof *table);
    stvc_status status = !coded || !table ? STVC_MEMORY : walk->pending ? STVC_RANGE : STVC_OK;
    if (!status)
        status = mask_walk_next(walk, coded, table);
    while (!status && walk->pending) {
        for (int64_t i = 0; i < walk->pending && !status; i++) {
            coded[i] = ranks[walk->positions[i]];
            status = coded[i] < count
                         ? encode_rank(coder, table + i * count, count, coded[i])
                         : STVC_RANGE;
        }
        if (!status)
            status = mask_walk_next(walk, coded, table);
    }
    free(coded), free(table);
    return status;
}
