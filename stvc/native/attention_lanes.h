/* Attention of eight queries at a time, one in each 32-bit lane; `attention.c` includes this file
 * once for each kind of instruction, with TARGET, NAMED and DOT.
 *
 * DOT(sum, u, s) adds to each lane the products of its four bytes of u (unsigned) and s (signed).
 */

/* Swap rows and columns of 8 x 8 words. */
TARGET
static inline void NAMED(swap_words)(__m256i *w)
{
    __m256i a[8], b[8];
    for (int k = 0; k < 8; k += 2) {
        a[k] = _mm256_unpacklo_epi32(w[k], w[k + 1]);
        a[k + 1] = _mm256_unpackhi_epi32(w[k], w[k + 1]);
    }
    for (int k = 0; k < 8; k += 4) {
        b[k] = _mm256_unpacklo_epi64(a[k], a[k + 2]);
        b[k + 1] = _mm256_unpackhi_epi64(a[k], a[k + 2]);
        b[k + 2] = _mm256_unpacklo_epi64(a[k + 1], a[k + 3]);
        b[k + 3] = _mm256_unpackhi_epi64(a[k + 1], a[k + 3]);
    }
    for (int k = 0; k < 4; k++) {
        w[k] = _mm256_permute2x128_si256(b[k], b[k + 4], 0x20);
        w[k + 4] = _mm256_permute2x128_si256(b[k], b[k + 4], 0x31);
    }
}

/* Bytes of four packed words of eight queries, those of a query side by side. */
TARGET
static inline __m256i NAMED(by_query)(__m256i bytes)
{
    const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order));
}

/* Keys with their positions, and values of four keys in one word, see `word_at`. */
TARGET
static void NAMED(gather)(const attention *a, const uint8_t *kv, const int64_t *index,
                          const attention_room *room)
{
    const __m256i offset = _mm256_set1_epi8((char)OFFSET), least = _mm256_set1_epi8(1);
    const __m256i low = _mm256_set1_epi8((char)(OFFSET - KEY_LIMIT));
    const __m256i high = _mm256_set1_epi8((char)(OFFSET + KEY_LIMIT));
    const int64_t d = a->width;
    for (int64_t k = 0; k < a->keys; k++) {
        const uint8_t *row = kv + index[k] * 2 * d;
        for (int64_t x = 0; x < d; x += 32) {
            __m256i key = load(row + x);
            key = _mm256_min_epu8(_mm256_max_epu8(key, low), high);
            store(room->keys + k * d + x, _mm256_add_epi8(key, load(a->position + k * d + x)));
        }
    }
    for (int64_t k = 0; k < a->keys; k += 4) {
        const uint8_t *rows[4];
        for (int j = 0; j < 4; j++) /* of those behind the last key the weight is zero */
            rows[j] = kv + (index[k + j < a->keys ? k + j : k] * 2 + 1) * d;
        for (int64_t x = 0; x < d; x += 32) {
            __m256i v[4], p[4];
            for (int j = 0; j < 4; j++)
                v[j] = _mm256_xor_si256(_mm256_max_epu8(load(rows[j] + x), least), offset);
            p[0] = _mm256_unpacklo_epi8(v[0], v[1]), p[1] = _mm256_unpackhi_epi8(v[0], v[1]);
            p[2] = _mm256_unpacklo_epi8(v[2], v[3]), p[3] = _mm256_unpackhi_epi8(v[2], v[3]);
            uint8_t *out = room->values + (k * d + x * 4);
            store(out, _mm256_unpacklo_epi16(p[0], p[2]));
            store(out + 32, _mm256_unpackhi_epi16(p[0], p[2]));
            store(out + 64, _mm256_unpacklo_epi16(p[1], p[3]));
            store(out + 96, _mm256_unpackhi_epi16(p[1], p[3]));
        }
    }
}

/* Products (keys, 8) of keys and queries of a head of 4 * words numbers; the greatest of each
 * query is returned. */
TARGET
static inline __m256i NAMED(products)(const uint8_t *keys, int64_t count, int64_t d, int words,
                                      const uint8_t *queries, uint8_t *out)
{
    __m256i top = _mm256_set1_epi32(INT32_MIN);
    for (int64_t k = 0; k < count; k++) {
        __m256i sum = _mm256_setzero_si256();
        for (int w = 0; w < words; w++)
            sum =
                DOT(sum, _mm256_set1_epi32(word_of(keys + k * d + 4 * w)), load(queries + 32 * w));
        store(out + 32 * k, sum);
        top = _mm256_max_epi32(top, sum);
    }
    return top;
}

