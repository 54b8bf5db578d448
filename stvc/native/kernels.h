/* What the native kernels share: plain C, without Python, which only `module.c` and `module_*.c`
 * know.
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

/* Parts of such loops: what is not inlined has one version only, the slow one. */
#if defined(__GNUC__)
#define STVC_INLINE static inline __attribute__((always_inline))
#else
#define STVC_INLINE static inline
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

/* ---- mask_network.c ---- */

enum { MASK_HIDDEN = 16, MASK_OCTAVES = 5, MASK_NO_CLASS = 255 };

/* Weights of the network that corrects votes, see `stvc.codec.mask_network.Network`. */
typedef struct {
    int classes;           /* C: 2 or 12 */
    const int16_t *counts; /* (16, 16) */
    const int16_t *margin; /* (16,) */
    const int16_t *common; /* (8, 16) */
    const int16_t *place;  /* (4, 5, 16) */
    const int16_t *label;  /* (C, 16) */
    const int16_t *out;    /* (4, 16) */
} mask_network;

/* What is known around a pixel: classes <= C, in groups of four of which each counts for one
 * number, 64 bytes in all. */
typedef struct {
    uint8_t around[MASK_NEIGHBORS];
    uint8_t past_here[4]; /* in the raster before; three times MASK_NO_CLASS follow */
    uint8_t past[MASK_RINGS];
    uint8_t second_here[4];
    uint8_t second[MASK_NEAR];
} mask_seen;

/* A network at a pass. */
typedef struct {
    const mask_network *network;
    const int16_t *out;
    int16_t base[MASK_HIDDEN];              /* of a pixel */
    int16_t own[MASK_LANES][MASK_HIDDEN];   /* of each class that occurs */
} mask_refiner;

/* Numbers that a network for C classes holds. */
size_t mask_network_size(int classes);
stvc_status mask_network_set(mask_network *n, const int16_t *numbers, size_t size, int classes);
void mask_network_begin(mask_refiner *r, const mask_network *network, int kind, int octave,
                        int rough, const int16_t *labels, const uint8_t *rare, int count);
/* Correct the votes (K,) of one pixel. */
void mask_network_refine(const mask_refiner *r, const mask_seen *seen, const int16_t *labels,
                         int count, int32_t *votes);

/* ---- mask_walk.c, continued ---- */

/* A raster on its way through all pixels, coarse to fine. */
typedef struct {
    mask_weights weights;
    const float *frequencies; /* (MASK_DROPS,) */
    const uint8_t *before;    /* (H * W,) classes of the raster before, or NULL */
    mask_network network;     /* corrects the votes, if `refined` */
    int refined;
    const uint8_t *second; /* (H * W,) another raster, which only the network looks at, or NULL */
    uint8_t *symbols;         /* (H * W,) the result */
    int64_t height, width;
    int64_t chunk;  /* cells of a pass that make one step, and room for its pixels */
    uint8_t *known; /* (H * W,) classes so far; if `refined`, of the pass's lattice, with rims */
    uint8_t *near_before, *near_second; /* likewise, if `refined` */

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
    int64_t *places;              /* and in `known` */
    uint8_t *first; /* first known class among the nearest neighbors of each; C: none */
} mask_walk;

/* Start a walk: the arrays are the caller's and outlive it; `network` may be NULL. */
stvc_status mask_walk_start(mask_walk *walk, const mask_weights *weights, const float *frequencies,
                            int64_t height, int64_t width, int64_t chunk, const uint8_t *before,
                            uint8_t *symbols, const mask_network *network, const uint8_t *second);
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

/* Room for the batches of a call, of up to `size` symbols. A batch is sorted: `order` lists its
 * symbols by table, each table's in their own order. */
typedef struct {
    int32_t *order;
    uint16_t *table;  /* of each symbol */
    uint8_t *low;     /* bits of each symbol that are coded as they are, at most 6 */
    uint8_t *bits;    /* these bits */
    int64_t *stops;   /* (tables,) where each table's run ends in `order` */
    uint8_t *checked; /* (tables,) whether its edges are known to be right */
    int64_t size;
    int most_low;
} range_room;

