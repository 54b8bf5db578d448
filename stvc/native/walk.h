/* The walk of the predictive coder over one unit: stvc/codec/predictive_front.py.
 *
 * Pixels of a band that belong to one step lie at equal distances in memory, one in each row of the
 * picture. They are worked on in blocks of WALK_LANES, of which the last one repeats its last
 * pixel. All sums are of integers below 2**53, in any order the same. */
#ifndef STVC_WALK_H
#define STVC_WALK_H

#include "kernels.h"

enum {
    WALK_LANES = 16,
    WALK_MARGIN = 3, /* cells around planes */
    WALK_SLANT = 2,  /* columns that a step goes back from row to row */
    WALK_BACK = 3,   /* earlier bands, and empty planes before the first one */
    WALK_REFERENCES = 3,
    WALK_PREDICTORS = 4,
    WALK_CAUSAL = 16, /* earlier pixels of a band, the first features */
    WALK_FEATURES = 128, /* at most */
    WALK_CENTERS = WALK_BACK * WALK_REFERENCES,
    WALK_CONTEXTS = 14 + WALK_REFERENCES,
    WALK_PRODUCTS = LOCAL_VARIABLES * (LOCAL_VARIABLES + 3) / 2, /* halves of normal equations */
    WALK_BLEND = 129,
    WALK_TRUST = 256,
    WALK_LOCAL_TRUST = 240,
    WALK_WIDE = 8, /* sums of products: rows have a multiple of it */
    WALK_SIDE = 1 << 20 /* cells a side: numbers of cells fit 63 bits by far */
};

/* Rows of a block after its features, WALK_LANES numbers each. */
enum {
    ROW_MEAN,
    ROW_EACH,
    ROW_LOCAL = ROW_EACH + WALK_PREDICTORS,
    ROW_BLEND = ROW_LOCAL + LOCAL_VARIABLES,
    ROW_PREDICTION,
    ROW_SCALE,
    ROW_SLOPE,
    ROW_CONTEXT,
    ROWS = ROW_CONTEXT + WALK_CONTEXTS
};

typedef struct {
    int64_t bands, height, width, references;
    int64_t row, plane, size, all; /* cells: of a row, a plane, the unit, and with its references */
    int64_t max_error;
    int local, networked;
    /* the layout, as stvc/codec/predictive_layout.py has it */
    int64_t steps, pixels, edges;
    const int64_t *cells, *starts, *band_starts, *margin_to, *margin_from, *margin_starts;
    /* features: distances to cells, those of pairs of cells last, and then the pairs' others */
    int64_t features, pairs, contexts, blocks;
    const int64_t *offsets; /* (features + features - pairs,) */
    const int64_t *groups;  /* (WALK_BACK + references, 2) where they begin, how long they are */
    const double *blend, *trust, *local_trust, *sizes;
    /* of cells */
    double *values, *errors, *squares, *signed_errors, *missed, *scales;
    /* what is learned: along the front, and in rows of the picture (bands, height + 1) */
    const double *weights, *scale_weights;
    double *products, *scale_products; /* (bands, wide, wide): of features and the value, ... */
    double *of_row, *of_all, *mean;    /* (WALK_PRODUCTS, lines), the same, (bands, PRODUCTS) */
    double *room;                      /* (blocks, features + ROWS, WALK_LANES) */
    double *tall;                      /* see walk_learn.c */
    int64_t step;                      /* that was foreseen and not learned, or -1 */
} pixel_walk;

/* Numbers in a row of sums of products of `variables` variables and what they are to foretell. */
static inline int64_t walk_wide(int64_t variables)
{
    return (variables + WALK_WIDE) / WALK_WIDE * WALK_WIDE;
}

/* Rows of the picture in all bands, each band after an empty one, and some to read beyond. */
static inline int64_t walk_lines(const pixel_walk *w)
{
    return w->bands * (w->height + 1) + WALK_LANES;
}

static inline int64_t walk_count(const pixel_walk *w, int64_t step)
{
    return w->starts[step + 1] - w->starts[step];
}

/* Numbers in `tall`. */
int64_t walk_tall(int64_t features, int64_t contexts);
/* Whether all that the kernels index with is what it must be; once, before the first step. */
int walk_checked(const pixel_walk *w);

/* Predict the n pixels of a step: prediction (n,), scale (n,), each (4, n), correction (n,). */
stvc_status walk_foresee(pixel_walk *w, int64_t step, const uint8_t *flagged, int64_t *prediction,
                         int64_t *scale, double *each, double *correction);
/* What hidden pixels of the step are filled with, (n,). */
stvc_status walk_fill(const pixel_walk *w, double *out);
/* Take the (n,) values of the step's pixels, and which of them were coded. */
stvc_status walk_learn(pixel_walk *w, const double *told, const uint8_t *shown);

/* ---- products.c ---- */

/* A number of pixels in blocks, at most WALK_LANES in each. */
typedef struct {
    int64_t count, variables, wide;
    const double *rows;     /* (pixels, wide) */
    const double *weighted; /* (blocks, variables rounded up to 4, WALK_LANES) */
} products_batch;

/* Add sums of products of weighted variables and rows to (wide, wide), its upper half at least. */
void products_add(const products_batch *b, double *sums);

#endif