/* Weights of a head's keys, those of four keys in one word, and their sums. */
TARGET
static inline __m256i NAMED(weights)(const attention *a, __m256i top, const uint8_t *products,
                                     uint8_t *out)
{
    const __m256i half = _mm256_set1_epi32(1 << LOGIT_SHIFT >> 1);
    const __m256i last = _mm256_set1_epi8(ATTENTION_STEPS - 1);
    __m256i total = _mm256_setzero_si256();
    top = _mm256_srai_epi32(_mm256_add_epi32(top, half), LOGIT_SHIFT);
    for (int64_t k = 0; k < a->keys; k += 4) {
        __m256i below[4], found = _mm256_setzero_si256();
        for (int j = 0; j < 4; j++) {
            __m256i logit = _mm256_add_epi32(load(products + 32 * (k + j)), half);
            below[j] = _mm256_sub_epi32(top, _mm256_srai_epi32(logit, LOGIT_SHIFT));
        }
        __m256i place = _mm256_packus_epi16(_mm256_packs_epi32(below[0], below[1]),
                                            _mm256_packs_epi32(below[2], below[3]));
        place = NAMED(by_query)(_mm256_min_epu8(place, last));
        if (k + 4 > a->keys) /* beyond the table */
            place = _mm256_or_si256(place,
                                    _mm256_set1_epi32((int32_t)(UINT32_MAX << 8 * (a->keys - k))));
        for (int part = 0; part < ATTENTION_STEPS / 16; part++) {
            /* A set highest bit makes a zero: of places before and after this part. */
            __m256i here = _mm256_sub_epi8(place, _mm256_set1_epi8((char)(16 * part)));
            here = _mm256_adds_epu8(here, _mm256_set1_epi8(0x70));
            __m256i table =
                _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)a->table + part));
            found = _mm256_or_si256(found, _mm256_shuffle_epi8(table, here));
        }
        store(out + 8 * k, found);
        total = DOT(total, found, _mm256_set1_epi8(1));
    }
    return total;
}

/* Four numbers of the result of each query; `values` are those of the first keys, as the words of
 * four keys. */
TARGET
static inline __m256i NAMED(mixed)(const uint8_t *weights, const uint8_t *values, int64_t keys,
                                   int64_t d, __m256 reciprocal)
{
    const __m256 quarter = _mm256_mul_ps(reciprocal, _mm256_set1_ps(0.25f));
    __m256i sums[4];
    for (int j = 0; j < 4; j++)
        sums[j] = _mm256_setzero_si256();
    for (int64_t k = 0; k < keys; k += 4) {
        __m256i weight = load(weights + 8 * k);
        for (int j = 0; j < 4; j++)
            sums[j] = DOT(sums[j], weight, _mm256_set1_epi32(word_of(values + k * d + 4 * j)));
    }
    for (int j = 0; j < 4; j++)
        sums[j] =
            _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[j]), reciprocal, quarter));
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(sums[0], sums[1]),
                                       _mm256_packs_epi32(sums[2], sums[3]));
    bytes = _mm256_xor_si256(bytes, _mm256_set1_epi8((char)OFFSET));
    return NAMED(by_query)(bytes);
}

/* Up to eight queries (count, width) of a block. */
TARGET
static void NAMED(lanes)(const attention *a, const uint8_t *queries, int64_t count,
                         const attention_room *room, uint8_t *out)
{
    const __m256i offset = _mm256_set1_epi8((char)OFFSET), least = _mm256_set1_epi8(1);
    const int64_t d = a->width;
    const int words = (int)(d / a->heads / 4);
    for (int64_t x = 0; x < d; x += 32) {
        __m256i w[8];
        for (int j = 0; j < 8; j++) {
            const uint8_t *row = queries + (j < count ? j : 0) * d + x;
            w[j] = _mm256_xor_si256(_mm256_max_epu8(load(row), least), offset);
        }
        NAMED(swap_words)(w);
        for (int j = 0; j < 8; j++)
            store(room->queries + 8 * x + 32 * j, w[j]);
    }
    for (int h = 0; h < a->heads; h++) {
        const uint8_t *mine = room->queries + 32 * words * h;
        const uint8_t *keys = room->keys + 4 * words * h;
        __m256i top = words == 8 ? NAMED(products)(keys, a->keys, d, 8, mine, room->products)
                                 : NAMED(products)(keys, a->keys, d, words, mine, room->products);
        __m256i total = NAMED(weights)(a, top, room->products, room->weights);
        __m256 reciprocal = _mm256_div_ps(_mm256_set1_ps(1), _mm256_cvtepi32_ps(total));
        for (int w = words * h; w < words * (h + 1); w++)
            store(room->mixed + 32 * w,
                  NAMED(mixed)(room->weights, room->values + word_at(w), a->keys, d, reciprocal));
    }
    for (int64_t x = 0; x < d; x += 32) {
        __m256i w[8];
        for (int j = 0; j < 8; j++)
            w[j] = load(room->mixed + 8 * x + 32 * j);
        NAMED(swap_words)(w);
        for (int j = 0; j < count; j++)
            store(out + j * d + x, w[j]);
    }
}

TARGET
static void NAMED(block)(const attention *a, const uint8_t *queries, const uint8_t *kv,
                         const int64_t *index, const attention_room *room, uint8_t *out)
{
    NAMED(gather)(a, kv, index, room);
    for (int64_t k = 0; k < a->queries; k += 8) {
        int64_t count = a->queries - k < 8 ? a->queries - k : 8;
        NAMED(lanes)(a, queries + k * a->width, count, room, out + k * a->width);
    }
}