stvc_status range_room_start(range_room *room, const range_tables *t, int64_t size);
void range_room_free(range_room *room);

/* Whole steps of a location. */
static inline int64_t range_whole(int64_t location)
{
    return (int64_t)((uint64_t)location + RANGE_FRACTIONS / 2) >> 3;
}

/* Table of a symbol, and how many of its bits are coded as they are. */
stvc_status range_table_of(const range_tables *t, int64_t location, int64_t scale, uint16_t *table,
                           uint8_t *low);
/* Largest magnitude that a table covers. */
int32_t range_reach(const range_tables *t, size_t table);

void range_decoder_start(range_decoder *d, const uint8_t *bytes, size_t size);
stvc_status range_decode_uniform(range_decoder *d, uint32_t size, uint32_t *value);
/* One bit; `edge` is where true starts, 1 to 2**24 - 1. */
stvc_status range_decode_flag(range_decoder *d, uint32_t edge, int *value);
stvc_status range_decode_symbols(range_decoder *d, const range_tables *t, const range_batch *batch,
                                 int64_t *out);
stvc_status range_decode_batch(range_decoder *d, const range_tables *t, const range_batch *batch,
                               range_room *room, int64_t *out);

void range_encoder_start(range_encoder *e);
void range_encoder_free(range_encoder *e);
stvc_status range_encode_uniform(range_encoder *e, uint32_t size, uint32_t value);
stvc_status range_encode_flag(range_encoder *e, uint32_t edge, int value);
/* Go into the interval [left, right); 0 <= left < right <= 2**24. */
stvc_status range_encode_part(range_encoder *e, uint32_t left, uint32_t right);
stvc_status range_encode_symbols(range_encoder *e, const range_tables *t, const range_batch *batch,
                                 const int64_t *symbols);
stvc_status range_encode_batch(range_encoder *e, const range_tables *t, const range_batch *batch,
                               range_room *room, const int64_t *symbols);
/* What was encoded, closed off: `*out` is the caller's to hand back, NULL if there are no words.
 * Encoding may go on as if nothing had been closed. */
stvc_status range_encoder_words(const range_encoder *e, uint32_t **out, size_t *count);
void range_words_free(uint32_t *words);

/* ---- mask_encode.c ---- */

/* Encode all pixels of a walk that has just begun by their ranks (H, W), below K. */
stvc_status mask_walk_encode(mask_walk *walk, const uint8_t *ranks, range_encoder *coder);

/* ---- traces.c ---- */

enum {
    TRACES_KNEES = 3,
    TRACES_NODES = 3,
    TRACES_SUBBANDS = 3,
    TRACES_CLASSES = 4,
    TRACES_CONSTANTS = 8,
    TRACES_TABLE = 64,
    TRACES_NOTES = 6, /* of a pixel, at most */
    TRACES_RULES = 5,
    TRACES_MADE = 2,      /* rules of half precision */
    TRACES_SPAN = 66536   /* values they tell of */
};

/* Of n pixels, some of which complete coefficients of a wavelet transform. */
typedef struct {
    int64_t n, closing, contexts, groups;
    const int64_t *whole, *first, *rule;  /* (n,) */
    const int64_t *pixel;                 /* (closing,) */
    const int64_t *constants;             /* (8, closing) */
    const uint8_t *usable;                /* (3, closing) */
    const int64_t *group;                 /* (closing,) */
    const int64_t *masses;                /* (TRACES_MADE, TRACES_SPAN + 1) below values */
    int64_t *values;                      /* (contexts, 3, 4) */
    int64_t *coefficients;                /* (groups, 3, 4) */
} traces_batch;

/* A decision to learn from; where it is turned, the answer yes is counted first. */
typedef struct {
    int64_t counts;
    uint32_t edge;
    int turned, up;
} traces_note;

