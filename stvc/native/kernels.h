/* What the native kernels share: plain C, without Python; `module.c` is the only file that knows
 * it.
 *
 * Every kernel does the same integer arithmetic as its numpy twin and gives the same bits. Sizes
 * and indexes come from payloads that may be damaged on purpose: what a kernel indexes with is
 * either checked or bounded by its construction, and a comment says which. */
#ifndef STVC_KERNELS_H
#define STVC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Hot loops in two versions, of which the loader takes the one for this processor: wheels are
 * built for any x86-64. Sanitizers do not survive the loader's choice. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__has_attribute) &&                  \
    !defined(__SANITIZE_ADDRESS__)
#if __has_attribute(target_clones)
#define STVC_CLONES __attribute__((target_clones("default", "avx2")))
#endif
#endif
#ifndef STVC_CLONES
#define STVC_CLONES
#endif

/* Whether kernels may have versions for dot products of x86-64 processors, and of which kind. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(STVC_NO_INTRINSICS)
#define STVC_DOTS 1
#else
#define STVC_DOTS 0
#endif
enum { NO_DOTS, DOTS_16, DOTS_8 }; /* what the processor has, ascending */

typedef enum {
    STVC_OK = 0,
    STVC_MEMORY,    /* no memory */
    STVC_RANGE,     /* an argument is outside of what it may be */
    STVC_IMPOSSIBLE /* the range decoder met bits that no encoder writes */
} stvc_status;

/* ---- mask_walk.c ---- */

enum {
    MASK_NEIGHBORS = 36,
    MASK_NEAR = 8,   /* the nearest of them */
    MASK_RINGS = 12, /* those that are counted: 4 nearest, 4 diagonal, 4 next */
    MASK_CLASSES = 12,
    MASK_LANES = 16, /* classes in a row of weights, after padding: 8 or 16 */
    MASK_DROPS = 1024,
    MASK_SIDE = 1 << 24 /* pixels: products of two such numbers, and of six, fit 64 bits */
};

/* Trained weights of one alphabet, for the classes that occur; all in one array, see mask_native.
 */
typedef struct {
    int classes;             /* C of the alphabet: 2 or 12; C itself stands for an unknown pixel */
    int count;               /* K <= C classes that occur */
    int lanes;               /* K padded: 8 or 16 */
    const int16_t *affinity; /* (36, C + 1, lanes) */
    const int16_t *before;   /* (C + 1, lanes) */
    const int16_t *bias;     /* (4, lanes) */
    const int16_t *support;  /* (4, 5, 5, 5) */
    const int16_t *rarity;   /* (4, 9) */
    const int16_t *scale;    /* (4, 6) */
    const int16_t *repeat;   /* (4, 10) */
    const int16_t *gate;     /* (4, 10) */
    const int16_t *labels;   /* (lanes,) classes that occur */
} mask_weights;

/* Numbers that a mask_weights of this size holds. */
size_t mask_weights_size(int classes, int lanes);
stvc_status mask_weights_set(mask_weights *w, const int16_t *numbers, size_t size, int classes,
                             int count);

/* A raster on its way through all pixels, coarse to fine. */
typedef struct {
    mask_weights weights;
    const float *frequencies; /* (MASK_DROPS,) */
    const uint8_t *before;    /* (H * W,) classes of the raster before, or NULL */
    uint8_t *symbols;         /* (H * W,) the result */
    int64_t height, width;
    int64_t chunk;  /* cells of a pass that make one step, and room for its pixels */
    uint8_t *known; /* (H * W,) classes so far */

    int64_t spacing;                    /* of the pass's lattice, pixels */
    int kind;                           /* of the pass, 0 to 3; -1: the first pixel */
    int row, column;                    /* of the pass's first pixel, in spacings: 0 or 1 */
    int64_t down, across;               /* cells of the pass */
    int64_t next;                       /* cell where the next step begins */
    int64_t tally[MASK_CLASSES], rough; /* as they were when the pass began */

    int64_t counts[MASK_CLASSES]; /* pixels of each class so far */
    int64_t unlike, seen;         /* pixels unlike their first neighbor, and that have one */
    int64_t pending;              /* pixels that were predicted and have no symbols yet */
    int64_t *positions;           /* of these, in the flat raster */
    uint8_t *first; /* first known class among the nearest neighbors of each; C: none */
} mask_walk;

/* Start a walk: the arrays are the caller's and outlive it. */
stvc_status mask_walk_start(mask_walk *walk, const mask_weights *weights, const float *frequencies,
                            int64_t height, int64_t width, int64_t chunk, const uint8_t *before,
                            uint8_t *symbols);
void mask_walk_free(mask_walk *walk);

/* Take in the symbols of the pending pixels, then predict the next step: frequencies (pending, K),
 * of which there may be `chunk`. No pixel is pending when all are known. */
stvc_status mask_walk_next(mask_walk *walk, const int32_t *coded, float *table);

/* ---- range_coder.c ---- */

enum {
    RANGE_BITS = 24,         /* probabilities are in units of 2**-24 */
    RANGE_DIRECT = 34,       /* scale indexes with tables of their own */
    RANGE_SCALES = 56,       /* scale indexes */
    RANGE_OCTAVE = 4,        /* scale indexes to an octave */
    RANGE_FRACTIONS = 8,     /* of a location */
    RANGE_UNIFORM_BITS = 12, /* integers are coded in parts of so many bits */
    RANGE_ESCAPE_BITS = 24   /* an escaped excess is shorter */
};

typedef struct {
    uint64_t lower, range;
    uint64_t point;
    const uint8_t *bytes; /* little-endian words; behind their end are zeros */
    size_t size, position;
} range_decoder;

