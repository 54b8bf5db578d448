/* The network that corrects a mask pixel's votes: what `stvc/codec/mask_network.py` does.
 *
 * Hidden sums are 16 bits wide and the last one 32: mask_network_set refuses weights with which
 * the largest counts would not fit. */
#include "kernels.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    COUNTS = 16, /* of a pixel and a class */
    COMMON = 8,  /* of a pixel */
    H = MASK_HIDDEN,
    MARGIN = 512
};

/* The most that each can be: bounds of what is counted below. */
static const uint8_t MOST[COUNTS] = {4, 4, 4, 8, 4, 12, 8, 8, 1, 4, 4, 4, 1, 4, 4, 8};
static const uint8_t MOST_COMMON[COMMON] = {4, 4, 4, 1, 1, 8, 8, 5};

size_t mask_network_size(int classes)
{
    return (size_t)H * (COUNTS + 1 + COMMON + 4 * MASK_OCTAVES + classes + 4);
}

/* The largest magnitude in one lane of some rows. */
static int64_t largest(const int16_t *rows, int count, int lane)
{
    int64_t most = 0;
    for (int k = 0; k < count; k++) {
        int64_t size = llabs(rows[k * H + lane]);
        most = size > most ? size : most;
    }
    return most;
}

stvc_status mask_network_set(mask_network *n, const int16_t *numbers, size_t size, int classes)
{
    if ((classes != 2 && classes != MASK_CLASSES) || size != mask_network_size(classes))
        return STVC_RANGE;
    n->classes = classes;
    n->counts = numbers, numbers += COUNTS * H;
    n->margin = numbers, numbers += H;
    n->common = numbers, numbers += COMMON * H;
    n->place = numbers, numbers += 4 * MASK_OCTAVES * H;
    n->label = numbers, numbers += classes * H;
    n->out = numbers;
    int64_t last[4] = {0};
    for (int j = 0; j < H; j++) {
        int64_t sum = (llabs(n->margin[j]) * 32 * MARGIN >> 16) + 1;
        for (int f = 0; f < COUNTS; f++)
            sum += MOST[f] * llabs(n->counts[f * H + j]);
        for (int f = 0; f < COMMON; f++)
            sum += MOST_COMMON[f] * llabs(n->common[f * H + j]);
        sum += largest(n->place, 4 * MASK_OCTAVES, j) + largest(n->label, classes, j);
        if (sum > INT16_MAX)
            return STVC_RANGE;
        for (int kind = 0; kind < 4; kind++)
            last[kind] += sum * llabs(n->out[kind * H + j]);
    }
    for (int kind = 0; kind < 4; kind++)
        if (last[kind] > INT32_MAX)
            return STVC_RANGE;
    return STVC_OK;
}

void mask_network_begin(mask_refiner *r, const mask_network *network, int kind, int octave,
                        int rough, const int16_t *labels, const uint8_t *rare, int count)
{
    r->network = network;
    r->out = network->out + kind * H;
    const int16_t *place = network->place + (kind * MASK_OCTAVES + octave) * H;
    const int16_t *last = network->common + (COMMON - 1) * H;
    for (int j = 0; j < H; j++)
        r->base[j] = (int16_t)(place[j] + rough * last[j]);
    last = network->counts + (COUNTS - 1) * H;
    for (int k = 0; k < count; k++)
        for (int j = 0; j < H; j++)
            r->own[k][j] = (int16_t)(network->label[labels[k] * H + j] + rare[k] * last[j]);
}

/* Sixteen sums at a time stay in registers; compilers do not see it by themselves. */
typedef int16_t sixteen __attribute__((vector_size(32)));
typedef uint8_t bytes __attribute__((vector_size(32)));
typedef uint32_t fours __attribute__((vector_size(32)));

/* Add `times` a row of weights. */
static inline void add(sixteen *sum, int times, const int16_t *row)
{
    sixteen weights;
    memcpy(&weights, row, sizeof weights);
    *sum += weights * (int16_t)times;
}