/* A step's pixels among the cells of a layout with margins. */
typedef struct {
    int64_t n, bands, height, width, margin;
    const int64_t *cells, *band; /* (n,) */
    const double *values;        /* DN of all cells */
    const uint8_t *complete;     /* (3, height, width) */
    const int64_t *phase, *rules; /* (bands,) */
} traces_step;

/* Contexts (n,), rules (n,) and, of the pixels that complete coefficients, which they are, their
 * constants (8, count), usable (3, count) and groups. */
stvc_status traces_find(const traces_step *s, int64_t *first, int64_t *rule, int64_t *closing,
                        int64_t *constants, uint8_t *usable, int64_t *group, int64_t *count);
/* Whether all is within bounds that no sum or product leaves 63 bits with. */
int traces_checked(const traces_batch *t);
/* Of `count` values from `level` on, of the k-th pixel that completes coefficients. */
void traces_weights(const traces_batch *t, int64_t k, int64_t level, int64_t count, int64_t *out);
/* Where "yes" begins of a decision between `size` levels, in 2**-24 and not clipped yet; if there
 * is nothing to learn from it, the note's counts are negative. */
uint32_t traces_lean(const traces_batch *t, int64_t pixel, int64_t low, int64_t size,
                     uint32_t edge, traces_note *note);
void traces_learn(const traces_batch *t, const traces_note *notes, int64_t noted,
                  const int64_t *levels);

/* ---- mixture.c ---- */

enum { MIXTURE_PARTS = 3, MIXTURE_COPIES = 3, MIXTURE_CURVE = 2 * 16 * 16 + 2 };

/* Of n pixels; of each array the first row first. */
typedef struct {
    int64_t n;
    const int64_t *location, *inverse; /* (3, n) */
    const int64_t *copies;             /* (3, n) */
    const int64_t *weight;             /* (6, n) */
    const int64_t *width;              /* (n,) */
    const int64_t *curve;              /* the logistic function */
} mixture_batch;

/* `t` is NULL where values are not looked at for traces. */
stvc_status mixture_encode(range_encoder *e, const mixture_batch *m, const traces_batch *t,
                           const int64_t *levels);
stvc_status mixture_decode(range_decoder *d, const mixture_batch *m, const traces_batch *t,
                           int64_t *levels);

/* Masses of n levels, 2**-38; `outside` of their intervals those of the nearest. */
stvc_status mixture_masses(const mixture_batch *m, const int64_t *levels, int64_t *out,
                           uint8_t *outside);

/* ---- mixture_form.c ---- */

enum { MIXTURE_OUTPUTS = 3 * MIXTURE_PARTS + MIXTURE_COPIES, MIXTURE_FALLING = 12 << 6 };

/* What the pixel network says of n pixels, and what becomes of it. */
typedef struct {
    int64_t n, pitch;
    const int32_t *outputs;                           /* (n, MIXTURE_OUTPUTS) */
    const int64_t *prediction, *scale, *copied;       /* (n,), (n,), (3, n) DN */
    const double *sizes;                              /* (CONTEXT_SIZES,) */
    const int64_t *falling, *inverses;                /* (MIXTURE_FALLING,), (CONTEXT_SIZES,) */
    int64_t *location, *inverse, *copies, *weight, *width; /* as in a `mixture_batch` */
} mixture_form;

stvc_status mixture_make(const mixture_form *f);

/* ---- context.c ---- */

enum {
    CONTEXT_OWN = 22,
    CONTEXT_RING = 24,
    CONTEXT_BACK = 3, /* bands, and empty planes before the first one */
    CONTEXT_REFERENCES = 2,
    CONTEXT_MISSED = 38,
    CONTEXT_PREDICTORS = 4,
    CONTEXT_BESIDE = 8,
    CONTEXT_SCALES = 3,
    CONTEXT_BANDS = 6,
    CONTEXT_DIFFERENCES = 200,
    CONTEXT_FEATURES = CONTEXT_DIFFERENCES + CONTEXT_BANDS + 10,
    CONTEXT_SIZES = 321
};

