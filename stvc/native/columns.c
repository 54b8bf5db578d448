/* A group's coefficients, one column of tokens after the other, with scales that follow what the
 * earlier columns of each token taught; the definition is in stvc/codec/adaptation.py. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { PRIOR = 1 << 14, MOST = 8, INFORMATION = 1 << 20, BEYOND = 1 << 24 };

/* What each token has taught so far, and what a column is coded with. */
typedef struct {
    int32_t *score, *information; /* (tokens,) */
    int64_t *location, *symbols;  /* (tokens,) of one column */
    uint8_t *base, *scale;        /* (tokens,) without and with what was taught */
    range_room room;
} workspace;

static void leave(workspace *w)
{
    free(w->score), free(w->information), free(w->location), free(w->symbols);
    free(w->base), free(w->scale);
    range_room_free(&w->room);
}

static stvc_status enter(workspace *w, const range_tables *t, const range_columns *c)
{
    memset(w, 0, sizeof *w);
    if (c->tokens < 0 || c->columns < 0 || c->columns > COLUMNS_MOST)
        return STVC_RANGE;
    size_t room = c->tokens ? (size_t)c->tokens : 1;
    w->score = calloc(room, sizeof *w->score);
    w->information = calloc(room, sizeof *w->information);
    w->location = malloc(room * sizeof *w->location);
    w->symbols = malloc(room * sizeof *w->symbols);
    w->base = malloc(room), w->scale = malloc(room);
    if (!w->score || !w->information || !w->location || !w->symbols || !w->base || !w->scale)
        return STVC_MEMORY;
    return range_room_start(&w->room, t, c->tokens);
}

