/* One kind of instructions of transform.c, which includes this file once for each. */

TARGET
static void NAMED(forward_row)(const block_transform *t, const int32_t *plane, int64_t width, int32_t *out)
{
    for (int64_t b = 0; b < width / SIDE; b++, plane += SIDE, out += TRANSFORM_BLOCK) {
        double parts[TRANSFORM_BLOCK], found[TRANSFORM_BLOCK];
        for (int y = 0; y < HALF; y++) {
            double rows[2][SIDE];
            for (int x = 0; x < SIDE; x++) {
                rows[0][x] = plane[y * width + x];
                rows[1][x] = plane[(SIDE - 1 - y) * width + x];
            }
            fold(rows[0], rows[1], parts + y * HALF);
        }
        NAMED(multiply)(t->forward, parts, found);
        int32_t whole[TRANSFORM_BLOCK];
        for (int k = 0; k < TRANSFORM_BLOCK; k++)
            whole[k] = rounded(found[k]);
        for (int k = 0; k < TRANSFORM_BLOCK; k++)
            out[t->order[k]] = whole[k];
    }
}

TARGET
static void NAMED(inverse_row)(const block_transform *t, const int32_t *in, int64_t width, int32_t *plane)
{
    for (int64_t b = 0; b < width / SIDE; b++, plane += SIDE, in += TRANSFORM_BLOCK) {
        double numbers_in[TRANSFORM_BLOCK], parts[TRANSFORM_BLOCK];
        for (int k = 0; k < TRANSFORM_BLOCK; k++)
            numbers_in[k] = in[t->order[k]];
        NAMED(multiply)(t->inverse, numbers_in, parts);
        for (int y = 0; y < HALF; y++) {
            double rows[2][SIDE];
            unfold(parts + y * HALF, rows[0], rows[1]);
            for (int x = 0; x < SIDE; x++) {
                plane[y * width + x] = rounded(rows[0][x]);
                plane[(SIDE - 1 - y) * width + x] = rounded(rows[1][x]);
            }
        }
    }
}

TARGET
static void NAMED(fill_block)(const block_transform *t, const double *clear, const uint8_t *hidden,
                       double step, double *block)
{
    enum { ROUNDS = 12 };
    double sum = 0;
    int64_t count = 0;
    for (int k = 0; k < TRANSFORM_BLOCK; k++)
        if (!hidden[k])
            sum += clear[k], count++;
    const double level = sum / (double)(count ? count : 1);
    for (int k = 0; k < TRANSFORM_BLOCK; k++)
        block[k] = hidden[k] ? level : clear[k];
    for (int round = 0; round < ROUNDS; round++) {
        const double threshold = step * (0.8 + (0.2 - 0.8) * round / (ROUNDS - 1));
        double parts[TRANSFORM_BLOCK], found[TRANSFORM_BLOCK];
        for (int y = 0; y < HALF; y++)
            fold(block + y * SIDE, block + (SIDE - 1 - y) * SIDE, parts + y * HALF);
        NAMED(multiply)(t->forward, parts, found);
        for (int k = 0; k < TRANSFORM_BLOCK; k++)
            found[k] = found[k] >= threshold || found[k] <= -threshold ? found[k] : 0;
        NAMED(multiply)(t->inverse, found, parts);
        for (int y = 0; y < HALF; y++)
            unfold(parts + y * HALF, block + y * SIDE, block + (SIDE - 1 - y) * SIDE);
        for (int k = 0; k < TRANSFORM_BLOCK; k++)
            block[k] = hidden[k] ? block[k] : clear[k];
    }
}

/* Coefficients of a block in floating point. */
TARGET
static void NAMED(forward_real)(const block_transform *t, const double *block, double *out)
{
    double parts[TRANSFORM_BLOCK], found[TRANSFORM_BLOCK];
    for (int y = 0; y < HALF; y++)
        fold(block + y * SIDE, block + (SIDE - 1 - y) * SIDE, parts + y * HALF);
    NAMED(multiply)(t->forward, parts, found);
    for (int k = 0; k < TRANSFORM_BLOCK; k++)
        out[t->order[k]] = found[k];
}