/* A step's n pixels in cells of a layout; offsets are distances in cells. */
typedef struct {
    int64_t n, references, level, row, plane, margin;
    int64_t size, all; /* cells of the unit, and with its references */
    const double *values, *missed, *scales;
    const int64_t *cells;
    const uint8_t *unclear;
    const double *each, *correction; /* (4, n), (n,) */
    const int64_t *prediction, *scale;
    const int64_t *value_offsets, *missed_offsets, *scale_offsets, *changed_offsets,
        *unchanged_offsets;
    const double *sizes;
} context_batch;

/* (n, CONTEXT_FEATURES) inputs. */
stvc_status pixel_context(const context_batch *c, int8_t *out);

/* ---- solve.c ---- */

enum { LOCAL_VARIABLES = 7 };

/* Normal equations, each solved for `count` leading sets of variables. */
typedef struct {
    int64_t systems, variables, count;
    const int64_t *sizes;
    double ridge, unit;
} nested_system;

/* gram (systems, variables, variables), moment (systems, variables), out (systems, count,
 * variables). */
stvc_status nested_solve(const nested_system *s, const double *gram, const double *moment,
                         double *out);
/* systems (7, 8, n), out (7, n). */
void local_solve(const double *systems, int64_t n, double *out);

/* ---- columns.c ---- */

enum { COLUMNS_MOST = 64, COLUMNS_WEIGHT = 1023 };

/* Coefficients of a group, (tokens, columns) each. Scores or costs lie one behind the other as the
 * tables' symbols do: those of table k begin at starts[k] - k. */
typedef struct {
    int64_t tokens, columns;
    const int32_t *location;
    const uint8_t *scale;    /* below RANGE_SCALES; for the encoder, as `columns_correct` says */
    const int32_t *widening; /* (columns,) added to all scales */
    const int32_t *weight;   /* (columns,) of what a token's earlier columns taught */
    const int16_t *scores;   /* at most 1023 either way */
    size_t score_count;
    const int32_t *information; /* (tables,) below 2**14 */
} range_columns;

stvc_status columns_decode(range_decoder *d, const range_tables *t, const range_columns *c,
                           int32_t *out);
stvc_status columns_correct(const range_tables *t, const range_columns *c, const int32_t *symbols,
                            uint8_t *out);
stvc_status columns_encode(range_encoder *e, const range_tables *t, const range_columns *c,
                           const int32_t *symbols);
/* What each column costs if it is widened farther, (columns, count), 1/64 bit; `scores` are costs. */
stvc_status columns_costs(const range_tables *t, const range_columns *c, const int32_t *symbols,
                          const int32_t *widenings, int64_t count, int64_t *out);

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

/* ---- int8_product.c ---- */

enum {
    INT8_COLUMNS = 1 << 15, /* at most: a sum is then below 2**31 */
    INT8_LANES = 16         /* what rows of scales, biases and weights are padded to */
};

/* out = x * weights * scale + bias; rounded, it is a byte: to the nearest (and to even), plus an
 * offset, cut to 0 .. top. */
typedef struct {
    int64_t rows, columns, outputs;
    const uint8_t *x; /* (rows, columns) */
    /* Weights of the level in vectors of L outputs: 16, 4 columns each, or 8, 2 columns of 16 bits
     * each; (outputs / L, columns / 4 * 4 / C, L, C), zeros where there is no weight. */
    const uint8_t *packed;
    const float *scale, *bias; /* (outputs,) padded */
    int rounded, offset, top;
} int8_product;

/* Instructions are those of a level, 1 to attention_level(). */
stvc_status int8_multiply(const int8_product *p, int level, void *out);

/* ---- transform.c ---- */

enum { TRANSFORM_BANDS = 64 /* at most */, TRANSFORM_BLOCK = 64 /* pixels */ };

/* Mix planes (bands, size) of int32, or of uint16, by a matrix of integers over a power of two;
 * results are rounded half up. */
