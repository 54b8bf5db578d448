/* The mask coder's walk: what `stvc/codec/mask_model.py` does, pixel by pixel.
 *
 * A pixel's vote for a class is a sum of 16-bit weights: fewer than 50 of them, so 32 bits hold
 * it. Sums over the 36 neighbors fit 16 bits, which the caller has made sure of. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

/* Row and column steps to the neighbors, in lattice spacings: OFFSETS of mask_tables. */
static const int8_t OFFSETS[MASK_NEIGHBORS][2] = {
    {0, 1}, {0, -1}, {1, 0},  {-1, 0},  /* nearest */
    {1, 1}, {1, -1}, {-1, 1}, {-1, -1}, /* diagonal */
    {0, 2}, {0, -2}, {2, 0},  {-2, 0},  /* next */
    {1, 2}, {1, -2}, {-1, 2}, {-1, -2}, {2, 1}, {2, -1}, {-2, 1}, {-2, -1},
    {2, 2}, {2, -2}, {-2, 2}, {-2, -2}, {0, 3}, {0, -3}, {3, 0},  {-3, 0},
    {1, 3}, {1, -3}, {-1, 3}, {-1, -3}, {3, 1}, {3, -1}, {-3, 1}, {-3, -1},
};
enum {
    REACH = 3,
    ROUGH_SPACING = 8 /* from which on roughness is counted, pixels */
};

size_t mask_weights_size(int classes, int lanes)
{
    return (size_t)(MASK_NEIGHBORS + 1) * (classes + 1) * lanes + 5 * lanes +
           4 * (125 + 9 + 6 + 20);
}

stvc_status mask_weights_set(mask_weights *w, const int16_t *numbers, size_t size, int classes,
                             int count)
{
    if ((classes != 2 && classes != MASK_CLASSES) || count < 2 || count > classes)
        return STVC_RANGE;
    int lanes = count <= 8 ? 8 : MASK_LANES;
    if (size != mask_weights_size(classes, lanes))
        return STVC_RANGE;
    w->classes = classes, w->count = count, w->lanes = lanes;
    w->affinity = numbers, numbers += (size_t)MASK_NEIGHBORS * (classes + 1) * lanes;
    w->before = numbers, numbers += (size_t)(classes + 1) * lanes;
    w->bias = numbers, numbers += 4 * lanes;
    w->support = numbers, numbers += 4 * 125;
    w->rarity = numbers, numbers += 4 * 9;
    w->scale = numbers, numbers += 4 * 6;
    w->repeat = numbers, numbers += 4 * 10;
    w->gate = numbers, numbers += 4 * 10;
    w->labels = numbers;
    for (int k = 0; k < count; k++)
        if (w->labels[k] < 0 || w->labels[k] >= classes)
            return STVC_RANGE;
    return STVC_OK;
}

/* Pixels of one axis that a pass visits: length of range(first, size, 2 * spacing). */
static int64_t visited(int64_t size, int64_t first, int64_t spacing)
{
    return first < size ? (size - 1 - first) / (2 * spacing) + 1 : 0;
}

/* What all pixels of a step have in common. */
typedef struct {
    int32_t base[MASK_LANES]; /* bias and rarity of each class */
    uint8_t rare[MASK_LANES]; /* 0 to 8: how rare each class has been */
    const int16_t *support, *repeat, *gate;
    int64_t scale;
    int refined; /* whether `refiner` is used: not before anything is known */
    mask_refiner refiner;
} step_weights;

static void begin(step_weights *s, const mask_walk *walk)
{
    const mask_weights *w = &walk->weights;
    const int kind = walk->kind < 0 ? 0 : walk->kind;
    int64_t total = 0;
    for (int k = 0; k < w->count; k++)
        total += walk->tally[k];
    for (int k = 0; k < w->count; k++) {
        /* floor(log2((total + 1) / (count + 1/4))), 0 to 8: how rare the class has been so far */
        int rare = 0;
        for (int bit = 1; bit < 9; bit++)
            rare += (4 * walk->tally[k] + 1) << bit <= 4 * (total + 1);
        s->rare[k] = (uint8_t)rare;
        s->base[k] = w->bias[kind * w->lanes + k] + w->rarity[kind * 9 + rare];
    }
    s->support = w->support + kind * 125;
    s->repeat = w->repeat + kind * 10;
    s->gate = w->gate + kind * 10;
    s->scale = total ? w->scale[kind * 6 + walk->rough] : 0; /* nothing known: all alike */
    s->refined = walk->refined && total;
    if (s->refined) {
        int octave = 0;
        while (octave < MASK_OCTAVES - 1 && walk->spacing >> (octave + 1))
            octave++;
        mask_network_begin(&s->refiner, &walk->network, kind, octave, (int)walk->rough,
                           w->labels, s->rare, w->count);
    }
}

