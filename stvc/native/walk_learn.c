/* What a step's pixels teach once they are known: `Front.learn` of stvc/codec/predictive_front.py
 * and `LocalCorrection.learn` of predictive_local.py.
 *
 * Blocks go from the last one to the first: each reads what the line above it was before. */
#include "walk_lanes.h"

enum { FEATURE_LIMIT = 4095, FLOOR = 8, SIDE_BY_SIDE = 4 };

static const double ALONG = 0.9, DOWN = 0.75, PRIOR_SHARE = 0.01;

/* Lanes of a block. */
typedef struct {
    double told[WALK_LANES], live[WALK_LANES]; /* whether it is a pixel of its own */
    double shown[WALK_LANES];                  /* and was coded */
    double missed_by[WALK_LANES], signed_error[WALK_LANES], missed[WALK_LANES], miss[WALK_LANES];
    double square[WALK_PREDICTORS][WALK_LANES], left[WALK_LANES], above[WALK_LANES];
    double kept[WALK_PREDICTORS][WALK_LANES];
    double trust[WALK_LANES], wanted[WALK_LANES], log[WALK_LANES];
} lesson;

/* Blocks whose products are summed at once; they fill their room from the end. */
typedef struct {
    products_batch features, contexts;
    double *rows, *weighted, *scale_rows, *scale_weighted;
    int64_t blocks;
} lesson_sums;

static int64_t rounded_up(int64_t count)
{
    return (count + 3) / 4 * 4;
}

int64_t walk_tall(int64_t features, int64_t contexts)
{
    return SIDE_BY_SIDE * WALK_LANES *
           (walk_wide(features) + rounded_up(features) + walk_wide(contexts) + rounded_up(contexts));
}

static double mean_of(double a, double b)
{
    return floor((a + b) * 0.5);
}

static void open_lesson(const pixel_walk *w, const walk_block *b, const double *told,
                        const uint8_t *shown, lesson *s)
{
    LANES(p) {
        const int64_t at = b->at + (p < b->count ? p : b->count - 1), cell = b->cell[p];
        const int64_t left = (cell - 1) * WALK_PREDICTORS, above = (cell - w->row) * WALK_PREDICTORS;
        s->told[p] = told[at];
        s->live[p] = p < b->count ? 1 : 0;
        s->shown[p] = p < b->count && shown[at] ? 1 : 0;
        s->left[p] = mean_of(w->errors[cell - 1], w->errors[cell - w->row]);
        for (int v = 0; v < WALK_PREDICTORS; v++)
            s->kept[v][p] = mean_of(w->squares[left + v], w->squares[above + v]);
    }
}

/* Errors, and what they say of pixels to come: those of invented pixels are their neighbors'. */
STVC_INLINE void measure(const pixel_walk *w, const walk_block *b, lesson *s)
{
    const double blur = (double)(8 * (2 * w->max_error + 1));
    const double *each = row_of(w, b, ROW_EACH), *blended = row_of(w, b, ROW_BLEND);
    const double *prediction = row_of(w, b, ROW_PREDICTION), *slope = row_of(w, b, ROW_SLOPE);
    const double *mean = row_of(w, b, ROW_MEAN), more = w->local ? 0.5 : 0;
    double rank[WALK_LANES];
    LANES(p) {
        const double value = s->told[p] * 8, by = value - prediction[p], size = fabs(by);
        s->missed_by[p] = value - blended[p];
        s->signed_error[p] = clip(s->missed_by[p], -ERROR_LIMIT, ERROR_LIMIT) * s->shown[p];
        s->missed[p] = clip(by, -ERROR_LIMIT, ERROR_LIMIT) * s->shown[p];
        s->miss[p] = s->shown[p] > 0 ? (size < ERROR_LIMIT ? size : ERROR_LIMIT) : s->left[p];
        s->wanted[p] = clip(s->told[p] - mean[p], -FEATURE_LIMIT, FEATURE_LIMIT);
        s->log[p] = log16(blur * 0.5 + s->miss[p]);
        const double rough =
            slope[p] + (double)(32 + 4 * w->max_error) + rounded_down(s->miss[p] * more);
        rank[p] = log16(rough) - 5 * OCTAVE;
    }
    for (int v = 0; v < WALK_PREDICTORS; v++)
        LANES(p) {
            const double far = fabs(s->told[p] * 8 - each[v * WALK_LANES + p]);
            const double cut = far < ERROR_LIMIT ? far : ERROR_LIMIT;
            s->square[v][p] = s->shown[p] > 0 ? cut * cut : s->kept[v][p];
        }
    LANES(p)
        s->trust[p] = w->trust[(int)clip(rank[p], 0, WALK_TRUST - 1)] * s->shown[p];
}