void bands_mix(const double *matrix, int64_t bands, int64_t size, const void *planes, int wide,
               int32_t *out);

/* The same of `count` pixels from number `first` on; bands of `out` are `next` numbers apart. */
void bands_mix_part(const double *matrix, int64_t bands, int64_t size, const void *planes,
                    int wide, int64_t first, int64_t count, int64_t next, int32_t *out);

/* The kernel in four parts of (16, 16): even down and across, even and odd, odd and even, odd. */
typedef struct {
    const double *forward; /* (4, pixels, coefficients) */
    const double *inverse; /* (4, coefficients, pixels) */
    const uint8_t *order;  /* (64,) where the parts' coefficients are, 0 to 63 */
} block_transform;

/* Planes of `rows` rows of blocks in all; coefficients (rows, width / 8, 64). */
void blocks_forward(const block_transform *t, const int32_t *planes, int64_t rows, int64_t width,
                    int32_t *out);
void blocks_inverse(const block_transform *t, const int32_t *coefficients, int64_t rows,
                    int64_t width, int32_t *out);

/* Fill hidden pixels of blocks (components, count, 64) with what costs few levels; see fill.py.
 * Nothing is exact here but what is clear. */
void blocks_fill(const block_transform *t, const double *residual, const uint8_t *hidden,
                 const double *steps, int64_t components, int64_t count, double *out);

/* Coefficients (64,) of one such block, filled; in floating point. */
void block_fill(const block_transform *t, const double *residual, const uint8_t *hidden,
                double step, double *out);

enum { LEVEL_BITS = 5, LEVEL_UNITS = 1 << LEVEL_BITS, LEVEL_STEP = 1 << 24 };

/* Levels of coefficients (components, tokens, 64), and what levels stand for; see quantize.py. */
void levels_quantize(const double *residual, const int64_t *steps, int64_t components,
                     int64_t tokens, double dead_zone, int32_t most, int32_t *out);
void levels_dequantize(const int32_t *symbols, const int64_t *steps, int64_t components,
                       int64_t tokens, const int64_t *toward, int32_t *out);

/* ---- turns.c ---- */

enum { TURN_COMPONENTS = 6, TURN_BANDS = 4 };

typedef struct {
    int64_t components, tokens;
    int back;
    const int64_t *cosine, *sine; /* (pairs, 64) in 2**-14 */
} turn_batch;

int64_t turn_pairs(int64_t components);
/* Turn (components, tokens, 64) coefficients in place, one of the two kinds. */
void components_turn(const turn_batch *t, int32_t *whole, double *real);
/* Angles (pairs, 4) for coefficients in steps, which are turned by them. */
stvc_status turns_choose(double *part, int64_t components, int64_t tokens, double weight,
                         int64_t *turns);

/* ---- references.c ---- */

enum { WARP_TAPS = 6, WARP_UNITS = 8 /* of a pixel */, WARP_SHIFT = 1 << 16 /* at most */ };

/* Move planes (count, height, width) of 0 to 65535 by (down, across) / 8 pixels, edges repeated;
 * filters are (8, 6). */
stvc_status planes_warp(const int32_t *planes, const int32_t *filters, int64_t count,
                        int64_t height, int64_t width, int down, int across, int32_t *out);

/* The same of n blocks of 8 x 8 pixels, side by side: (C, 8, 8 n). Height and width are multiples of
 * 8. */
stvc_status blocks_warp(const int32_t *planes, const int32_t *filters, int64_t count,
                        int64_t height, int64_t width, int down, int across,
                        const int64_t *blocks, int64_t n, int32_t *out);

/* Mean age of the known pixels of each block; -1: there is none. Before two-sided prediction ages
 * were not absolute. */
void block_ages(const int32_t *days, int64_t height, int64_t width, int64_t today, int absolute,
                int32_t never, int32_t *out);

/* What one side of a date left behind: planes (bands, size), days and counts (size,). */
typedef struct {
    const int32_t *recent, *average, *day, *count;
} reference_side;

