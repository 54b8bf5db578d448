/* The range coder of the bit stream: 32-bit words, 64-bit state, probabilities in units of 2**-24.
 *
 * It writes and reads the words of the library constriction (docs/format/entropy.md has the
 * decoder in Python), and does a whole batch of symbols at once: where each is addressed, in which
 * order they come, runs of one table, low bits, escapes. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#define ONE ((uint32_t)1 << RANGE_BITS)
#define LEAST_RANGE ((uint64_t)1 << 32)

/* ---- decoder ---- */

static uint32_t next_word(range_decoder *d)
{
    uint32_t word = 0;
    for (int k = 0; k < 4; k++)
        if (d->size - d->position > (size_t)k)
            word |= (uint32_t)d->bytes[d->position + k] << 8 * k;
    d->position += d->size - d->position < 4 ? d->size - d->position : 4;
    return word;
}

void range_decoder_start(range_decoder *d, const uint8_t *bytes, size_t size)
{
    d->bytes = bytes, d->size = size, d->position = 0;
    d->lower = 0, d->range = UINT64_MAX;
    d->point = (uint64_t)next_word(d) << 32;
    d->point |= next_word(d);
}

/* Where the point lies, in units of 2**-24. The range is never below 2**32: `scale` is not 0. */
static inline stvc_status quantile(const range_decoder *d, uint64_t *scale, uint32_t *found)
{
    *scale = d->range >> RANGE_BITS;
    uint64_t q = (d->point - d->lower) / *scale;
    *found = (uint32_t)q;
    return q < ONE ? STVC_OK : STVC_IMPOSSIBLE;
}

/* Go into the interval [left, right); 0 <= left < right <= 2**24. */
static inline void narrow(range_decoder *d, uint64_t scale, uint32_t left, uint32_t right)
{
    d->lower += scale * left;
    d->range = scale * (right - left);
    if (d->range < LEAST_RANGE) {
        d->lower <<= 32, d->range <<= 32;
        d->point = d->point << 32 | next_word(d);
    }
}

stvc_status range_decode_uniform(range_decoder *d, uint32_t size, uint32_t *value)
{
    if (size < 2 || size > ONE)
        return STVC_RANGE;
    uint64_t scale;
    uint32_t q, bin = ONE / size;
    stvc_status status = quantile(d, &scale, &q);
    if (status)
        return status;
    uint32_t v = q / bin;
    v = v < size - 1 ? v : size - 1;
    narrow(d, scale, v * bin, v == size - 1 ? ONE : (v + 1) * bin);
    *value = v;
    return STVC_OK;
}

stvc_status range_decode_flag(range_decoder *d, uint32_t edge, int *value)
{
    if (edge == 0 || edge >= ONE)
        return STVC_RANGE;
    uint64_t scale;
    uint32_t q;
    stvc_status status = quantile(d, &scale, &q);
    if (status)
        return status;
    *value = q >= edge;
    narrow(d, scale, *value ? edge : 0, *value ? ONE : edge);
    return STVC_OK;
}

/* For long runs: the symbol at the lower end of each 256th of all there is. */
enum { PARTS_BITS = 8, LONG_RUN = 64 };

static void index_table(uint16_t *parts, const uint32_t *edges)
{
    uint32_t symbol = 0;
    for (uint32_t part = 0; part < 1 << PARTS_BITS; part++) {
        while (edges[symbol + 1] <= part << (RANGE_BITS - PARTS_BITS))
            symbol++;
        parts[part] = (uint16_t)symbol;
    }
}

/* Which of n >= 1 symbols has its edge at or below q: the last one, without branches. */
static inline uint32_t search(const uint32_t *edges, uint32_t n, uint32_t q)
{
    const uint32_t *base = edges;
    while (n > 1) {
        uint32_t half = n / 2;
        base += base[half] <= q ? half : 0;
        n -= half;
    }
    return (uint32_t)(base - edges);
}

/* ---- encoder ---- */

void range_encoder_start(range_encoder *e)
{
    e->lower = 0, e->range = UINT64_MAX;
    e->words = NULL, e->count = e->capacity = 0;
}

void range_encoder_free(range_encoder *e)
{
    free(e->words);
    range_encoder_start(e);
}

static void carry(uint32_t *words, size_t count)
{
    while (count > 0 && ++words[--count] == 0)
        ;
}

