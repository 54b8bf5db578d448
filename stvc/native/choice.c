/* What units would cost under each profile: `plain_costs` of stvc/codec/prediction_choice.py.
 *
 * Probed tokens go side by side. Logarithms are taken of products, whose exponents are
 * summed apart, so that nothing overflows; the Python twin adds up more of them, and rounds more. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE_BY_SIDE = 8,
    VECTORS = CHOICE_PROBES / SIDE_BY_SIDE,
    FOUR = 4,
    ONE_BITS = 127 << 23,
    FRACTION = (1 << 23) - 1,
    ROW = CHOICE_FREQUENCIES * CHOICE_PLANES,
    LINE = 64
};

typedef float floats __attribute__((vector_size(4 * SIDE_BY_SIDE)));
typedef int32_t integers __attribute__((vector_size(4 * SIDE_BY_SIDE)));

/* Some probes at one frequency, relative to the mean: what is read together lies together. */
typedef struct {
    float planes[CHOICE_PLANES][SIDE_BY_SIDE], wanted[SIDE_BY_SIDE];
} probed;

typedef struct {
    probed probes[VECTORS][CHOICE_FREQUENCIES];
    float first[CHOICE_ROWS][CHOICE_PROBES]; /* residuals of the lowest frequency */
    integers exponents[CHOICE_ROWS];
    floats fractions[CHOICE_ROWS];
} room;

static void gather(const choice *c, int64_t at, const float *mean, room *x)
{
    for (int64_t p = 0; p < c->probes; p++) {
        const int64_t token = at + c->probe[p] * CHOICE_FREQUENCIES;
        probed *to = x->probes[p / SIDE_BY_SIDE];
        const int64_t lane = p % SIDE_BY_SIDE;
        for (int f = 0; f < CHOICE_FREQUENCIES; f++)
            to[f].wanted[lane] = (float)c->target[token + f] - mean[f];
        for (int k = 0; k < CHOICE_PLANES; k++)
            for (int f = 0; c->planes[k] && f < CHOICE_FREQUENCIES; f++)
                to[f].planes[k][lane] = (float)c->planes[k][token + f] - mean[f];
    }
}

/* Floats as integers of the same order, and back. */
static inline int32_t key_of(int32_t bits)
{
    return bits ^ ((bits >> 31) & INT32_MAX);
}

/* The k-th smallest of keys, of which those that do not count are the greatest. */
STVC_CLONES
static int32_t select_kth(const int32_t *keys, int64_t k)
{
    for (int i = 0; i < CHOICE_PROBES; i++) {
        int32_t below = 0, equal = 0;
        for (int j = 0; j < CHOICE_PROBES; j++)
            below += keys[j] < keys[i], equal += keys[j] == keys[i];
        if (below <= k && k < below + equal)
            return keys[i];
    }
    return 0; /* never */
}

static float median(const float *x, int64_t n)
{
    int32_t keys[CHOICE_PROBES], middle[2];
    memcpy(keys, x, sizeof keys);
    for (int64_t k = 0; k < CHOICE_PROBES; k++)
        keys[k] = k < n ? key_of(keys[k]) : INT32_MAX;
    middle[0] = key_of(select_kth(keys, (n - 1) / 2));
    middle[1] = n % 2 ? middle[0] : key_of(select_kth(keys, n / 2));
    float both[2];
    memcpy(both, middle, sizeof both);
    return n % 2 ? both[0] : (both[0] + both[1]) / 2;
}

/* What a row leaves of some probes at a frequency. */
static inline __attribute__((always_inline)) void residual(const probed *x, const float *weights,
                                                           floats *out)
{
    floats sum, one;
    memcpy(&one, x->planes[0], sizeof one);
    sum = weights[0] * one;
    for (int k = 1; k < CHOICE_PLANES; k++) {
        memcpy(&one, x->planes[k], sizeof one);
        sum += weights[k] * one;
    }
    memcpy(&one, x->wanted, sizeof one);
    *out = one - sum;
}