/* Classes of the neighbors of one pixel, C for those that are unknown or outside; returns whether
 * all are of the class `like`, or of one class if that is negative. */
STVC_INLINE int look(const uint8_t *raster, const mask_walk *s, int64_t y, int64_t x,
                       const int64_t *flat, int count, uint8_t unknown, int like, uint8_t *around)
{
    int64_t far = REACH * s->spacing;
    int unlike = 0;
    if (y >= far && y < s->height - far && x >= far && x < s->width - far) {
        const uint8_t *here = raster + y * s->width + x;
        like = like < 0 ? here[flat[0]] : like;
        for (int o = 0; o < count; o++) {
            around[o] = here[flat[o]];
            unlike |= around[o] ^ like;
        }
        return !unlike;
    }
    for (int o = 0; o < count; o++) {
        int64_t yy = y + OFFSETS[o][0] * s->spacing, xx = x + OFFSETS[o][1] * s->spacing;
        int inside = yy >= 0 && yy < s->height && xx >= 0 && xx < s->width;
        around[o] = inside ? raster[yy * s->width + xx] : unknown;
        like = like < 0 ? around[0] : like;
        unlike |= around[o] ^ like;
    }
    return !unlike;
}

/* Eight sums at a time stay in a register; compilers do not see it by themselves. */
typedef int16_t eight __attribute__((vector_size(16)));
typedef uint8_t bytes __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

static inline void affinities(const mask_weights *w, const uint8_t *around, int16_t *sums)
{
    const int lanes = w->lanes, next = (w->classes + 1) * lanes;
    for (int k = 0; k < lanes; k += 8) {
        const int16_t *row = w->affinity + k;
        eight sum = {0}, more;
        for (int o = 0; o < MASK_NEIGHBORS; o++, row += next) {
            memcpy(&more, row + around[o] * lanes, sizeof more);
            sum += more;
        }
        memcpy(sums + k, &sum, sizeof sum);
    }
}

/* How many neighbors of each ring have a class, 0 to 4, as digits of base 5: an index, at most
 * 124, into `support`. */
static inline int rings(const uint8_t *around, int label)
{
    static const bytes digits = {25, 25, 25, 25, 5, 5, 5, 5, 1, 1, 1, 1};
    bytes known;
    memcpy(&known, around, sizeof known);
    halves counted = (halves)((bytes)(known == (uint8_t)label) & digits);
    /* sum of all bytes */
    return (int)((counted[0] + counted[1]) * UINT64_C(0x0101010101010101) >> 56);
}

/* Add what the raster before says. */
STVC_INLINE void recall(const mask_weights *w, const step_weights *s, const uint8_t *around,
                   uint8_t past, const uint8_t *near_past, int32_t *votes)
{
    int seen = 0, agree = 0;
    if (past == w->classes)
        return;
    for (int o = 0; o < MASK_NEAR; o++) {
        seen += around[o] != w->classes;
        agree += around[o] != w->classes && around[o] == near_past[o];
    }
    int trust = seen ? (8 * agree + seen / 2) / seen : 9; /* 0 to 8, as agree <= seen */
    for (int k = 0; k < w->count; k++) {
        votes[k] += (w->before[past * w->lanes + k] * s->gate[trust]) >> 6;
        if (past == w->labels[k])
            votes[k] += s->repeat[trust];
    }
}

/* Votes (K,) for one pixel. All classes in `around` and `past` are <= C. */
STVC_INLINE void vote(const mask_weights *w, const step_weights *s, const uint8_t *around,
                        uint8_t past, const uint8_t *near_past, int32_t *votes)
{
    int16_t sums[MASK_LANES];
    affinities(w, around, sums);
    for (int k = 0; k < w->count; k++)
        votes[k] = s->base[k] + sums[k] + s->support[rings(around, w->labels[k])];
    if (near_past)
        recall(w, s, around, past, near_past, votes);
    for (int k = 0; k < w->count; k++)
        votes[k] = (int32_t)((votes[k] * s->scale) >> 8);
}