/* 0 <= left < right <= 2**24. */
static inline stvc_status encode(range_encoder *e, uint32_t left, uint32_t right)
{
    uint64_t scale = e->range >> RANGE_BITS, lower = e->lower + scale * left;
    if (lower < e->lower)
        carry(e->words, e->count);
    e->lower = lower;
    e->range = scale * (right - left);
    if (e->range >= LEAST_RANGE)
        return STVC_OK;
    if (e->count == e->capacity) {
        size_t more = e->capacity ? 2 * e->capacity : 256;
        uint32_t *words = realloc(e->words, more * sizeof *words);
        if (!words)
            return STVC_MEMORY;
        e->words = words, e->capacity = more;
    }
    e->words[e->count++] = (uint32_t)(e->lower >> 32);
    e->lower <<= 32, e->range <<= 32;
    return STVC_OK;
}

stvc_status range_encode_uniform(range_encoder *e, uint32_t size, uint32_t value)
{
    if (size < 2 || size > ONE || value >= size)
        return STVC_RANGE;
    uint32_t bin = ONE / size;
    return encode(e, value * bin, value == size - 1 ? ONE : (value + 1) * bin);
}

stvc_status range_encode_flag(range_encoder *e, uint32_t edge, int value)
{
    if (edge == 0 || edge >= ONE)
        return STVC_RANGE;
    return encode(e, value ? edge : 0, value ? ONE : edge);
}

stvc_status range_encode_part(range_encoder *e, uint32_t left, uint32_t right)
{
    return encode(e, left, right);
}

stvc_status range_encoder_words(const range_encoder *e, uint32_t **out, size_t *count)
{
    *out = NULL, *count = 0;
    if (e->range == UINT64_MAX)
        return STVC_OK; /* nothing was encoded */
    uint32_t *words = malloc((e->count + 2) * sizeof *words);
    if (!words)
        return STVC_MEMORY;
    if (e->count)
        memcpy(words, e->words, e->count * sizeof *words);
    uint64_t point = e->lower + (LEAST_RANGE - 1);
    if (point < e->lower)
        carry(words, e->count);
    *out = words, *count = e->count;
    words[(*count)++] = (uint32_t)(point >> 32);
    if ((uint32_t)((e->lower + e->range) >> 32) == (uint32_t)(point >> 32))
        words[(*count)++] = 0;
    return STVC_OK;
}

void range_words_free(uint32_t *words)
{
    free(words);
}

/* ---- batches of symbols ---- */

stvc_status range_room_start(range_room *s, const range_tables *t, int64_t n)
{
    memset(s, 0, sizeof *s);
    if (n < 0 || n > INT32_MAX || t->count == 0 || t->count > UINT16_MAX)
        return STVC_RANGE;
    size_t room = n ? (size_t)n : 1;
    s->order = malloc(room * sizeof *s->order);
    s->table = malloc(room * sizeof *s->table);
    s->low = malloc(room);
    s->bits = malloc(room);
    s->stops = malloc((t->count + 1) * sizeof *s->stops);
    s->checked = calloc(t->count, 1);
    s->size = n;
    int whole = s->order && s->table && s->low && s->bits && s->stops && s->checked;
    return whole ? STVC_OK : STVC_MEMORY;
}

void range_room_free(range_room *s)
{
    free(s->order), free(s->table), free(s->low), free(s->bits), free(s->stops);
    free(s->checked);
}

static int64_t scale_of(const range_batch *b, int64_t i)
{
    return b->scale_size == 1 ? ((const uint8_t *)b->scale)[i] : ((const int64_t *)b->scale)[i];
}

stvc_status range_table_of(const range_tables *t, int64_t location, int64_t scale, uint16_t *table,
                           uint8_t *low)
{
    if (scale < 0 || scale >= RANGE_SCALES)
        return STVC_RANGE;
    int bits = scale < RANGE_DIRECT ? 0 : (int)(scale - RANGE_DIRECT) / RANGE_OCTAVE + 1;
    /* Dropping low bits rounds down: the center of a coarse bin lies half a bin above its floor,
     * so the mean is -1/2 in coarse units, which is fraction 0. */
    int fraction =
        bits ? 0 : (int)(((uint64_t)location + RANGE_FRACTIONS / 2) & (RANGE_FRACTIONS - 1));
    size_t found = (size_t)(fraction * RANGE_DIRECT + scale - RANGE_OCTAVE * bits);
    *table = (uint16_t)found, *low = (uint8_t)bits;
    return found < t->count ? STVC_OK : STVC_RANGE;
}