typedef struct {
    int32_t *recent, *second, *average, *recent_day, *second_day, *count;
} reference_middle;

void references_between(int64_t bands, int64_t size, int64_t day, const reference_side *before,
                        const reference_side *after, const reference_middle *out);

enum { REFERENCE_MEMORY = 4 };

/* What one more date does to a state: clear pixels of `home` enter it. */
typedef struct {
    int64_t bands, size, day;
    const int32_t *home; /* (bands, size) */
    const uint8_t *hidden;
    reference_side old;
    const int32_t *second, *second_day;
    const int32_t *shares; /* (5,) of the way, in 2**-12, by count */
} reference_step;

stvc_status references_advance(const reference_step *s, const reference_middle *out);

/* Cut pixels to 16 bits; concealed ones are those of (bands, blocks, 64) instead, in the order of
 * the blocks that hold some. */
stvc_status pixels_show(const int32_t *pixels, const uint8_t *concealed, int64_t bands,
                        int64_t height, int64_t width, const int32_t *instead, int64_t blocks,
                        uint16_t *out);

enum { PREDICT_PLANES = 4, PREDICT_BLOCK = 64 };

typedef struct {
    int64_t components, tokens;
    int bits;                              /* weights are in units of 2**-bits */
    const int32_t *planes[PREDICT_PLANES]; /* (components, tokens, 64); NULL: like the mean */
    const int32_t *mean;                   /* (components, 64) */
    const int32_t *weights;                /* (components, 4, 64) */
    const int64_t *offsets;                /* (components,) added to the first coefficient */
} prediction;

void predict_units(const prediction *p, int32_t *out);

/* ---- registration.c ---- */

enum { BLUR_TAPS = 5 };

/* Blur a plane both ways, edges reflected. */
stvc_status plane_blur(const float *plane, const float *taps, int64_t height, int64_t width,
                       float *out);

typedef struct {
    int64_t height, width;
    const float *target, *moved; /* (height, width) blurred */
    const uint8_t *weight;       /* the same: pixels to trust */
} registration;

/* Normal equations of the shift that is missing: (yy, yx, xx, y, x). */
stvc_status registration_equations(const registration *r, double *out);

/* ---- choice.c ---- */

enum {
    CHOICE_FREQUENCIES = 64,
    CHOICE_PLANES = 4, /* that are mixed */
    CHOICE_PROBES = 64, /* at most */
    CHOICE_ROWS = 256,
    CHOICE_STEP = 1 << 20
};

typedef struct {
    int64_t components, tokens, probes, rows;
    int64_t step, most;                   /* of quantization; steps a lift may have */
    const int32_t *target;                /* (components, tokens, 64) coefficients */
    const int32_t *planes[CHOICE_PLANES]; /* the same; NULL: like the mean */
    const float *mean;                    /* (components, 64) */
    const int64_t *probe;                 /* (probes,) tokens */
    const float *weights;                 /* (rows, 64, 4) */
} choice;

/* Bits (components, rows), and steps that the lowest frequency is lifted by. */
stvc_status choice_costs(const choice *c, double *cost, float *lift);

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

/* ---- fast.c ---- */

enum {
    FAST_BLOCK = 64,
    FAST_PLANES = 4, /* magnitudes that a token hears of before symbols, 64 each */
    FAST_LOW = 10,   /* coefficients with a location */
    FAST_MOVES = 5,
    FAST_LIMIT = 8191,   /* of moves, either way */
    FAST_RECIPROCAL = 20 /* bits */
};

/* What all groups share. Rows of `heard` begin with those of `told`, which begin with the trunk. */
typedef struct {
    int level;
    int8_product trunk, earlier; /* to float32; without rows */
    int64_t heard, told;         /* numbers in a row */
} fast_layers;

typedef struct {
    int8_product around, hidden, scale, move; /* `move` gives float32 */
} fast_group;