/* Frequencies (K,) of one pixel. */
static inline void weigh(const int32_t *votes, int count, const float *frequencies, float *row)
{
    int32_t most = INT32_MIN;
    for (int k = 0; k < count; k++)
        most = votes[k] > most ? votes[k] : most;
    for (int k = 0; k < count; k++) {
        int64_t drop = (int64_t)most - votes[k];
        row[k] = frequencies[drop < MASK_DROPS ? drop : MASK_DROPS - 1];
    }
}

/* ---- lattices ---- */

/* The pixels of a pass's lattice lie together, in a rim of unknown ones: then what a pixel sees is
 * in a few words, and none of its neighbors need be looked for outside. */
enum { MARGIN = REACH + 5 /* columns on the right: words reach as far */ };

static int64_t lattice_across(const mask_walk *walk)
{
    return (walk->width - 1) / walk->spacing + 1 + REACH + MARGIN;
}

static int64_t lattice_place(const mask_walk *walk, int64_t row, int64_t column)
{
    return (row + REACH) * lattice_across(walk) + column + REACH;
}

/* Room for a lattice of spacing 1, the largest. */
static uint8_t *lattice_room(int64_t height, int64_t width)
{
    return malloc((size_t)((height + 2 * REACH) * (width + REACH + MARGIN)));
}

static void fill_lattice(const mask_walk *walk, const uint8_t *raster, uint8_t *lattice)
{
    const int64_t step = walk->spacing, down = (walk->height - 1) / step + 1;
    const int64_t across = lattice_across(walk), columns = across - REACH - MARGIN;
    memset(lattice, walk->weights.classes, (size_t)((down + 2 * REACH) * across));
    for (int64_t r = 0; raster && r < down; r++) {
        const uint8_t *from = raster + r * step * walk->width;
        uint8_t *to = lattice + lattice_place(walk, r, 0);
        if (step == 1)
            memcpy(to, from, (size_t)columns);
        else
            for (int64_t c = 0; c < columns; c++)
                to[c] = from[c * step];
    }
}

/* Of twice the spacing, all pixels are known, unless nothing is. */
static void begin_lattices(mask_walk *walk, int nothing)
{
    const int64_t step = walk->spacing, down = (walk->height - 1) / step + 1;
    const int64_t columns = (walk->width - 1) / step + 1;
    fill_lattice(walk, NULL, walk->known);
    for (int64_t r = 0; !nothing && r < down; r += 2) {
        const uint8_t *from = walk->symbols + r * step * walk->width;
        uint8_t *to = walk->known + lattice_place(walk, r, 0);
        for (int64_t c = 0; c < columns; c += 2)
            to[c] = (uint8_t)walk->weights.labels[from[c * step]];
    }
    if (walk->before)
        fill_lattice(walk, walk->before, walk->near_before);
    if (walk->second)
        fill_lattice(walk, walk->second, walk->near_second);
}

/* Pixels that see the same get the same row of a step's table: where the latest one of each slot
 * is, what it saw, and its first known neighbor. */
enum { SLOT_BITS = 10, SLOTS = 1 << SLOT_BITS, WORDS = sizeof(mask_seen) / 8 };
typedef struct {
    int32_t row[SLOTS]; /* -1: none */
    uint64_t seen[SLOTS][WORDS];
    uint8_t first[SLOTS];
} recent_rows;

STVC_INLINE int slot_of(const uint64_t *words)
{
    /* Products that do not wait for each other. */
    static const uint64_t odd[WORDS] = {
        UINT64_C(0x9E3779B97F4A7C15), UINT64_C(0xBF58476D1CE4E5B9), UINT64_C(0x94D049BB133111EB),
        UINT64_C(0xD6E8FEB86659FD93), UINT64_C(0xA0761D6478BD642F), UINT64_C(0xE7037ED1A0B428DB),
        UINT64_C(0x8EBC6AF09C88C6E3), UINT64_C(0x589965CC75374CC3),
    };
    uint64_t hash = 0;
    for (int k = 0; k < WORDS; k++)
        hash += (words[k] ^ words[k] >> 32) * odd[k];
    return (int)((hash ^ hash >> 29) * odd[0] >> (64 - SLOT_BITS));
}

