/* One kind of instructions of transform.c, which includes this file once for each. */

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