/* Where rows lie: place[k] in grids of (height + 2) * (width + 2), one behind the other. */
typedef struct {
    int64_t rows, width;
    const int64_t *place; /* never on a rim */
} fast_grid;

/* Trunk activations of rows at the start of `heard` and `told`; what they know of their own
 * symbols is cleared. */
stvc_status fast_trunk(const fast_layers *f, const uint8_t *features, const uint8_t *earlier,
                       int64_t rows, uint8_t *heard, uint8_t *told);
/* Scales of a group, and locations (rows, FAST_LOW) unless they are NULL. `around` are the grids of
 * what tokens tell, zeros where nobody is. */
stvc_status fast_step(const fast_layers *f, const fast_group *g, const fast_grid *grid,
                      const uint8_t *told, const int16_t *moves, uint8_t *around, uint8_t *heard,
                      int32_t *where, uint8_t *scale);
/* Take in symbols (rows, count), from number `at` of a row on; levels are (most + 1,). */
void fast_hear(const fast_layers *f, const int32_t *symbols, int64_t rows, int64_t count,
               int64_t at, const uint8_t *levels, int64_t most, uint8_t *heard, uint8_t *told);

/* A unit's references: planes (components, tokens, 64), the mean where one is NULL. */
typedef struct {
    int64_t components, tokens, rows;
    const int64_t *row;   /* (rows,) tokens that are coded */
    const int64_t *steps; /* (tokens,) positive */
    const int32_t *predicted, *recent, *second, *average, *background, *mean;
    int blank; /* whether nothing is known */
} fast_unit;

/* Inputs (components, rows, width), of which the first 4 * 64 are written, and moves. */
void fast_inputs(const fast_unit *u, uint8_t *known, int64_t width, int16_t *moves);

/* ---- widening.c ---- */

enum { WIDENING_MOST = 9, WIDENINGS = 2 * WIDENING_MOST + 1, WIDENING_REACH = 15 };

/* A unit's coefficients, (components, tokens, columns) each. */
typedef struct {
    int64_t components, tokens, columns;
    int64_t located; /* the first columns, which have a location */
    const int32_t *symbols;
    const int32_t *location; /* (components, tokens, located), 1/8 steps */
    const uint8_t *scale;    /* as the network says */
} widening_unit;

/* What each column costs under every widening, (components, columns, WIDENINGS), 1/64 bit. Costs
 * near the location stand in a table of (fractions, 2 * reach + 1, WIDENING_ROW). */
enum { WIDENING_ROW = 96 };
stvc_status widening_costs(const widening_unit *u, const int16_t *near, const range_tables *t,
                           const int16_t *costs, size_t cost_count, int64_t *out);

/* Write a unit's columns with corrected scales, components one after the other, each in groups
 * that end before stops[k]; widenings are (components, columns), weights (columns,). */
stvc_status widening_encode(range_encoder *e, const range_tables *t, const widening_unit *u,
                            const range_columns *how, const int64_t *stops, int64_t groups);

/* ---- unit.c ---- */

/* Pixels (bands, height, width) to coefficients (bands, height / 8, width / 8, 64), through the
 * bands' mixture, which is left in `mixed` unless that is NULL. */
stvc_status unit_forward(const block_transform *t, const double *matrix, int64_t bands,
                         int64_t height, int64_t width, const void *planes, int wide,
                         int32_t *mixed, int32_t *out);

/* A unit on its way to levels; arrays of coefficients are (components, tokens, 64). */
typedef struct {
    int64_t components, down, across;
    const int32_t *mixed; /* (components, 8 down, 8 across) */
    const int32_t *target, *predicted;
    const uint8_t *hidden;  /* (8 down, 8 across) */
    const uint8_t *skipped; /* (tokens,) not coded */
    const int64_t *steps;   /* (tokens,) */
    int fill;               /* whether hidden pixels do not matter */
    double dead_zone;
    int32_t most;
    const int64_t *cosine, *sine; /* of turns, see turn_batch; NULL if there are none */
} unit_levels;

