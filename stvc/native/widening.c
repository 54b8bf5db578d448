/* What a unit's columns cost under wider scales, and the columns themselves, written under those
 * that were chosen; twins of stvc/codec/widening.py and columns.py. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

/* Sums for one coefficient more: as wide as vectors like it, of which WIDENINGS count. */
enum { SUMS = 32 };

/* Add what a coefficient costs that lies beyond the table. */
static stvc_status add_far(int32_t *sums, const range_tables *t, const int16_t *costs,
                           size_t count, int32_t symbol, int32_t location, uint8_t scale)
{
    int32_t tried[WIDENINGS], none = 0;
    int64_t found[WIDENINGS];
    for (int k = 0; k < WIDENINGS; k++)
        tried[k] = k - WIDENING_MOST;
    const range_columns one = {1, 1, &location, &scale, &none, &none, costs, count, NULL};
    stvc_status status = columns_costs(t, &one, &symbol, tried, WIDENINGS, found);
    for (int k = 0; !status && k < WIDENINGS; k++)
        sums[k] += (int32_t)found[k];
    return status;
}

/* Add what rows of coefficients cost. */
STVC_CLONES
static stvc_status add_rows(const widening_unit *u, const int16_t *near, const range_tables *t,
                            const int16_t *costs, size_t cost_count, int64_t first, int64_t stop,
                            int32_t *sums)
{
    enum { ACROSS = 2 * WIDENING_REACH + 1 };
    for (int64_t i = first; i < stop; i++)
        for (int64_t j = 0; j < u->columns; j++) {
            const int32_t symbol = u->symbols[i * u->columns + j];
            const int32_t where = j < u->located ? u->location[i * u->located + j] : 0;
            const uint8_t scale = u->scale[i * u->columns + j];
            const int64_t away = symbol - range_whole(where);
            int32_t *mine = sums + j * SUMS;
            if (scale >= RANGE_SCALES)
                return STVC_RANGE;
            if (away < -WIDENING_REACH || away > WIDENING_REACH) {
                stvc_status status = add_far(mine, t, costs, cost_count, symbol, where, scale);
                if (status)
                    return status;
                continue;
            }
            const int64_t fraction =
                ((uint32_t)where + RANGE_FRACTIONS / 2) & (RANGE_FRACTIONS - 1);
            const int16_t *row =
                near + (fraction * ACROSS + away + WIDENING_REACH) * WIDENING_ROW + scale;
            for (int k = 0; k < SUMS; k++)
                mine[k] += row[k];
        }
    return STVC_OK;
}

stvc_status widening_costs(const widening_unit *u, const int16_t *near, const range_tables *t,
                           const int16_t *costs, size_t cost_count, int64_t *out)
{
    enum { AT_ONCE = 1 << 14 /* tokens whose costs 32 bits hold */ };
    const size_t room = (size_t)(u->columns * SUMS) + 1;
    int32_t *sums = malloc(room * sizeof *sums);
    stvc_status status = sums ? STVC_OK : STVC_MEMORY;
    memset(out, 0, (size_t)(u->components * u->columns * WIDENINGS) * sizeof *out);
    for (int64_t c = 0; !status && c < u->components; c++)
        for (int64_t at = 0; !status && at < u->tokens; at += AT_ONCE) {
            const int64_t stop = u->tokens - at < AT_ONCE ? u->tokens : at + AT_ONCE;
            memset(sums, 0, room * sizeof *sums);
            status = add_rows(u, near, t, costs, cost_count, c * u->tokens + at,
                              c * u->tokens + stop, sums);
            for (int64_t j = 0; j < u->columns; j++)
                for (int k = 0; k < WIDENINGS; k++)
                    out[(c * u->columns + j) * WIDENINGS + k] += sums[j * SUMS + k];
        }
    free(sums);
    return status;
}

/* Columns of one group, side by side. */
static void gather(const widening_unit *u, int64_t component, int64_t low, int64_t count,
                   int32_t *symbols, int32_t *location, uint8_t *scale)
{
    for (int64_t i = 0; i < u->tokens; i++) {
        const int64_t row = component * u->tokens + i;
        for (int64_t j = 0; j < count; j++, symbols++, location++, scale++) {
            *symbols = u->symbols[row * u->columns + low + j];
            *scale = u->scale[row * u->columns + low + j];
            *location = low + j < u->located ? u->location[row * u->located + low + j] : 0;
        }
    }
}

stvc_status widening_encode(range_encoder *e, const range_tables *t, const widening_unit *u,
                            const range_columns *how, const int64_t *stops, int64_t groups)
{
    const size_t room = (size_t)(u->tokens * u->columns) + 1;
    int32_t *symbols = malloc(room * sizeof *symbols), *location = malloc(room * sizeof *location);
    uint8_t *scale = malloc(room), *corrected = malloc(room);
    stvc_status status =
        symbols && location && scale && corrected ? STVC_OK : STVC_MEMORY;
    for (int64_t c = 0; !status && c < u->components; c++) {
        int64_t low = 0;
        for (int64_t g = 0; !status && g < groups; low = stops[g++]) {
            const int64_t count = stops[g] - low;
            if (count < 0 || stops[g] > u->columns) {
                status = STVC_RANGE;
                break;
            }
            gather(u, c, low, count, symbols, location, scale);
            range_columns mine = *how;
            mine.tokens = u->tokens, mine.columns = count;
            mine.location = location, mine.scale = scale;
            mine.widening = how->widening + c * u->columns + low;
            mine.weight = how->weight + low;
            status = columns_correct(t, &mine, symbols, corrected);
            mine.scale = corrected;
            if (!status)
                status = columns_encode(e, t, &mine, symbols);
        }
    }
    free(symbols), free(location), free(scale), free(corrected);
    return status;
}