/* Columns -3 to 3 of a row, the first one lowest. */
STVC_INLINE uint64_t seven(const uint8_t *row)
{
    uint64_t word;
    memcpy(&word, row - REACH, sizeof word);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word & UINT64_C(0xFFFFFFFFFFFFFF);
}

STVC_INLINE uint64_t five(const uint8_t *row)
{
    return seven(row) >> 8 & UINT64_C(0xFFFFFFFFFF);
}

STVC_INLINE uint64_t three(const uint8_t *row)
{
    return seven(row) >> 16 & 0xFFFFFF;
}

/* All that `look_around` finds at a place of the lattices, as words. */
STVC_INLINE void see(const mask_walk *walk, int64_t across, int64_t place, uint64_t *words)
{
    const uint8_t *x = walk->known + place;
    words[0] = seven(x);
    words[1] = seven(x - across);
    words[2] = seven(x + across);
    words[3] = five(x - 2 * across);
    words[4] = five(x + 2 * across);
    words[5] = three(x - 3 * across) | three(x + 3 * across) << 24;
    words[6] = words[7] = 0;
    if (walk->before) {
        x = walk->near_before + place;
        words[1] |= (uint64_t)x[-2 * across] << 56;
        words[2] |= (uint64_t)x[2 * across] << 56;
        words[3] |= three(x - across) << 40;
        words[4] |= three(x + across) << 40;
        words[6] = five(x);
    }
    if (walk->second) {
        x = walk->near_second + place;
        words[6] |= three(x - across) << 40;
        words[7] = three(x) | three(x + across) << 24;
    }
}

/* The same for the network; `flat` is in the lattices. */
static void look_around(const mask_walk *walk, const int64_t *flat, int64_t place, mask_seen *seen)
{
    const uint8_t *x = walk->known + place;
    for (int o = 0; o < MASK_NEIGHBORS; o++)
        seen->around[o] = x[flat[o]];
    if (walk->before) {
        x = walk->near_before + place;
        seen->past_here[0] = *x;
        for (int o = 0; o < MASK_RINGS; o++)
            seen->past[o] = x[flat[o]];
    }
    if (walk->second) {
        x = walk->near_second + place;
        seen->second_here[0] = *x;
        for (int o = 0; o < MASK_NEAR; o++)
            seen->second[o] = x[flat[o]];
    }
}

STVC_INLINE uint8_t first_known(const uint8_t *around, uint8_t unknown)
{
    uint8_t first = unknown;
    for (int o = MASK_NEAR - 1; o >= 0; o--)
        first = around[o] != unknown ? around[o] : first;
    return first;
}

/* Frequencies of one pixel where the network corrects the votes; false if a class is none. */
STVC_INLINE int predict_refined(const mask_walk *walk, const step_weights *s,
                                  const int64_t *flat, int64_t across, int64_t place,
                                  const mask_seen *blank, recent_rows *recent, int64_t n,
                                  float *table)
{
    const mask_weights *w = &walk->weights;
    const uint8_t unknown = (uint8_t)w->classes;
    uint64_t words[WORDS], unlike = 0;
    see(walk, across, place, words);
    float *out = table + n * w->count;
    const int slot = slot_of(words);
    uint64_t *known = recent->seen[slot];
    for (int k = 0; k < WORDS; k++)
        unlike |= known[k] ^ words[k];
    walk->places[n] = place;
    if (recent->row[slot] >= 0 && !unlike) {
        memcpy(out, table + (int64_t)recent->row[slot] * w->count, w->count * sizeof *out);
        walk->first[n] = recent->first[slot];
        return 1;
    }
    mask_seen seen = *blank;
    look_around(walk, flat, place, &seen);
    /* The raster before is the caller's: what is looked up by its classes comes now. */
    uint8_t most = seen.past_here[0];
    for (int o = 0; o < MASK_NEAR; o++)
        most = seen.past[o] > most ? seen.past[o] : most;
    if (most > unknown)
        return 0;
    int32_t votes[MASK_LANES];
    vote(w, s, seen.around, seen.past_here[0], walk->before ? seen.past : NULL, votes);
    if (s->refined)
        mask_network_refine(&s->refiner, &seen, w->labels, w->count, votes);
    weigh(votes, w->count, walk->frequencies, out);
    walk->first[n] = recent->first[slot] = first_known(seen.around, unknown);
    recent->row[slot] = (int32_t)n;
    memcpy(known, words, sizeof words);
    return 1;
}