/* Takes the exponents of positive numbers out of them. */
static inline __attribute__((always_inline)) void take_exponents(floats *x, integers *exponents)
{
    integers bits;
    memcpy(&bits, x, sizeof bits);
    *exponents += (bits >> 23) - 127;
    bits = (bits & FRACTION) | ONE_BITS;
    memcpy(x, &bits, sizeof bits);
}

/* First residuals of all rows, and the lift that is taken from them. */
STVC_CLONES
static void lift_first(const choice *c, room *x, float *lift)
{
    for (int64_t r = 0; r < c->rows; r++) {
        float *first = x->first[r];
        for (int v = 0; v * SIDE_BY_SIDE < c->probes; v++) {
            floats one;
            residual(x->probes[v], c->weights + r * ROW, &one);
            memcpy(first + v * SIDE_BY_SIDE, &one, sizeof one);
        }
        const float near = 1.4f * (float)c->step;
        int64_t below = 0, above = 0;
        for (int64_t p = 0; p < c->probes; p++)
            below += first[p] < near, above += first[p] > -near;
        if (2 * below > c->probes + 1 && 2 * above > c->probes + 1) {
            lift[r] = 0;
            continue; /* so is the median, and its lift less than two steps */
        }
        float found = rintf(median(first, c->probes) / (float)c->step);
        found = fabsf(found) < 2 ? 0 : found;
        found = found > c->most ? (float)c->most : found < -c->most ? (float)-c->most : found;
        lift[r] = found;
        for (int64_t p = 0; p < c->probes; p++)
            first[p] -= found * (float)c->step;
    }
}

/* Products of 1 + |residual| / step over all frequencies and probes: exponents and fractions. */
STVC_CLONES
static void multiply(const choice *c, room *x)
{
    const float reciprocal = (float)(1.0 / c->step);
    for (int v = 0; v * SIDE_BY_SIDE < c->probes; v++)
        for (int64_t r = 0; r < c->rows; r++) {
            const float *weights = c->weights + r * ROW;
            floats fractions = {1, 1, 1, 1, 1, 1, 1, 1}, product = fractions;
            integers exponents = {0};
            for (int f = 0; f < CHOICE_FREQUENCIES; f++) {
                floats ratio;
                if (f)
                    residual(&x->probes[v][f], weights + f * CHOICE_PLANES, &ratio);
                else
                    memcpy(&ratio, x->first[r] + v * SIDE_BY_SIDE, sizeof ratio);
                integers bits;
                memcpy(&bits, &ratio, sizeof bits);
                bits &= INT32_MAX;
                memcpy(&ratio, &bits, sizeof ratio);
                ratio = ratio * reciprocal + 1;
                product = f % FOUR ? product * ratio : ratio;
                if (f % FOUR == FOUR - 1) {
                    take_exponents(&product, &exponents);
                    fractions *= product;
                    /* ^ 16 numbers below 2 are below 2**16 */
                }
            }
            take_exponents(&fractions, &exponents);
            x->fractions[r] = v ? x->fractions[r] * fractions : fractions;
            x->exponents[r] = v ? x->exponents[r] + exponents : exponents;
        }
}

stvc_status choice_costs(const choice *c, double *cost, float *lift)
{
    for (int64_t p = 0; p < c->probes; p++)
        if (c->probe[p] < 0 || c->probe[p] >= c->tokens)
            return STVC_RANGE;
    void *memory = calloc(1, sizeof(room) + LINE);
    if (!memory)
        return STVC_MEMORY;
    room *x = (room *)((uint8_t *)memory + LINE - (uintptr_t)memory % LINE);
    for (int64_t k = 0; k < c->components; k++) {
        const int64_t at = k * c->tokens * CHOICE_FREQUENCIES;
        gather(c, at, c->mean + k * CHOICE_FREQUENCIES, x);
        lift_first(c, x, lift + k * c->rows);
        multiply(c, x);
        for (int64_t r = 0; r < c->rows; r++) {
            double product = 1, sum = 0;
            for (int n = 0; n < SIDE_BY_SIDE; n++)
                product *= x->fractions[r][n], sum += x->exponents[r][n];
            cost[k * c->rows + r] = sum + log2(product);
        }
    }
    free(memory);
    return STVC_OK;
}