typedef struct {
    uint64_t lower, range;
    uint32_t *words; /* with all carries so far */
    size_t count, capacity;
} range_encoder;

/* Tables of symbols: table k has edges starts[k] to starts[k + 1] - 1, from 0 to 2**24. */
typedef struct {
    const uint32_t *edges;
    size_t edge_count;
    const int32_t *starts;
    size_t count; /* tables; `starts` has one more */
} range_tables;

/* A batch: symbol i is coded under location[i] (1/8 steps) and scale[i]. */
typedef struct {
    const int64_t *location;
    const void *scale;
    int scale_size; /* bytes of one: 1 (unsigned) or 8 (signed) */
    int64_t n;
} range_batch;

void range_decoder_start(range_decoder *d, const uint8_t *bytes, size_t size);
stvc_status range_decode_uniform(range_decoder *d, uint32_t size, uint32_t *value);
/* One bit; `edge` is where true starts, 1 to 2**24 - 1. */
stvc_status range_decode_flag(range_decoder *d, uint32_t edge, int *value);
stvc_status range_decode_symbols(range_decoder *d, const range_tables *t, const range_batch *batch,
                                 int64_t *out);

void range_encoder_start(range_encoder *e);
void range_encoder_free(range_encoder *e);
stvc_status range_encode_uniform(range_encoder *e, uint32_t size, uint32_t value);
stvc_status range_encode_flag(range_encoder *e, uint32_t edge, int value);
stvc_status range_encode_symbols(range_encoder *e, const range_tables *t, const range_batch *batch,
                                 const int64_t *symbols);
/* What was encoded, closed off: `*out` is the caller's to hand back, NULL if there are no words.
 * Encoding may go on as if nothing had been closed. */
stvc_status range_encoder_words(const range_encoder *e, uint32_t **out, size_t *count);
void range_words_free(uint32_t *words);

/* ---- restoration.c ---- */

enum {
    REST_BLOCK = 8,        /* pixels a side */
    REST_INPUTS = 48,      /* of a pixel; see stvc/codec/restoration.py */
    REST_BLOCK_INPUTS = 9, /* of which so many are a block's */
    REST_FIRST = 48,       /* outputs of the layers, the last has one */
    REST_SECOND = 32,
    REST_NUMBERS = REST_FIRST + REST_SECOND + 1 /* outputs in all */
};

/* The integer network: an output is (weights x inputs + bias) / 2**bits, rounded half up; all but
 * the last are cut to 0 .. 127. */
typedef struct {
    const int8_t *first;  /* (48, 48) */
    const int8_t *second; /* (32, 48) */
    const int8_t *last;   /* (32,) */
    const int32_t *bias;  /* (81,) of all layers */
    const int8_t *bits;   /* (81,), 1 to 16 */
} rest_network;

typedef struct {
    int64_t components, down, across;   /* C, blocks */
    const int32_t *decoded, *predicted; /* (C, H, W), H = 8 down, W = 8 across */
    const int8_t *blocks;               /* (C, 9, down, across) */
    int64_t reciprocal;                 /* 2**25 / base step, rounded down */
} rest_unit;

/* Instructions that this processor has for it: 2: 8-bit dot products, 1: 16-bit ones, 0: none. */
int rest_level(void);
/* Corrections (C, H, W) of a unit, by instructions of a level, 1 to rest_level(). */
stvc_status rest_corrections(const rest_network *network, const rest_unit *unit, int level,
                             int32_t *out);

/* ---- attention.c ---- */

enum {
    ATTENTION_STEPS = 128, /* weights in the table */
    ATTENTION_KEYS = 64,   /* of a block, at most */
    ATTENTION_WIDTH = 1024
};

/* Attention of blocks of queries to keys of their own unit; uint8 with an offset of 128. */
typedef struct {
    int64_t units, blocks, queries; /* queries of a block */
    int64_t keys, rows;             /* keys of a block; keys and values of a unit */
    int64_t heads, width;           /* all heads together */
    const uint8_t *query;           /* (units, blocks, queries, width) */
    const uint8_t *kv;              /* (units, rows, 2, width) keys and values */
    const int64_t *index;           /* (blocks, keys) rows */
    const int8_t *position;         /* (keys, width), added to keys */
    const uint8_t *table;           /* (128,) weights by distance from the greatest logit */
} attention;

/* Instructions that this processor has for it: 2: 8-bit dot products, 1: 16-bit ones, 0: none. */
int attention_level(void);
/* Mixed values (units, blocks, queries, width), by instructions of a level. */
stvc_status attention_mix(const attention *a, int level, uint8_t *out);

/* ---- passes.c ---- */

enum { PASSES_COEFFICIENTS = 64, PASSES_CANDIDATES = 16 /* at most */ };

/* Round h down, or add to it what is to be rounded down; then cut it to activations. */
void passes_begin(float *h, int64_t n, uint8_t *activations);
void passes_absorb(float *h, const float *added, int64_t n, uint8_t *activations);
/* Numbers of a table (2 reach + 1) for symbols from -reach to reach; those beyond are cut. */
void passes_look_up(const int32_t *symbols, int64_t n, const uint8_t *table, int64_t reach,
                    uint8_t *out);

/* What the network says of coefficients low to low + count - 1 of some tokens of each unit. */
typedef struct {
    int64_t units, tokens, first, rows; /* tokens first to first + rows - 1 of a unit */
    int low, count, candidates;
    const float *heads;   /* (units, rows, 3 + candidates, count): location, scale, gates */
    const int16_t *moves; /* (units, tokens, 64, candidates) */
    const int32_t *near;  /* (units, rows, count) what neighbors suggest, or NULL */
} passes_heads;

/* Locations and scale indexes (units, rows, count). */
void passes_place(const passes_heads *a, int32_t *location, int32_t *scale);

#endif