/* Most pixels see nothing but one class, now and before: such rows are worked out once. */
typedef int16_t uniform_rows[MASK_CLASSES + 1][MASK_CLASSES + 1];

/* Frequencies of one pixel by votes alone; false if a class in `before` is none. */
STVC_INLINE int predict_plain(const mask_walk *walk, const step_weights *s, const int64_t *flat,
                                int64_t y, int64_t x, uniform_rows memo, int64_t n, float *table)
{
    const mask_weights *w = &walk->weights;
    const uint8_t unknown = (uint8_t)w->classes;
    const int count = w->count;
    uint8_t around[MASK_NEIGHBORS], near_past[MASK_NEAR], past = 0;
    int uniform = look(walk->known, walk, y, x, flat, MASK_NEIGHBORS, unknown, -1, around);
    if (walk->before) {
        past = walk->before[y * walk->width + x];
        if (past > unknown)
            return 0;
        uniform &= look(walk->before, walk, y, x, flat, MASK_NEAR, unknown, past, near_past);
    }
    float *out = table + n * count;
    int same = uniform ? memo[around[0]][past] : -1;
    if (same >= 0)
        memcpy(out, table + same * count, count * sizeof *out);
    else {
        int32_t votes[MASK_LANES];
        vote(w, s, around, past, walk->before ? near_past : NULL, votes);
        weigh(votes, count, walk->frequencies, out);
        if (uniform && n <= INT16_MAX)
            memo[around[0]][past] = (int16_t)n;
    }
    walk->places[n] = walk->positions[n];
    walk->first[n] = first_known(around, unknown);
    return 1;
}

/* Predict `walk->pending` pixels of the step from walk->next to `stop`; false if a class in
 * `before` is none. */
STVC_CLONES
static int predict_step(mask_walk *walk, int64_t stop, float *table)
{
    const uint8_t unknown = (uint8_t)walk->weights.classes;
    step_weights shared;
    begin(&shared, walk);
    const int64_t across = lattice_across(walk);
    int64_t flat[MASK_NEIGHBORS];
    for (int o = 0; o < MASK_NEIGHBORS; o++)
        flat[o] = walk->refined
                      ? OFFSETS[o][0] * across + OFFSETS[o][1]
                      : (OFFSETS[o][0] * walk->width + OFFSETS[o][1]) * walk->spacing;

    uniform_rows memo;
    memset(memo, -1, sizeof memo);

    recent_rows recent;
    mask_seen blank;
    memset(recent.row, -1, sizeof recent.row);
    memset(&blank, unknown, sizeof blank);
    memset(blank.past_here + 1, MASK_NO_CLASS, 3);
    memset(blank.second_here + 1, MASK_NO_CLASS, 3);

    int64_t n = 0, row = walk->next / walk->across, column = walk->next % walk->across - 1;
    for (int64_t cell = walk->next; cell < stop; cell++) {
        if (++column == walk->across)
            row++, column = 0;
        if (walk->kind >= 0 && walk->kind < 2 && ((row + column) & 1) != walk->kind)
            continue;
        /* Inside the raster: the pass has `down` rows and `across` columns. */
        const int64_t y = 2 * row + walk->row, x = 2 * column + walk->column;
        walk->positions[n] = (y * walk->width + x) * walk->spacing;
        if (walk->refined) {
            const int64_t place = lattice_place(walk, y, x);
            if (!predict_refined(walk, &shared, flat, across, place, &blank, &recent, n, table))
                return 0;
        } else if (!predict_plain(walk, &shared, flat, y * walk->spacing, x * walk->spacing, memo,
                                  n, table))
            return 0;
        n++;
    }
    walk->pending = n;
    return 1;
}

