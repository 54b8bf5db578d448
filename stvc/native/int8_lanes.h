/* One kind of instructions of int8_product.c, which includes this file once for each. */

/* `rows` rows through `tiles` vectors of outputs: both are constants where this is used, so that
 * the sums stay in registers. */
TARGET
static inline __attribute__((always_inline)) void
NAMED(block)(const int8_product *p, const KIND *x, int64_t columns, int64_t first, int64_t tile,
             int rows, int tiles, void *out)
{
    INTEGERS sums[ROWS * TILES];
    const int64_t words = columns * (int64_t)sizeof(KIND) / 4, next = words * sizeof(INTEGERS);
    const uint8_t *weights = p->packed + tile * next;
#pragma GCC unroll 24
    for (int k = 0; k < rows * tiles; k++)
        sums[k] = ZERO();
    for (int64_t q = 0; q < words; q++, weights += sizeof(INTEGERS)) {
        INTEGERS w[TILES];
#pragma GCC unroll 24
        for (int t = 0; t < tiles; t++)
            w[t] = LOAD(weights + t * next);
#pragma GCC unroll 24
        for (int r = 0; r < rows; r++) {
            int32_t word;
            memcpy(&word, (const uint8_t *)(x + r * columns) + 4 * q, sizeof word);
            INTEGERS one = SPREAD(word);
#pragma GCC unroll 24
            for (int t = 0; t < tiles; t++)
                DOT(sums[r * tiles + t], one, w[t]);
        }
    }
#pragma GCC unroll 24
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 24
        for (int t = 0; t < tiles; t++) {
            int64_t column = (tile + t) * LANES;
            NAMED(finish)(p, sums[r * tiles + t], column, (first + r) * p->outputs + column, out);
        }
}

/* All outputs of `count` rows (count, columns), of which the result's is number `first`. */
TARGET
static void NAMED(some_rows)(const int8_product *p, const KIND *x, int64_t columns, int64_t first,
                             int count, void *out)
{
    const int64_t tiles = (p->outputs + LANES - 1) / LANES;
    for (int64_t tile = 0; tile < tiles;) {
        if (tile + TILES <= tiles) {
            if (count == ROWS)
                NAMED(block)(p, x, columns, first, tile, ROWS, TILES, out);
            else
                for (int r = 0; r < count; r++)
                    NAMED(block)(p, x + r * columns, columns, first + r, tile, 1, TILES, out);
            tile += TILES;
        } else {
            if (count == ROWS)
                NAMED(block)(p, x, columns, first, tile, ROWS, 1, out);
            else
                for (int r = 0; r < count; r++)
                    NAMED(block)(p, x + r * columns, columns, first + r, tile, 1, 1, out);
            tile++;
        }
    }
}

static stvc_status NAMED(multiply)(const int8_product *p, void *out)
{
    /* Bytes in whole words are taken as they are; others are copied, zeros behind them. */
    const int64_t padded = (p->columns + 3) / 4 * 4;
    KIND *room = NULL;
    if ((sizeof(KIND) > 1 || padded != p->columns) &&
        !(room = calloc(ROWS, (size_t)padded * sizeof *room)))
        return STVC_MEMORY;
    for (int64_t r = 0; r < p->rows; r += ROWS) {
        const int count = p->rows - r < ROWS ? (int)(p->rows - r) : ROWS;
        const uint8_t *x = p->x + r * p->columns;
        for (int k = 0; room && k < count; k++)
            for (int64_t c = 0; c < p->columns; c++)
                room[k * padded + c] = x[k * p->columns + c];
        NAMED(some_rows)(p, room ? room : (const KIND *)x, padded, r, count, out);
    }
    free(room);
    return STVC_OK;
}