static inline int clip(int x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

/* Scales of a column. Sums of at most 64 scores and informations stay below 2**27, numerators below
 * 2**33: quotients of such integers in double are never rounded across an integer. */
STVC_CLONES
static void correct(const workspace *w, int64_t tokens, int weight)
{
    for (int64_t i = 0; i < tokens; i++) {
        double total = w->information[i] + PRIOR;
        double moved = (2.0 * weight * w->score[i] + total) / (2 * total);
        moved = moved < -MOST ? -MOST : moved > MOST ? MOST : moved;
        int step = (int)(moved + 2 * MOST) - 2 * MOST; /* rounds down */
        int scale = (int)w->base[i] + step;
        scale = scale < 0 ? 0 : scale;
        w->scale[i] = (uint8_t)(scale > RANGE_SCALES - 1 ? RANGE_SCALES - 1 : scale);
    }
}

static stvc_status start_column(workspace *w, const range_columns *c, int64_t j)
{
    int weight = c->weight[j], widening = c->widening[j];
    if (weight < 0 || weight > COLUMNS_WEIGHT || widening < -RANGE_SCALES ||
        widening > RANGE_SCALES)
        return STVC_RANGE;
    for (int64_t i = 0; i < c->tokens; i++) {
        w->location[i] = c->location[i * c->columns + j];
        w->base[i] =
            (uint8_t)clip(c->scale[i * c->columns + j] + widening, 0, RANGE_SCALES - 1);
    }
    correct(w, c->tokens, weight);
    return STVC_OK;
}

/* As `range_table_of`, of a scale that is known to be one; inlined. */
static inline int table_of(int64_t location, int scale, uint8_t *low)
{
    int bits = scale < RANGE_DIRECT ? 0 : (scale - RANGE_DIRECT) / RANGE_OCTAVE + 1;
    int fraction =
        bits ? 0 : (int)(((uint64_t)location + RANGE_FRACTIONS / 2) & (RANGE_FRACTIONS - 1));
    *low = (uint8_t)bits;
    return fraction * RANGE_DIRECT + scale - RANGE_OCTAVE * bits;
}

/* Entry of a symbol in its table: the last one stands for all that are beyond. */
static inline int64_t entry_of(const range_tables *t, int table, uint8_t low,
                               int64_t location, int64_t symbol)
{
    int64_t high = (symbol - range_whole(location)) >> low;
    int64_t reach = (t->starts[table + 1] - t->starts[table] - 3) / 2; /* as `range_reach` */
    return t->starts[table] - table + (high > reach || high < -reach ? 2 * reach + 1 : high + reach);
}

static stvc_status learn(workspace *w, const range_tables *t, const range_columns *c)
{
    for (int64_t i = 0; i < c->tokens; i++) {
        uint8_t low;
        int table = table_of(w->location[i], w->base[i], &low);
        if (table >= (int64_t)t->count)
            return STVC_RANGE;
        int64_t entry = entry_of(t, table, low, w->location[i], w->symbols[i]);
        if (entry < 0 || entry >= (int64_t)c->score_count)
            return STVC_RANGE;
        w->score[i] += c->scores[entry];
        w->information[i] += clip(c->information[table], 0, INFORMATION);
    }
    return STVC_OK;
}

stvc_status columns_decode(range_decoder *d, const range_tables *t, const range_columns *c,
                           int32_t *out)
{
    workspace w;
    stvc_status status = enter(&w, t, c);
    for (int64_t j = 0; !status && j < c->columns; j++) {
        status = start_column(&w, c, j);
        range_batch b = {w.location, w.scale, 1, c->tokens};
        if (!status)
            status = range_decode_batch(d, t, &b, &w.room, w.symbols);
        for (int64_t i = 0; !status && i < c->tokens; i++) {
            if (w.symbols[i] >= BEYOND || w.symbols[i] <= -BEYOND)
                status = STVC_IMPOSSIBLE;
            out[i * c->columns + j] = (int32_t)w.symbols[i];
        }
        if (!status && j + 1 < c->columns)
            status = learn(&w, t, c);
    }
    leave(&w);
    return status;
}

stvc_status columns_correct(const range_tables *t, const range_columns *c, const int32_t *symbols,
                            uint8_t *out)
{
    workspace w;
    stvc_status status = enter(&w, t, c);
    for (int64_t j = 0; !status && j < c->columns; j++) {
        status = start_column(&w, c, j);
        for (int64_t i = 0; !status && i < c->tokens; i++) {
            w.symbols[i] = symbols[i * c->columns + j];
            out[i * c->columns + j] = w.scale[i];
        }
        if (!status && j + 1 < c->columns)
            status = learn(&w, t, c);
    }
    leave(&w);
    return status;
}

stvc_status columns_encode(range_encoder *e, const range_tables *t, const range_columns *c,
                           const int32_t *symbols)
{
    workspace w;
    stvc_status status = enter(&w, t, c);
    for (int64_t j = 0; !status && j < c->columns; j++) {
        for (int64_t i = 0; i < c->tokens; i++) {
            w.location[i] = c->location[i * c->columns + j];
            w.scale[i] = c->scale[i * c->columns + j];
            w.symbols[i] = symbols[i * c->columns + j];
        }
        range_batch b = {w.location, w.scale, 1, c->tokens};
        status = range_encode_batch(e, t, &b, &w.room, w.symbols);
    }
    leave(&w);
    return status;
}

stvc_status columns_costs(const range_tables *t, const range_columns *c, const int32_t *symbols,
                          const int32_t *widenings, int64_t count, int64_t *out)
{
    memset(out, 0, (size_t)(c->columns * count) * sizeof *out);
    if (t->count < RANGE_FRACTIONS * RANGE_DIRECT)
        return STVC_RANGE;
    for (int64_t k = 0; k < count; k++)
        if (widenings[k] < -RANGE_SCALES || widenings[k] > RANGE_SCALES)
            return STVC_RANGE;
    for (int64_t i = 0; i < c->tokens; i++)
        for (int64_t j = 0; j < c->columns; j++) {
            int64_t at = i * c->columns + j, location = c->location[at];
            int base = c->scale[at] + clip(c->widening[j], -RANGE_SCALES, RANGE_SCALES);
            for (int64_t k = 0; k < count; k++) {
                uint8_t low;
                int table = table_of(location, clip(base + widenings[k], 0, RANGE_SCALES - 1), &low);
                int64_t entry = entry_of(t, table, low, location, symbols[at]);
                if (entry < 0 || entry >= (int64_t)c->score_count)
                    return STVC_RANGE;
                out[j * count + k] += c->scores[entry] + 64 * low;
            }
        }
    return STVC_OK;
}