static void keep(const pixel_walk *w, const walk_block *b, const lesson *s)
{
    const double *scale = row_of(w, b, ROW_SCALE);
    for (int64_t p = 0; p < b->count; p++) {
        const int64_t cell = b->cell[p];
        w->values[cell] = s->told[p];
        w->errors[cell] = s->miss[p];
        for (int v = 0; v < WALK_PREDICTORS; v++)
            w->squares[cell * WALK_PREDICTORS + v] = s->square[v][p];
        if (w->local)
            w->signed_errors[cell] = s->signed_error[p];
        if (w->networked) {
            w->missed[cell] = s->missed[p];
            w->scales[cell] = scale[p];
        }
    }
}

/* The small regressions; products of all lanes are added to sums. */
STVC_INLINE void learn_locally(const pixel_walk *w, const walk_block *b, const lesson *s,
                               double sums[WALK_PRODUCTS][WALK_LANES])
{
    enum { K = LOCAL_VARIABLES };
    const int64_t lines = walk_lines(w);
    int bits = 0;
    while ((2 * w->max_error + 1) >> (bits + 1))
        bits++;
    const double finer = 1 / (double)((int64_t)1 << bits);
    const double *scale = row_of(w, b, ROW_SCALE);
    double both[K + 1][WALK_LANES], weighted[K][WALK_LANES], rank[WALK_LANES], trust[WALK_LANES];
    memcpy(both, row_of(w, b, ROW_LOCAL), K * sizeof both[0]);
    LANES(p) {
        const double by = s->missed_by[p];
        const double size = w->sizes[(int)clip(scale[p], 0, CONTEXT_SIZES - 1)] + fabs(by);
        both[K][p] = clip(rounded_down(by * finer), -LOCAL_LIMIT, LOCAL_LIMIT);
        rank[p] = log16(rounded_down(size * finer) + FLOOR) - 3 * OCTAVE;
    }
    LANES(p)
        trust[p] = w->local_trust[(int)clip(rank[p], 0, WALK_LOCAL_TRUST - 1)] * s->shown[p];
    for (int i = 0; i < K; i++)
        LANES(p)
            weighted[i][p] = both[i][p] * trust[p];
    double *of_row = w->of_row + b->line, *of_all = w->of_all + b->line;
    for (int i = 0; i < K; i++)
        for (int j = i; j <= K; j++, of_row += lines, of_all += lines, sums++) {
            double above[WALK_LANES], grown[WALK_LANES];
            memcpy(above, of_all - 1, sizeof above);
            LANES(p) {
                const double fresh = weighted[i][p] * both[j][p];
                (*sums)[p] += fresh;
                grown[p] = of_row[p] * ALONG + fresh;
            }
            LANES(p)
                of_row[p] = s->live[p] > 0 ? grown[p] : of_row[p];
            LANES(p)
                of_all[p] = s->live[p] > 0 ? grown[p] + above[p] * DOWN : of_all[p];
        }
}

/* Rows of pixels side by side, and their weighted columns. */
STVC_INLINE void lay_out(const double *columns, int64_t count, double limit, const double *weight,
                         const double *last, int64_t wide, int64_t lanes, double *restrict rows,
                         double *restrict weighted)
{
    double cut[WALK_FEATURES * WALK_LANES];
    for (int64_t k = 0; k < count * WALK_LANES; k++)
        cut[k] = clip(columns[k], -limit, limit);
    for (int64_t k = 0; k < count * WALK_LANES; k += WALK_LANES)
        LANES(p)
            weighted[k + p] = cut[k + p] * weight[p];
    for (int64_t p = 0; p < lanes; p++) {
        for (int64_t k = 0; k < count; k++)
            rows[p * wide + k] = cut[k * WALK_LANES + p];
        rows[p * wide + count] = last[p];
    }
}

