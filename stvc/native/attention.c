/* Attention of the entropy network on 8-bit integers: `Int8Network._mix` of stvc/model/int8.py.
 *
 * Eight queries go side by side, one in each 32-bit lane; keys and values of a block are gathered
 * once for all its queries and heads. Activations are uint8 with an offset of 128.
 *
 * Nothing overflows, whatever the bytes are: queries are cut to -127 .. 127, keys to -95 .. 95,
 * values to -127 .. 127. A key and its position (within -32 .. 32, checked) stay in a byte, so
 * that a product of a head of up to 1024 numbers is below 2**26. The keys keep their offset: that
 * adds the same multiple of 128 to all products of a query, moves all its rounded logits alike,
 * and differences are all that counts.
 *
 * Weights are bytes and there are up to 64 keys: their sum D is 255 * 64 = 16320 or less, and 1 or
 * more since the first weight of the table, that of the greatest logit, is (checked). With N, the
 * sum of weights times values, |N| <= 127 D < 2**21, the result is N / D rounded half up, which is
 * (4 N + 1) / (4 D) rounded to the nearest: this is never half-way, and at least
 * 1 / (4 D) >= 1.53e-5 from it. As N * r + r / 4 in one operation, where r is 1 / D in float32,
 * its relative error is below 2 * 2**-24 (1 + 2**-24), its magnitude below 127.3, thus its error
 * below 1.52e-5: it is rounded to the same integer. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#if STVC_DOTS
#include <immintrin.h>
#endif

enum {
    OFFSET = 128,
    KEY_LIMIT = 95,
    POSITION_LIMIT = 32, /* see stvc/model/architecture.py for these */
    LOGIT_SHIFT = 7,
    LINE = 64 /* bytes that arrays are aligned to */
};

/* Arrays of one block; those of eight queries in lanes have 32 bytes to each row. */
typedef struct {
    uint8_t *keys;     /* (keys, width) with their positions */
    uint8_t *values;   /* (keys / 4, width) words of four keys, in the order of word_at */
    uint8_t *queries;  /* (width / 4, 32) */
    uint8_t *products; /* (keys, 32) of one head */
    uint8_t *weights;  /* (keys / 4, 32) of one head */
    uint8_t *mixed;    /* (width / 4, 32) */
} attention_room;

#if STVC_DOTS
static inline int32_t word_of(const uint8_t *four)
{
    int32_t word;
    memcpy(&word, four, sizeof word);
    return word;
}

/* Where the values of numbers 4 w to 4 w + 3 stand in a row of `values`: 16 bytes from there.
 * Unpacking leaves 32 numbers in the order 0-3, 16-19, 4-7, 20-23, and so on. */
static inline int64_t word_at(int w)
{
    int part = w % 8;
    return (int64_t)(w / 8) * 128 + (part < 4 ? 2 * part : 2 * part - 7) * 16;
}

#define load(from) _mm256_loadu_si256((const __m256i *)(from))
#define store(to, what) _mm256_storeu_si256((__m256i *)(to), what)

#define TARGET __attribute__((target("avx2,fma,avx512f,avx512vl,avx512vnni")))
#define NAMED(name) name##_8
#define DOT(sum, u, s) _mm256_dpbusd_epi32(sum, u, s)
#include "attention_lanes.h"
#undef TARGET
#undef NAMED
#undef DOT

#define TARGET __attribute__((target("avx2,fma")))
#define NAMED(name) name##_16
/* The even bytes and the odd ones as 16-bit numbers: four products stay far within 32 bits. */
TARGET
static inline __m256i dot_pairs(__m256i sum, __m256i u, __m256i s)
{
    __m256i even = _mm256_and_si256(u, _mm256_set1_epi16(0xFF)), odd = _mm256_srli_epi16(u, 8);
    __m256i low = _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8), high = _mm256_srai_epi16(s, 8);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, low));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(odd, high));
}
#define DOT(sum, u, s) dot_pairs(sum, u, s)
#include "attention_lanes.h"

int attention_level(void)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return NO_DOTS;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512vnni")
               ? DOTS_8
               : DOTS_16;
}

static void block_of(const attention *a, const uint8_t *queries, const uint8_t *kv,
                     const int64_t *index, int level, const attention_room *room, uint8_t *out)
{
    (level >= DOTS_8 ? block_8 : block_16)(a, queries, kv, index, room, out);
}
#else
int attention_level(void)
{
    return NO_DOTS;
}

static void block_of(const attention *a, const uint8_t *queries, const uint8_t *kv,
                     const int64_t *index, int level, const attention_room *room, uint8_t *out)
{
    (void)a, (void)queries, (void)kv, (void)index, (void)level, (void)room, (void)out;
}
#endif

static int suits(const attention *a)
{
    if (a->width % 32 || a->width % (4 * a->heads) || !a->table[0])
        return 0;
    int wrong = 0;
    for (int64_t k = 0; k < a->keys * a->width; k++)
        wrong |= a->position[k] > POSITION_LIMIT || a->position[k] < -POSITION_LIMIT;
    for (int64_t k = 0; k < a->blocks * a->keys; k++)
        wrong |= a->index[k] < 0 || a->index[k] >= a->rows;
    return !wrong;
}

stvc_status attention_mix(const attention *a, int level, uint8_t *out)
{
    if (level <= NO_DOTS || level > attention_level() || !suits(a))
        return STVC_RANGE;
    const int64_t d = a->width, keys = (a->keys + 3) / 4 * 4;
    uint8_t *memory = malloc((size_t)(2 * keys * d + 16 * d + 40 * keys + LINE));
    if (!memory)
        return STVC_MEMORY;
    attention_room room = {.keys = memory + LINE - (uintptr_t)memory % LINE};
    room.values = room.keys + keys * d;
    room.queries = room.values + keys * d;
    room.mixed = room.queries + 8 * d;
    room.products = room.mixed + 8 * d;
    room.weights = room.products + 32 * keys;
    memset(room.products, 0, (size_t)(32 * keys));
    for (int64_t b = 0; b < a->units * a->blocks; b++) {
        int64_t at = b * a->queries * d;
        block_of(a, a->query + at, a->kv + b / a->blocks * a->rows * 2 * d,
                 a->index + b % a->blocks * a->keys, level, &room, out + at);
    }
    free(memory);
    return STVC_OK;
}
