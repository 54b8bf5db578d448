/* One kind of instructions of products.c, which includes this file once for each. */

/* Four variables against `vectors` vectors of them: constants where this is used, so that the sums
 * stay in registers. */
TARGET
static inline __attribute__((always_inline)) void
NAMED(tile)(const products_batch *b, int64_t i, int64_t j, int vectors, double *sums)
{
    const int64_t next = (b->variables + 3) / 4 * 4 * WALK_LANES;
    VECTOR sum[4][3];
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
#pragma GCC unroll 3
        for (int t = 0; t < vectors; t++)
            sum[k][t] = LOAD(sums + (i + k) * b->wide + j + t * VECTOR_LANES);
    const double *row = b->rows + j, *weighted = b->weighted + i * WALK_LANES;
    for (int64_t first = 0; first < b->count; first += WALK_LANES, weighted += next) {
        const int64_t left = b->count - first, lanes = left < WALK_LANES ? left : WALK_LANES;
        for (int64_t p = 0; p < lanes; p++, row += b->wide) {
            VECTOR r[3];
#pragma GCC unroll 3
            for (int t = 0; t < vectors; t++)
                r[t] = LOAD(row + t * VECTOR_LANES);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                VECTOR one = SPREAD(weighted[k * WALK_LANES + p]);
#pragma GCC unroll 3
                for (int t = 0; t < vectors; t++)
                    sum[k][t] = MULTIPLY_ADD(one, r[t], sum[k][t]);
            }
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
#pragma GCC unroll 3
        for (int t = 0; t < vectors; t++)
            STORE(sums + (i + k) * b->wide + j + t * VECTOR_LANES, sum[k][t]);
}

TARGET
static void NAMED(add)(const products_batch *b, double *sums)
{
    for (int64_t i = 0; i < b->variables; i += 4)
        for (int64_t j = i / VECTOR_LANES * VECTOR_LANES; j < b->wide;) {
            const int64_t left = (b->wide - j) / VECTOR_LANES;
            if (left >= 3)
                NAMED(tile)(b, i, j, 3, sums);
            else if (left == 2)
                NAMED(tile)(b, i, j, 2, sums);
            else
                NAMED(tile)(b, i, j, 1, sums);
            j += 3 * VECTOR_LANES;
        }
}

#undef VECTOR
#undef VECTOR_LANES
#undef NAMED
#undef TARGET
#undef LOAD
#undef STORE
#undef SPREAD
#undef MULTIPLY_ADD