/* How many of four neighbors, by groups, have a class; and how many of the 8 nearest agree with
 * the raster before (16) and with the second (17). */
static inline int count_groups(const mask_seen *seen, int label, uint32_t *groups)
{
    uint8_t same[64];
    fours any = {0};
    for (int half = 0; half < 2; half++) {
        bytes part;
        memcpy(&part, (const uint8_t *)seen + 32 * half, sizeof part);
        fours ones = (fours)((bytes)(part == (uint8_t)label) & (uint8_t)1);
        memcpy(same + 32 * half, &ones, sizeof ones);
        any |= ones;
        ones += ones >> 16;
        ones += ones >> 8;
        ones &= 255;
        memcpy(groups + 8 * half, &ones, sizeof ones);
    }
    uint64_t some[4];
    memcpy(some, &any, sizeof some);
    if (!(some[0] | some[1] | some[2] | some[3]))
        return 0;
    uint64_t near, past, second;
    memcpy(&near, same + offsetof(mask_seen, around), sizeof near);
    memcpy(&past, same + offsetof(mask_seen, past), sizeof past);
    memcpy(&second, same + offsetof(mask_seen, second), sizeof second);
    groups[16] = (uint32_t)((near & past) * UINT64_C(0x0101010101010101) >> 56);
    groups[17] = (uint32_t)((near & second) * UINT64_C(0x0101010101010101) >> 56);
    return 1;
}

/* By how much the votes for each class exceed those for its best rival. */
static inline void margins(const int32_t *votes, int count, int16_t *margin)
{
    int32_t first = votes[0] > votes[1] ? votes[0] : votes[1];
    int32_t second = votes[0] > votes[1] ? votes[1] : votes[0];
    for (int k = 2; k < count; k++)
        if (votes[k] > first)
            second = first, first = votes[k];
        else if (votes[k] > second)
            second = votes[k];
    for (int k = 0; k < count; k++) {
        int32_t lead = votes[k] - (votes[k] == first ? second : first);
        margin[k] = (int16_t)(lead < -MARGIN ? -MARGIN : lead > MARGIN ? MARGIN : lead);
    }
}

STVC_CLONES
void mask_network_refine(const mask_refiner *r, const mask_seen *seen, const int16_t *labels,
                         int count, int32_t *votes)
{
    /* Which row of weights each group of four counts for. */
    static const uint8_t row[18] = {0, 1, 2, 3, 3, 4, 5, 5, 5, 8, 9, 10, 11, 12, 13, 14, 6, 7};
    const mask_network *n = r->network;
    const int unknown = n->classes;
    sixteen sums[MASK_LANES], common;
    int told[COMMON - 1] = {0};
    told[3] = seen->past_here[0] != unknown, told[4] = seen->second_here[0] != unknown;
    for (int k = 0; k < count; k++) {
        uint32_t groups[18];
        memcpy(&sums[k], r->own[k], sizeof sums[k]);
        if (!count_groups(seen, labels[k], groups))
            continue;
#pragma GCC unroll 18
        for (int g = 0; g < 18; g++)
            add(&sums[k], (int)groups[g], n->counts + row[g] * H);
        told[0] += groups[0], told[1] += groups[1], told[2] += groups[2];
        told[5] += groups[16], told[6] += groups[17];
    }
    memcpy(&common, r->base, sizeof common);
    for (int f = 0; f < COMMON - 1; f++)
        add(&common, told[f], n->common + f * H);
    int16_t margin[MASK_LANES];
    margins(votes, count, margin);
    for (int k = 0; k < count; k++) {
        int16_t hidden[H];
        sums[k] += common;
        memcpy(hidden, &sums[k], sizeof hidden);
        const int16_t lead = (int16_t)(32 * margin[k]);
        int32_t gain = 0;
        for (int j = 0; j < H; j++) {
            int16_t value = (int16_t)(hidden[j] + (int16_t)((lead * n->margin[j]) >> 16));
            gain += (value > 0 ? value : 0) * r->out[j];
        }
        votes[k] += gain >> 14;
    }
}