static stvc_status sort_batch(range_room *s, const range_tables *t, const range_batch *b)
{
    if (b->n < 0 || b->n > s->size)
        return STVC_RANGE;
    memset(s->stops, 0, (t->count + 1) * sizeof *s->stops);
    s->most_low = 0;
    for (int64_t i = 0; i < b->n; i++) {
        stvc_status status =
            range_table_of(t, b->location[i], scale_of(b, i), &s->table[i], &s->low[i]);
        if (status)
            return status;
        s->most_low = s->low[i] > s->most_low ? s->low[i] : s->most_low;
        s->stops[s->table[i] + 1]++;
    }
    for (size_t k = 0; k < t->count; k++)
        s->stops[k + 1] += s->stops[k];
    for (int64_t i = 0; i < b->n; i++)
        s->order[s->stops[s->table[i]]++] = (int32_t)i;
    return STVC_OK; /* what were starts are stops now */
}

/* Edges of a table: n symbols have n + 1 of them. Checked when it is first met. */
static stvc_status open_table(range_room *s, const range_tables *t, size_t k,
                              const uint32_t **edges, uint32_t *n)
{
    int64_t start = t->starts[k], stop = t->starts[k + 1];
    if (start < 0 || stop - start < 3 || stop > (int64_t)t->edge_count)
        return STVC_RANGE;
    *edges = t->edges + start, *n = (uint32_t)(stop - start - 1);
    if (s->checked[k])
        return STVC_OK;
    s->checked[k] = 1;
    for (uint32_t j = 0; j < *n; j++)
        if ((*edges)[j] >= (*edges)[j + 1])
            return STVC_RANGE; /* and nobody goes on */
    return (*edges)[0] == 0 && (*edges)[*n] == ONE ? STVC_OK : STVC_RANGE;
}

int32_t range_reach(const range_tables *t, size_t k)
{
    return (t->starts[k + 1] - t->starts[k] - 3) / 2;
}

/* An integer of `count` bits, 1 to 24: the lowest 12 first. */
static stvc_status decode_bits(range_decoder *d, int count, uint32_t *value)
{
    int low = count < RANGE_UNIFORM_BITS ? count : RANGE_UNIFORM_BITS;
    uint32_t more = 0;
    stvc_status status = range_decode_uniform(d, (uint32_t)1 << low, value);
    if (!status && count > low) {
        status = range_decode_uniform(d, (uint32_t)1 << (count - low), &more);
        *value |= more << low;
    }
    return status;
}

static stvc_status encode_bits(range_encoder *e, int count, uint32_t value)
{
    int low = count < RANGE_UNIFORM_BITS ? count : RANGE_UNIFORM_BITS;
    stvc_status status =
        range_encode_uniform(e, (uint32_t)1 << low, value & (((uint32_t)1 << low) - 1));
    if (!status && count > low)
        status = range_encode_uniform(e, (uint32_t)1 << (count - low), value >> low);
    return status;
}

static stvc_status decode_escape(range_decoder *d, int32_t reach, int64_t *value)
{
    uint32_t length, excess = 0;
    int negative;
    stvc_status status = range_decode_uniform(d, RANGE_ESCAPE_BITS, &length);
    if (!status && length)
        status = decode_bits(d, (int)length, &excess);
    if (!status)
        status = range_decode_flag(d, ONE / 2, &negative);
    if (!status)
        *value = negative ? -((int64_t)reach + excess) : (int64_t)reach + excess;
    return status;
}

static stvc_status encode_escape(range_encoder *e, int32_t reach, int64_t value)
{
    int64_t excess = (value < 0 ? -value : value) - reach; /* > 0 */
    int length = 0;
    while (excess >> length)
        length++;
    stvc_status status = range_encode_uniform(e, RANGE_ESCAPE_BITS, (uint32_t)length);
    if (!status)
        status = encode_bits(e, length, (uint32_t)excess);
    return status ? status : range_encode_flag(e, ONE / 2, value < 0);
}

#define ESCAPED INT64_MIN

/* Runs of all tables into `out`, escaped symbols marked; returns how many in *escaped. */
static stvc_status decode_runs(range_decoder *d, const range_tables *t, range_room *s, int64_t *out,
                               int64_t *escaped)
{
    int64_t at = 0;
    uint16_t parts[1 << PARTS_BITS];
    for (size_t k = 0; k < t->count; k++) {
        if (at == s->stops[k])
            continue;
        const uint32_t *edges;
        uint32_t n;
        stvc_status status = open_table(s, t, k, &edges, &n);
        if (status)
            return status;
        int32_t reach = range_reach(t, k);
        int long_run = s->stops[k] - at >= LONG_RUN && n <= UINT16_MAX;
        if (long_run)
            index_table(parts, edges); /* the last edge, 2**24, ends every search in it */
        for (; at < s->stops[k]; at++) {
            uint64_t scale;
            uint32_t q, symbol;
            status = quantile(d, &scale, &q);
            if (status)
                return status;
            if (long_run)
                for (symbol = parts[q >> (RANGE_BITS - PARTS_BITS)]; edges[symbol + 1] <= q;)
                    symbol++;
            else
                symbol = search(edges, n, q);
            narrow(d, scale, edges[symbol], edges[symbol + 1]);
            int64_t value = (int64_t)symbol - reach;
            *escaped += value > reach;
            out[s->order[at]] = value > reach ? ESCAPED : value;
        }
    }
    return STVC_OK;
}

