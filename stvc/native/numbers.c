/* Integers through an adaptive binary range coder: what stvc/archive/numbers.py does. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum {
    START = 2,
    SEEN = 8,
    RECENT = 16,
    FULL = 2040,
    FOURS = 15,
    LENGTH = 1, /* nodes: flags of a number */
    TWO = 16,
    ONE = 31,
    SIGN = 127,
    TOP = 128,
    NODE = 10, /* where a voter's context, its place and its column start in its number */
    PLACE = 20,
    COLUMN = 22,
    TOP_BITS = 2,
    BITS = 8 /* at once */
};
#define WORD (UINT64_C(1) << 32)

/* ---- counts ---- */

static size_t slot_of(const number_coder *c, uint32_t key)
{
    size_t at = (size_t)(key * UINT32_C(0x9E3779B1)) & (c->room - 1);
    while (c->slots[at].used && c->slots[at].key != key)
        at = (at + 1) & (c->room - 1);
    return at;
}

/* Room for some flags more: counts that are looked up stay where they are meanwhile. */
static stvc_status make_room(number_coder *c, size_t more)
{
    if (2 * (c->count + more) <= c->room)
        return STVC_OK;
    number_slot *old = c->slots;
    const size_t before = c->room;
    c->room = before ? 2 * before : 1 << 10;
    c->slots = calloc(c->room, sizeof *c->slots);
    if (!c->slots) {
        c->slots = old, c->room = before;
        return STVC_MEMORY;
    }
    for (size_t k = 0; k < before; k++)
        if (old[k].used)
            c->slots[slot_of(c, old[k].key)] = old[k];
    free(old);
    return STVC_OK;
}

static number_slot *counts_of(number_coder *c, uint32_t key)
{
    number_slot *found = &c->slots[slot_of(c, key)];
    if (!found->used) {
        *found = (number_slot){key, {START, START}, 1};
        c->count++;
    }
    return found;
}

/* ---- bytes ---- */

static stvc_status append(number_coder *c, uint8_t byte)
{
    if (c->written == c->space) {
        const size_t space = c->space ? 2 * c->space : 256;
        uint8_t *bytes = realloc(c->bytes, space);
        if (!bytes)
            return STVC_MEMORY;
        c->bytes = bytes, c->space = space;
    }
    c->bytes[c->written++] = byte;
    return STVC_OK;
}

static stvc_status shift(number_coder *c)
{
    if (c->low >= WORD) {
        /* The first byte is never 255 when this comes: what is coded lies below 1. */
        size_t at = c->written;
        c->low -= WORD;
        while (at && c->bytes[--at] == UINT8_MAX)
            c->bytes[at] = 0;
        if (c->written)
            c->bytes[at]++;
    }
    stvc_status status = append(c, (uint8_t)(c->low >> 24));
    c->low = (c->low << 8) & (WORD - 1);
    return status;
}

static stvc_status refill(number_coder *c)
{
    stvc_status status = STVC_OK;
    for (; !status && c->range < UINT32_C(1) << 24; c->range <<= 8) {
        if (!c->decodes)
            status = shift(c);
        else
            c->point = c->point << 8 | (c->at < c->size ? c->block[c->at] : 0), c->at++;
    }
    return status;
}

static stvc_status split(number_coder *c, uint32_t zeros, uint32_t ones, int *value)
{
    const uint32_t part = (c->range >> 16) * ((zeros << 16) / (zeros + ones));
    if (c->decodes) {
        *value = c->point >= part;
        c->point -= *value ? part : 0;
    } else if (*value)
        c->low += part;
    c->range = *value ? c->range - part : part;
    return refill(c);
}

static stvc_status plain_bits(number_coder *c, int bits, uint32_t *value)
{
    c->range >>= bits;
    if (c->decodes) {
        *value = c->point / c->range;
        if (*value >> bits)
            return STVC_IMPOSSIBLE;
        c->point -= *value * c->range;
    } else
        c->low += (uint64_t)*value * c->range;
    return refill(c);
}

/* ---- numbers ---- */