static stvc_status absorb(mask_walk *walk, const int32_t *coded)
{
    const mask_weights *w = &walk->weights;
    int64_t unlike = 0, seen = 0;
    for (int64_t i = 0; i < walk->pending; i++) {
        if (coded[i] < 0 || coded[i] >= w->count)
            return STVC_RANGE;
        uint8_t label = (uint8_t)w->labels[coded[i]];
        walk->known[walk->places[i]] = label;
        walk->symbols[walk->positions[i]] = (uint8_t)coded[i];
        walk->counts[coded[i]]++;
        seen += walk->first[i] != w->classes;
        unlike += walk->first[i] != w->classes && walk->first[i] != label;
    }
    if (walk->spacing <= ROUGH_SPACING)
        walk->unlike += unlike, walk->seen += seen;
    walk->pending = 0;
    return STVC_OK;
}

/* Make the fields of a pass agree with each other; pixels of one pass must not see each other's
 * counts, however they are cut into steps. */
static void begin_pass(mask_walk *walk, int kind, int row, int column)
{
    walk->kind = kind, walk->row = row, walk->column = column;
    walk->down = visited(walk->height, row * walk->spacing, walk->spacing);
    walk->across = visited(walk->width, column * walk->spacing, walk->spacing);
    walk->next = 0;
    memcpy(walk->tally, walk->counts, sizeof walk->tally);
    int64_t fifths = walk->seen > 7 ? 20 * walk->unlike / walk->seen : 5;
    walk->rough = walk->seen > 7 && fifths > 4 ? 4 : fifths;
}

stvc_status mask_walk_start(mask_walk *walk, const mask_weights *weights, const float *frequencies,
                            int64_t height, int64_t width, int64_t chunk, const uint8_t *before,
                            uint8_t *symbols, const mask_network *network, const uint8_t *second)
{
    memset(walk, 0, sizeof *walk);
    if ((network && network->classes != weights->classes) || height < 1 || width < 1 || height > MASK_SIDE || width > MASK_SIDE || chunk < 1 ||
        chunk > MASK_SIDE)
        return STVC_RANGE;
    walk->weights = *weights, walk->frequencies = frequencies;
    walk->before = before, walk->symbols = symbols, walk->second = second;
    walk->refined = network != NULL;
    if (network)
        walk->network = *network;
    walk->height = height, walk->width = width, walk->chunk = chunk;
    walk->known = walk->refined ? lattice_room(height, width) : malloc((size_t)(height * width));
    int whole = walk->known != NULL;
    if (walk->refined && before)
        whole &= (walk->near_before = lattice_room(height, width)) != NULL;
    if (walk->refined && second)
        whole &= (walk->near_second = lattice_room(height, width)) != NULL;
    walk->positions = malloc((size_t)chunk * sizeof *walk->positions);
    walk->places = malloc((size_t)chunk * sizeof *walk->places);
    walk->first = malloc((size_t)chunk);
    if (!whole || !walk->positions || !walk->places || !walk->first) {
        mask_walk_free(walk);
        return STVC_MEMORY;
    }
    walk->spacing = 1;
    while (walk->spacing < height || walk->spacing < width)
        walk->spacing *= 2;
    if (walk->refined)
        begin_lattices(walk, 1);
    else
        memset(walk->known, weights->classes, (size_t)(height * width));
    begin_pass(walk, -1, 0, 0);
    return STVC_OK;
}

void mask_walk_free(mask_walk *walk)
{
    free(walk->known), free(walk->near_before), free(walk->near_second);
    free(walk->positions), free(walk->places), free(walk->first);
    walk->known = walk->near_before = walk->near_second = walk->first = NULL;
    walk->positions = walk->places = NULL;
}

stvc_status mask_walk_next(mask_walk *walk, const int32_t *coded, float *table)
{
    static const int8_t corners[4][2] = {{1, 1}, {1, 1}, {0, 1}, {1, 0}};
    stvc_status status = absorb(walk, coded);
    while (!status && !walk->pending) {
        int64_t cells = walk->down * walk->across;
        if (walk->next < cells) {
            int64_t stop = cells - walk->next > walk->chunk ? walk->next + walk->chunk : cells;
            if (!predict_step(walk, stop, table))
                return STVC_RANGE;
            walk->next = stop;
        } else {
            int kind = (walk->kind + 1) & 3; /* after the first pixel and after kind 3 comes 0 */
            if (kind == 0 && walk->spacing == 1)
                break;
            if (kind == 0) {
                walk->spacing /= 2;
                if (walk->refined)
                    begin_lattices(walk, 0);
            }
            begin_pass(walk, kind, corners[kind][0], corners[kind][1]);
        }
    }
    return status;
}