stvc_status range_decode_batch(range_decoder *d, const range_tables *t, const range_batch *b,
                               range_room *s, int64_t *out)
{
    int64_t escaped = 0;
    stvc_status status = sort_batch(s, t, b);
    if (!status)
        status = decode_runs(d, t, s, out, &escaped);
    if (!status && s->most_low)
        memset(s->bits, 0, b->n);
    for (int count = 1; !status && count <= s->most_low; count++)
        for (int64_t i = 0; !status && i < b->n; i++)
            if (s->low[i] == count) {
                uint32_t value = 0;
                status = decode_bits(d, count, &value);
                s->bits[i] = (uint8_t)value;
            }
    for (int64_t i = 0; !status && escaped && i < b->n; i++)
        if (out[i] == ESCAPED) {
            status = decode_escape(d, range_reach(t, s->table[i]), &out[i]);
            escaped--;
        }
    if (!status) {
        for (int64_t i = 0; s->most_low && i < b->n; i++)
            out[i] = out[i] * ((int64_t)1 << s->low[i]) + s->bits[i];
        for (int64_t i = 0; i < b->n; i++)
            out[i] = (int64_t)((uint64_t)out[i] + (uint64_t)range_whole(b->location[i]));
    }
    return status;
}

stvc_status range_decode_symbols(range_decoder *d, const range_tables *t, const range_batch *b,
                                 int64_t *out)
{
    range_room room;
    stvc_status status = range_room_start(&room, t, b->n);
    if (!status)
        status = range_decode_batch(d, t, b, &room, out);
    range_room_free(&room);
    return status;
}

/* A symbol relative to the whole part of its location; 32 bits hold it in every archive. */
static inline int64_t relative_of(const range_batch *b, const int64_t *symbols, int64_t i)
{
    return (int32_t)(uint32_t)((uint64_t)symbols[i] - (uint64_t)range_whole(b->location[i]));
}

stvc_status range_encode_batch(range_encoder *e, const range_tables *t, const range_batch *b,
                               range_room *s, const int64_t *symbols)
{
    int64_t at = 0, escaped = 0;
    stvc_status status = sort_batch(s, t, b);
    for (size_t k = 0; !status && k < t->count; k++) {
        if (at == s->stops[k])
            continue;
        const uint32_t *edges;
        uint32_t n;
        status = open_table(s, t, k, &edges, &n);
        int32_t reach = range_reach(t, k);
        for (; !status && at < s->stops[k]; at++) {
            int64_t i = s->order[at];
            int64_t high = relative_of(b, symbols, i) >> s->low[i];
            int beyond = high > reach || high < -(int64_t)reach;
            escaped += beyond;
            uint32_t symbol = (uint32_t)(beyond ? 2 * reach + 1 : high + reach); /* < n */
            status = encode(e, edges[symbol], edges[symbol + 1]);
        }
    }
    for (int count = 1; !status && count <= s->most_low; count++)
        for (int64_t i = 0; !status && i < b->n; i++)
            if (s->low[i] == count)
                status = encode_bits(e, count,
                                     (uint32_t)(relative_of(b, symbols, i) & ((1 << count) - 1)));
    for (int64_t i = 0; !status && escaped && i < b->n; i++) {
        int64_t high = relative_of(b, symbols, i) >> s->low[i];
        int32_t reach = range_reach(t, s->table[i]);
        if (high > reach || high < -(int64_t)reach) {
            status = encode_escape(e, reach, high);
            escaped--;
        }
    }
    return status;
}

stvc_status range_encode_symbols(range_encoder *e, const range_tables *t, const range_batch *b,
                                 const int64_t *symbols)
{
    range_room room;
    stvc_status status = range_room_start(&room, t, b->n);
    if (!status)
        status = range_encode_batch(e, t, b, &room, symbols);
    range_room_free(&room);
    return status;
}