static stvc_status flag(number_coder *c, const uint32_t *voters, int count, uint32_t node,
                        int *value)
{
    number_slot *known[NUMBER_VOTERS];
    uint32_t zeros = 0, ones = 0;
    stvc_status status = make_room(c, NUMBER_VOTERS);
    if (status)
        return status;
    for (int k = 0; k < count; k++) {
        known[k] = counts_of(c, voters[k] + node);
        zeros += known[k]->seen[0], ones += known[k]->seen[1];
    }
    status = split(c, zeros, ones, value);
    for (int k = 0; k < count; k++) {
        uint16_t *mine = &known[k]->seen[*value], *other = &known[k]->seen[!*value];
        *mine += SEEN;
        if (*other > RECENT)
            *other = (uint16_t)((*other + RECENT) >> 1);
        if (*mine + *other > FULL)
            *mine = (uint16_t)((*mine + 1) >> 1), *other = (uint16_t)((*other + 1) >> 1);
    }
    return status;
}

static int length_of(uint64_t x)
{
    int bits = 0;
    for (; x; x >>= 1)
        bits++;
    return bits;
}

stvc_status number_code(number_coder *c, uint32_t column, const uint32_t *contexts, int count,
                        int is_signed, int64_t *number)
{
    uint32_t voters[NUMBER_VOTERS] = {column << COLUMN};
    for (int k = 0; k < count; k++)
        voters[k + 1] = column << COLUMN | (uint32_t)(k + 1) << PLACE | contexts[k] << NODE;
    count++;
    const int64_t given = c->decodes ? 0 : *number;
    const uint64_t size = given < 0 ? -(uint64_t)given : (uint64_t)given;
    const int bits = length_of(size);
    int more = bits > 0, fours = 0, two, one, negative = given < 0;
    *number = 0;
    stvc_status status = flag(c, voters, count, 0, &more);
    if (status || !more)
        return status;
    for (;;) {
        more = bits > 4 * fours + 4;
        if ((status = flag(c, voters, count, LENGTH + fours, &more)))
            return status;
        if (!more)
            break;
        if (++fours == FOURS)
            return STVC_IMPOSSIBLE;
    }
    two = bits > 4 * fours + 2;
    if ((status = flag(c, voters, count, TWO + fours, &two)))
        return status;
    int found = 4 * fours + 2 * two;
    one = bits > found + 1;
    if ((status = flag(c, voters, count, ONE + found, &one)))
        return status;
    found += 1 + one;
    if (!is_signed)
        negative = 0;
    else if ((status = flag(c, voters, count, SIGN, &negative)))
        return status;
    int rest = found - 1;
    uint64_t magnitude = 1;
    for (int k = 0; k < TOP_BITS && rest; k++) {
        int bit = size >> --rest & 1;
        const uint32_t node = TOP + 8 * (uint32_t)found + (uint32_t)magnitude;
        if ((status = flag(c, voters, 1, node, &bit)))
            return status;
        magnitude = 2 * magnitude + (uint64_t)bit;
    }
    while (rest) {
        const int some = rest < BITS ? rest : BITS;
        rest -= some;
        uint32_t value = (uint32_t)(size >> rest) & ((UINT32_C(1) << some) - 1);
        if ((status = plain_bits(c, some, &value)))
            return status;
        magnitude = magnitude << some | value;
    }
    *number = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return STVC_OK;
}

stvc_status number_coder_start(number_coder *c, const uint8_t *block, size_t size)
{
    memset(c, 0, sizeof *c);
    c->range = UINT32_MAX;
    c->decodes = block != NULL;
    c->block = block, c->size = size;
    for (c->at = 0; block && c->at < 4; c->at++)
        c->point = c->point << 8 | (c->at < size ? block[c->at] : 0);
    return block && c->point >= c->range ? STVC_IMPOSSIBLE : STVC_OK;
}

stvc_status number_coder_finish(number_coder *c)
{
    const uint64_t last = c->low + c->range - 1;
    stvc_status status = STVC_OK;
    for (int zeros = 32; zeros >= 0; zeros--)
        if (last >> zeros << zeros >= c->low) {
            c->low = last >> zeros << zeros;
            break;
        }
    for (int k = 0; k < 4 && !status; k++)
        status = shift(c);
    while (c->written && !c->bytes[c->written - 1])
        c->written--;
    return status;
}

void number_coder_free(number_coder *c)
{
    free(c->slots), free(c->bytes);
    c->slots = NULL, c->bytes = NULL;
}
