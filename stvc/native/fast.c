/* The fast entropy model between its products, and its inputs: twins of stvc/codec/fast_coder.py
 * and stvc/model/fast.py, fast_features.py. All tokens of a batch go through a layer at once, in
 * pieces that stay in the cache. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum {
    PIECE = 96, /* rows */
    TOP = 127,
    GATE = 127,
    MOVE_BITS = 7, /* RESIDUAL_BITS, and those of LOCATION_GRAIN */
    GRAIN = 2,
    GRAINS = (1 << 15) / GRAIN - 1, /* at most */
    MANTISSA = 20,
    ONE = 127 << 3,
    BLOCK = FAST_BLOCK,
    /* of `in_steps` in stvc/model/features.py */
    RECIPROCAL = FAST_RECIPROCAL,
    FINER = 3
};

static stvc_status run(const int8_product *layer, int level, const uint8_t *x, int64_t rows,
                       void *out)
{
    int8_product p = *layer;
    p.x = x, p.rows = rows;
    return int8_multiply(&p, level, out);
}

/* ---- trunk ---- */

/* Sums rounded half up and cut; what is below 0 may be rounded toward it. */
STVC_CLONES
static void activate(const float *known, const float *earlier, int64_t n, uint8_t *out)
{
    for (int64_t k = 0; k < n; k++) {
        float x = (earlier ? known[k] + earlier[k] : known[k]) + 0.5f;
        x = x < 0 ? 0 : x > TOP ? TOP : x;
        out[k] = (uint8_t)(int32_t)x;
    }
}

stvc_status fast_trunk(const fast_layers *f, const uint8_t *features, const uint8_t *earlier,
                       int64_t rows, uint8_t *heard, uint8_t *told)
{
    const int64_t width = f->trunk.outputs;
    float *room = malloc((size_t)(2 * PIECE * width) * sizeof *room);
    uint8_t *found = malloc((size_t)(PIECE * width));
    stvc_status status = room && found ? STVC_OK : STVC_MEMORY;
    for (int64_t at = 0; !status && at < rows; at += PIECE) {
        const int64_t n = rows - at < PIECE ? rows - at : PIECE;
        float *more = earlier ? room + PIECE * width : NULL;
        status = run(&f->trunk, f->level, features + at * f->trunk.columns, n, room);
        if (!status && earlier)
            status = run(&f->earlier, f->level, earlier + at * f->earlier.columns, n, more);
        if (status)
            break;
        activate(room, more, n * width, found);
        for (int64_t k = 0; k < n; k++) {
            memcpy(heard + (at + k) * f->heard, found + k * width, (size_t)width);
            memset(heard + (at + k) * f->heard + width, 0, (size_t)(f->told - width));
            memcpy(told + (at + k) * f->told, found + k * width, (size_t)width);
            memset(told + (at + k) * f->told + width, 0, (size_t)(f->told - width));
        }
    }
    free(room), free(found);
    return status;
}

/* ---- a group ---- */

/* Rounded means over the four nearest and the four diagonal neighbors; a grid has a rim. */
STVC_CLONES
static void listen(const uint8_t *here, int64_t row, int64_t n, uint8_t *out)
{
    const uint8_t *up = here - row, *down = here + row;
    for (int64_t k = 0; k < n; k++) {
        out[k] = (uint8_t)((up[k] + down[k] + here[k - n] + here[k + n] + 2) >> 2);
        out[n + k] = (uint8_t)((up[k - n] + up[k + n] + down[k - n] + down[k + n] + 2) >> 2);
    }
}

static inline int32_t cut(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* Numbers whose magnitude is below 2**23, rounded half up. */
static inline int32_t half_up(float x)
{
    x += 0.5f;
    int32_t whole = (int32_t)x;
    return whole - (x < (float)whole);
}

STVC_CLONES
static void locate(const float *heads, const int16_t *moves, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i < n; i++, heads += FAST_LOW * (1 + FAST_MOVES)) {
        for (int c = 0; c < FAST_LOW; c++, moves += FAST_MOVES) {
            int32_t sum = 8 * half_up(heads[c]) + (1 << MOVE_BITS >> 1);
            for (int k = 0; k < FAST_MOVES; k++)
                sum += cut(half_up(heads[(1 + k) * FAST_LOW + c]), -GATE, GATE) * moves[k];
            *out++ = GRAIN * cut(sum >> MOVE_BITS, -GRAINS, GRAINS);
        }
    }
}