STVC_CLONES
static void learn_block(const pixel_walk *w, const walk_block *b, lesson *s,
                        double sums[WALK_PRODUCTS][WALK_LANES], lesson_sums *to)
{
    measure(w, b, s);
    if (w->local)
        learn_locally(w, b, s, sums);
    const int64_t wide = walk_wide(w->features), scale_wide = walk_wide(w->contexts);
    const int64_t slot = SIDE_BY_SIDE - ++to->blocks, first = slot * WALK_LANES;
    to->features.rows = to->rows + first * wide;
    to->features.weighted = to->weighted + first * rounded_up(w->features);
    to->contexts.rows = to->scale_rows + first * scale_wide;
    to->contexts.weighted = to->scale_weighted + first * rounded_up(w->contexts);
    lay_out(b->rows, w->features, FEATURE_LIMIT, s->trust, s->wanted, wide, b->count,
            (double *)to->features.rows, (double *)to->features.weighted);
    lay_out(row_of(w, b, ROW_CONTEXT), w->contexts, FEATURE_LIMIT, s->shown, s->log, scale_wide,
            b->count, (double *)to->contexts.rows, (double *)to->contexts.weighted);
    to->features.count += b->count;
    to->contexts.count += b->count;
}

static void add_up(const pixel_walk *w, int64_t band, lesson_sums *s)
{
    const int64_t wide = s->features.wide, scale_wide = s->contexts.wide;
    products_add(&s->features, w->products + band * wide * wide);
    products_add(&s->contexts, w->scale_products + band * scale_wide * scale_wide);
    s->blocks = s->features.count = s->contexts.count = 0;
}

static void learn_band(pixel_walk *w, int64_t band, int64_t first, int64_t end, int64_t number,
                       const double *told, const uint8_t *shown)
{
    const int64_t wide = walk_wide(w->features), scale_wide = walk_wide(w->contexts);
    const int64_t pixels = SIDE_BY_SIDE * WALK_LANES;
    double sums[WALK_PRODUCTS][WALK_LANES] = {{0}};
    lesson_sums to = {.features = {0, w->features, wide, NULL, NULL},
                      .contexts = {0, w->contexts, scale_wide, NULL, NULL}};
    to.rows = w->tall;
    to.weighted = to.rows + pixels * wide;
    to.scale_rows = to.weighted + pixels * rounded_up(w->features);
    to.scale_weighted = to.scale_rows + pixels * scale_wide;
    int64_t coded = 0;
    for (int64_t k = (end - first - 1) / WALK_LANES; k >= 0; k--) {
        const walk_block b = block_at(w, w->step, band, first + k * WALK_LANES, end, number + k);
        lesson s;
        open_lesson(w, &b, told, shown, &s);
        learn_block(w, &b, &s, sums, &to);
        keep(w, &b, &s);
        LANES(p)
            coded += s.shown[p] > 0;
        if (to.blocks == SIDE_BY_SIDE || !k)
            add_up(w, band, &to);
    }
    double *mean = w->mean + band * WALK_PRODUCTS;
    for (int k = 0; k < WALK_PRODUCTS && coded && w->local; k++) {
        double sum = 0;
        LANES(p)
            sum += sums[k][p];
        mean[k] += (sum / (double)coded - mean[k]) * PRIOR_SHARE;
    }
}

static void repeat_edges(const pixel_walk *w)
{
    for (int64_t k = w->margin_starts[w->step]; k < w->margin_starts[w->step + 1]; k++) {
        const int64_t to = w->margin_to[k], from = w->margin_from[k];
        w->values[to] = w->values[from];
        w->errors[to] = w->errors[from];
        memcpy(w->squares + to * WALK_PREDICTORS, w->squares + from * WALK_PREDICTORS,
               WALK_PREDICTORS * sizeof(double));
        w->signed_errors[to] = w->signed_errors[from];
        if (w->networked) {
            w->missed[to] = w->missed[from];
            w->scales[to] = w->scales[from];
        }
    }
}

stvc_status walk_learn(pixel_walk *w, const double *told, const uint8_t *shown)
{
    if (w->step < 0)
        return STVC_RANGE;
    const int64_t *bounds = w->band_starts + w->step * (w->bands + 1);
    int64_t number = 0;
    for (int64_t band = 0; band < w->bands; band++) {
        const int64_t count = bounds[band + 1] - bounds[band];
        if (!count)
            continue;
        learn_band(w, band, bounds[band], bounds[band + 1], number, told, shown);
        number += (count + WALK_LANES - 1) / WALK_LANES;
    }
    repeat_edges(w);
    w->step = -1;
    return STVC_OK;
}
