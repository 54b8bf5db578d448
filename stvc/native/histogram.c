/* How often each level occurs in the bands of a unit: `band_scales` of stvc/codec/costs.py. */
#include "kernels.h"

#include <string.h>

stvc_status levels_count(const int32_t *symbols, const uint8_t *left_out, const uint8_t *band_of,
                         int64_t components, int64_t tokens, int64_t bands, int64_t low,
                         int64_t width, int64_t *out)
{
    for (int f = 0; f < TRANSFORM_BLOCK; f++)
        if (band_of[f] >= bands)
            return STVC_RANGE;
    memset(out, 0, (size_t)(components * bands * width) * sizeof *out);
    for (int64_t c = 0; c < components; c++) {
        int64_t *counts = out + c * bands * width;
        for (int64_t t = 0; t < tokens; t++) {
            const int32_t *token = symbols + (c * tokens + t) * TRANSFORM_BLOCK;
            if (left_out[t])
                continue;
            for (int f = 0; f < TRANSFORM_BLOCK; f++) {
                const int64_t level = token[f] - low;
                if (level < 0 || level >= width)
                    return STVC_RANGE;
                counts[band_of[f] * width + level]++;
            }
        }
    }
    return STVC_OK;
}