stvc_status fast_step(const fast_layers *f, const fast_group *g, const fast_grid *grid,
                      const uint8_t *told, const int16_t *moves, uint8_t *around, uint8_t *heard,
                      int32_t *where, uint8_t *scale)
{
    const int64_t n = g->around.outputs, row = (grid->width + 2) * n;
    const int64_t heads = FAST_LOW * (1 + FAST_MOVES);
    float *sums = malloc((size_t)(PIECE * heads) * sizeof *sums);
    uint8_t *room = malloc((size_t)(PIECE * (g->hidden.outputs > n ? g->hidden.outputs : n)));
    stvc_status status = sums && room ? STVC_OK : STVC_MEMORY;
    for (int64_t at = 0; !status && at < grid->rows; at += PIECE) {
        const int64_t count = grid->rows - at < PIECE ? grid->rows - at : PIECE;
        status = run(&g->around, f->level, told + at * f->told, count, room);
        for (int64_t k = 0; !status && k < count; k++)
            memcpy(around + grid->place[at + k] * n, room + k * n, (size_t)n);
    }
    for (int64_t at = 0; !status && at < grid->rows; at += PIECE) {
        const int64_t count = grid->rows - at < PIECE ? grid->rows - at : PIECE;
        for (int64_t k = 0; k < count; k++)
            listen(around + grid->place[at + k] * n, row, n, heard + (at + k) * f->heard + f->told);
        status = run(&g->hidden, f->level, heard + at * f->heard, count, room);
        if (!status)
            status = run(&g->scale, f->level, room, count, scale + at * g->scale.outputs);
        if (!status && where)
            status = run(&g->move, f->level, room, count, sums);
        if (!status && where)
            locate(sums, moves + at * FAST_LOW * FAST_MOVES, count, where + at * FAST_LOW);
    }
    free(sums), free(room);
    return status;
}

void fast_hear(const fast_layers *f, const int32_t *symbols, int64_t rows, int64_t count,
               int64_t at, const uint8_t *levels, int64_t most, uint8_t *heard, uint8_t *told)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < count; k++) {
            int64_t size = symbols[r * count + k];
            size = size < 0 ? -size : size;
            const uint8_t level = levels[size < most ? size : most];
            heard[r * f->heard + at + k] = level;
            told[r * f->told + at + k] = level;
        }
}

/* ---- inputs ---- */

static inline int32_t minus(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a - (uint32_t)b);
}

/* 8 log2(1 + |8 x|) read off the bits of floats, each operation rounded alone. */
STVC_CLONES
static void tell(const int32_t *a, const int32_t *b, float per_step, uint8_t *out)
{
    for (int k = 0; k < BLOCK; k++) {
        float x = (float)minus(a[k], b[k]) * per_step;
        int32_t bits;
        x = x < 0 ? -x : x;
        x += 1;
        memcpy(&bits, &x, sizeof bits);
        bits = (bits >> MANTISSA) - ONE;
        out[k] = (uint8_t)(bits < TOP ? bits : TOP);
    }
}

STVC_CLONES
static void move(const int32_t *const *others, const int32_t *about, double reciprocal,
                 int16_t *out)
{
    const double half = (double)((int64_t)1 << RECIPROCAL >> 1);
    const double unit = 1.0 / (double)((int64_t)1 << RECIPROCAL);
    for (int c = 0; c < FAST_LOW; c++)
        for (int k = 0; k < FAST_MOVES; k++) {
            double u = (minus(others[k][c], about[c]) * reciprocal + half) * unit;
            u = u < -FAST_LIMIT ? -FAST_LIMIT : u > FAST_LIMIT ? FAST_LIMIT : u;
            const int32_t whole = (int32_t)u;
            *out++ = (int16_t)(whole - (u < whole));
        }
}

void fast_inputs(const fast_unit *u, uint8_t *known, int64_t width, int16_t *moves)
{
    for (int64_t c = 0; c < u->components; c++) {
        const int32_t *mean = u->mean + c * BLOCK;
        for (int64_t r = 0; r < u->rows; r++) {
            const int64_t token = u->row[r], at = (c * u->tokens + token) * BLOCK;
            const int32_t *recent = u->recent ? u->recent + at : mean;
            const int32_t *second = u->second ? u->second + at : mean;
            const int32_t *average = u->average ? u->average + at : mean;
            const int32_t *background = u->background ? u->background + at : NULL;
            const int32_t *about = u->predicted + at;
            const int64_t step = u->steps[token];
            uint8_t *to = known + (c * u->rows + r) * width;
            if (u->blank)
                memset(to, 0, FAST_PLANES * BLOCK);
            else {
                const float per_step = 8.0f / (float)step;
                tell(average, mean, per_step, to);
                tell(recent, second, per_step, to + BLOCK);
                tell(recent, about, per_step, to + 2 * BLOCK);
                tell(background ? background : average, about, per_step, to + 3 * BLOCK);
            }
            const int32_t *others[FAST_MOVES] = {recent, background ? background : mean, mean,
                                                 second, average};
            move(others, about, (double)(((int64_t)1 << (RECIPROCAL + FINER)) / step),
                 moves + (c * u->rows + r) * FAST_LOW * FAST_MOVES);
        }
    }
}