/* What is quantized, its levels, and for levels of magnitude 1 and for larger ones: how many, and
 * how far in all they lie from their bins' centers toward zero, in 1/32 step. */
stvc_status unit_quantize(const block_transform *t, const unit_levels *u, double *residual,
                          int32_t *symbols, double *inward);
/* The same of a residual that is there already. */
void levels_requantize(const double *residual, const int64_t *steps, int64_t components,
                       int64_t tokens, double dead_zone, int32_t most, int32_t *symbols,
                       double *inward);

/* Decoded pixels (components, 8 down, 8 across) of what is predicted and levels; concealed ones
 * show the prediction, or nothing if that is not wanted. */
typedef struct {
    int64_t components, down, across;
    const double *matrix; /* from components to bands */
    const int32_t *predicted, *symbols;
    const int64_t *steps;
    int64_t toward[2];
    const int64_t *cosine, *sine; /* of turns, see turn_batch; NULL if there are none */
    const uint8_t *concealed;     /* (8 down, 8 across) */
    int show;
} unit_pixels;
stvc_status unit_decode(const block_transform *t, const unit_pixels *u, uint16_t *out);

/* Of clear pixels: how many there are, and the squares of what decoded (bands, rows, stride) and
 * original (bands, height, width) samples differ by; flags are (rows, stride). */
typedef struct {
    int64_t count, sum;
    int32_t largest; /* difference */
} unit_errors;
unit_errors unit_error(const uint16_t *decoded, const uint16_t *pixels, const uint8_t *unclear,
                       int64_t bands, int64_t height, int64_t width, int64_t rows, int64_t stride);

/* ---- numbers.c ---- */

enum { NUMBER_VOTERS = 4, NUMBER_LIMIT = 1 << 10 /* of columns and contexts */ };

typedef struct {
    uint32_t key;
    uint16_t seen[2]; /* zeros and ones */
    uint8_t used;
} number_slot;

/* Writes numbers, or reads those of a block, which is the caller's and outlives it. */
typedef struct {
    number_slot *slots;
    size_t room, count; /* a power of two; how many are used */
    uint64_t low;
    uint32_t range, point;
    int decodes;
    const uint8_t *block;
    size_t size, at;
    uint8_t *bytes;
    size_t written, space;
} number_coder;

stvc_status number_coder_start(number_coder *c, const uint8_t *block, size_t size);
void number_coder_free(number_coder *c);
/* Code a number below 2**60 in magnitude; up to NUMBER_VOTERS - 1 contexts. */
stvc_status number_code(number_coder *c, uint32_t column, const uint32_t *contexts, int count,
                        int is_signed, int64_t *number);
/* Close off what was written: `bytes`, without zeros at the end. */
stvc_status number_coder_finish(number_coder *c);

/* ---- histogram.c ---- */

/* Counts (components, bands, width) of the levels from `low` on, of tokens that are not left out. */
stvc_status levels_count(const int32_t *symbols, const uint8_t *left_out, const uint8_t *band_of,
                         int64_t components, int64_t tokens, int64_t bands, int64_t low,
                         int64_t width, int64_t *out);

/* ---- untruncate.c ---- */

enum { UNTRUNCATE_DEARER = 64, UNTRUNCATE_PRICES = 65536 + 2 * 256 };

/* Coefficients (height, width) as they came, in the places of their pixels, and which lost a bit. */
typedef struct {
    int64_t height, width, first_row, first_column;
    const int32_t *came;
    const uint8_t *lost;
} truncated_level;

typedef struct {
    truncated_level fine;
    truncated_level coarse;  /* of the low frequencies of the other, or empty */
    const int16_t *prices;   /* (UNTRUNCATE_PRICES,) */
    const uint32_t *odds;    /* (sweeps, UNTRUNCATE_DEARER) */
    int64_t sweeps;
} truncation_search;

/* Values (height, width) that are cut to the same, as cheap as was found. */
stvc_status untruncate(const truncation_search *s, int32_t *values);

#endif
