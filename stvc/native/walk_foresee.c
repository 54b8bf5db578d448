/* What a step's pixels are expected to be: `Front.foresee` of stvc/codec/predictive_front.py and
 * `LocalCorrection.correct` of predictive_local.py. */
#include "walk_lanes.h"

#include "solve_lanes.h" /* behind what walk_lanes.h tells the compiler */

enum { NEAR = 10, BLENDED = 6, CROSS = 5, ACROSS = 2 * CROSS + 1, BESIDE = 3 };
enum { WEIGHT_BITS = 14, SCALE_BITS = 12, LOCAL_BITS = 12 };

static const int8_t near[NEAR][2] = {{0, -1}, {-1, 0}, {-1, -1}, {-1, 1}, {0, -2},
                                     {-2, 0}, {-1, -2}, {-2, -1}, {-2, 1}, {0, -3}};
static const int8_t cross[CROSS][2] = {{0, 0}, {0, -1}, {-1, 0}, {0, 1}, {1, 0}};
static const double shares[BLENDED] = {2, 2, 1, 1, 1, 1};
static const double PRIOR_PIXELS = 8, DOWN = 0.75, WEIGHT_LIMIT = 1 << 18;

/* What lies around the pixels, from arrays of cells: loads, nothing for vectors. */
typedef struct {
    double near[NEAR][WALK_LANES], across[ACROSS][WALK_LANES], beside[BESIDE][WALK_LANES];
    double doubtful[WALK_PREDICTORS][WALK_LANES];
} surroundings;

static void take(const double *from, int64_t offset, const int64_t *cell, double *restrict to)
{
    LANES(p)
        to[p] = from[cell[p] + offset];
}

static void gather(const pixel_walk *w, const walk_block *b, surroundings *s)
{
    const int64_t centers = w->features - w->pairs, row = w->row;
    for (int64_t k = 0; k < w->pairs; k++)
        take(w->values, w->offsets[k], b->cell, b->rows + k * WALK_LANES);
    for (int64_t k = w->pairs; k < w->features; k++) {
        const double *center = w->values + w->offsets[k];
        const double *left = w->values + w->offsets[k + centers];
        double *to = b->rows + k * WALK_LANES;
        LANES(p)
            to[p] = center[b->cell[p]] - left[b->cell[p]];
    }
    for (int k = 0; k < NEAR; k++)
        take(w->errors, near[k][0] * row + near[k][1], b->cell, s->near[k]);
    for (int back = 1; back < WALK_BACK; back++)
        for (int k = 0; k < CROSS; k++)
            take(w->errors, cross[k][0] * row + cross[k][1] - back * w->plane, b->cell,
                 s->across[(back - 1) * CROSS + k]);
    take(w->errors, -WALK_BACK * w->plane, b->cell, s->across[ACROSS - 1]);
    take(w->signed_errors, -1, b->cell, s->beside[0]);
    take(w->signed_errors, -row, b->cell, s->beside[1]);
    take(w->signed_errors, -w->plane, b->cell, s->beside[2]);
    LANES(p) {
        double sum[WALK_PREDICTORS] = {0};
        for (int k = 0; k < BLENDED; k++) {
            const int64_t cell = b->cell[p] + near[k][0] * row + near[k][1];
            for (int v = 0; v < WALK_PREDICTORS; v++)
                sum[v] += w->squares[cell * WALK_PREDICTORS + v] * shares[k];
        }
        for (int v = 0; v < WALK_PREDICTORS; v++)
            s->doubtful[v][p] = sum[v];
    }
}

/* Features, as stvc/codec/predictive_features.py has them, and slopes (1 + references). */
STVC_INLINE void set_features(const pixel_walk *w, const walk_block *b,
                              double slopes[][WALK_LANES])
{
    double *mean = row_of(w, b, ROW_MEAN);
    const double *west = b->rows, *north = west + WALK_LANES, *corner = north + WALK_LANES,
                 *east = corner + WALK_LANES;
    LANES(p) {
        mean[p] = rounded_down((west[p] + north[p]) * 0.5);
        slopes[0][p] =
            fabs(north[p] - corner[p]) + fabs(west[p] - corner[p]) + fabs(north[p] - east[p]);
    }
    for (int64_t g = 0; g < WALK_BACK + w->references; g++) {
        double *group = b->rows + w->groups[2 * g] * WALK_LANES;
        double *second = group + WALK_LANES, *third = second + WALK_LANES, left[WALK_LANES];
        if (g >= WALK_BACK)
            LANES(p)
                slopes[g - WALK_BACK + 1][p] = fabs(2 * group[p] - second[p] - third[p]);
        memcpy(left, second, sizeof left);
        for (int64_t k = 0; k < w->groups[2 * g + 1]; k++)
            LANES(p)
                group[k * WALK_LANES + p] -= left[p];
        const double there = g >= b->band && g < WALK_BACK ? 0 : 1; /* whether the band is */
        LANES(p)
            second[p] = (left[p] - mean[p]) * there;
    }
    for (int k = 0; k < WALK_CAUSAL; k++)
        LANES(p)
            b->rows[k * WALK_LANES + p] -= mean[p];
}

/* Sums of rows times weights, some sets of them (sets, WALK_LANES); left alone, compilers go along
 * the rows, not the lanes. */
STVC_INLINE void weigh(const double *weights, int sets, int64_t count, const double *rows,
                       double *sums)
{
#if defined(__GNUC__)
    typedef double four __attribute__((vector_size(32), aligned(8), may_alias));
    for (int at = 0; at < WALK_LANES; at += 8) {
        four first[WALK_PREDICTORS] = {{0}}, second[WALK_PREDICTORS] = {{0}};
        for (int64_t k = 0; k < count; k++) {
            const four a = *(const four *)(rows + k * WALK_LANES + at);
            const four b = *(const four *)(rows + k * WALK_LANES + at + 4);
            for (int v = 0; v < sets; v++) {
                first[v] += weights[v * count + k] * a;
                second[v] += weights[v * count + k] * b;
            }
        }
        for (int v = 0; v < sets; v++) {
            memcpy(sums + v * WALK_LANES + at, &first[v], sizeof first[v]);
            memcpy(sums + v * WALK_LANES + at + 4, &second[v], sizeof second[v]);
        }
    }
#else
    for (int v = 0; v < sets; v++)
        LANES(p) {
            double sum = 0;
            for (int64_t k = 0; k < count; k++)
                sum += weights[v * count + k] * rows[k * WALK_LANES + p];
            sums[v * WALK_LANES + p] = sum;
        }
#endif
}

STVC_INLINE void predict(const pixel_walk *w, const walk_block *b)
{
    const double *weights = w->weights + b->band * WALK_PREDICTORS * w->features;
    const double *mean = row_of(w, b, ROW_MEAN);
    double sums[WALK_PREDICTORS][WALK_LANES];
    weigh(weights, WALK_PREDICTORS, w->features, b->rows, *sums);
    for (int v = 0; v < WALK_PREDICTORS; v++) {
        double *each = row_of(w, b, ROW_EACH + v);
        LANES(p)
            each[p] = clip(rounded_down(sums[v][p] * (1.0 / (1 << (WEIGHT_BITS - 3)))) +
                               mean[p] * 8,
                           0, PEAK * 8);
    }
}

/* The predictions' mean: those that did well around a pixel count more. */
STVC_INLINE void blend(const pixel_walk *w, const walk_block *b, const surroundings *s)
{
    const double blur = (double)(8 * (2 * w->max_error + 1)), doubt = blur * blur * 4;
    const double *each = row_of(w, b, ROW_EACH);
    double *blended = row_of(w, b, ROW_BLEND), total[WALK_LANES] = {0}, whole[WALK_LANES] = {0};
    double ranks[WALK_PREDICTORS][WALK_LANES], least[WALK_LANES];
    for (int v = 0; v < WALK_PREDICTORS; v++)
        LANES(p)
            ranks[v][p] = log16(s->doubtful[v][p] + doubt);
    LANES(p) {
        const double a = ranks[0][p] < ranks[1][p] ? ranks[0][p] : ranks[1][p];
        const double c = ranks[2][p] < ranks[3][p] ? ranks[2][p] : ranks[3][p];
        least[p] = a < c ? a : c;
    }
    for (int v = 0; v < WALK_PREDICTORS; v++)
        LANES(p) {
            const double share = w->blend[(int)clip(ranks[v][p] - least[p], 0, WALK_BLEND - 1)];
            total[p] += share * each[v * WALK_LANES + p];
            whole[p] += share;
        }
    /* a quotient of integers below 2**46 and 2**27, which rounds to no integer above it */
    LANES(p)
        blended[p] = rounded_down(total[p] / whole[p]);
}

/* Adds to the blend what small regressions around each pixel foresee of its error. */
STVC_INLINE void correct(const pixel_walk *w, const walk_block *b, const surroundings *s)
{
    enum { K = LOCAL_VARIABLES };
    const int64_t lines = walk_lines(w);
    int bits = 0;
    while ((2 * w->max_error + 1) >> (bits + 1))
        bits++;
    const double unit = (double)((int64_t)1 << bits), finer = 1 / unit;
    const double *each = row_of(w, b, ROW_EACH), *blended = row_of(w, b, ROW_BLEND);
    double *told = row_of(w, b, ROW_LOCAL), *found = row_of(w, b, ROW_PREDICTION);
    for (int v = 1; v < WALK_PREDICTORS; v++)
        LANES(p)
            told[(v - 1) * WALK_LANES + p] = each[v * WALK_LANES + p] - each[p];
    memcpy(told + (WALK_PREDICTORS - 1) * WALK_LANES, s->beside, sizeof s->beside);
    double *last = told + (K - 1) * WALK_LANES;
    const double *relief = b->rows + (w->references ? w->groups[2 * WALK_BACK] : 0) * WALK_LANES;
    if (w->references)
        LANES(p)
            last[p] = relief[p] * 8;
    else
        memset(last, 0, WALK_LANES * sizeof *last);
    for (int k = 0; k < K * WALK_LANES; k++)
        told[k] = clip(rounded_down(told[k] * finer), -LOCAL_LIMIT, LOCAL_LIMIT);

    double system[K][K + 1][SIDE_BY_SIDE];
    const double *of_row = w->of_row + b->line, *above = w->of_all + b->line - 1;
    const double *mean = w->mean + b->band * WALK_PRODUCTS;
    for (int i = 0; i < K; i++)
        for (int j = i; j <= K; j++, of_row += lines, above += lines, mean++)
            LANES(p)
                system[i][j][p] = of_row[p] + above[p] * DOWN + *mean * PRIOR_PIXELS;
    solve_some(system);
    double total[WALK_LANES] = {0};
    for (int i = 0; i < K; i++)
        LANES(p) {
            double weight = system[i][K][p];
            weight = weight == weight ? weight * (1 << LOCAL_BITS) : 0;
            /* integers that large have no fractions: as `rint` */
            const double whole = 6755399441055744.0;
            weight = (clip(weight, -WEIGHT_LIMIT, WEIGHT_LIMIT) + whole) - whole;
            total[p] += weight * told[i * WALK_LANES + p];
        }
    LANES(p) {
        const double more = rounded_down(total[p] * (1.0 / (1 << LOCAL_BITS)) + 0.5) * unit;
        found[p] = clip(blended[p] + more, 0, PEAK * 8);
    }
}

STVC_INLINE void set_contexts(const pixel_walk *w, const walk_block *b, const surroundings *s,
                              double slopes[][WALK_LANES], const double *flagged)
{
    const double blur = (double)(8 * (2 * w->max_error + 1));
    const double *each = row_of(w, b, ROW_EACH);
    double(*to)[WALK_LANES] = (double(*)[WALK_LANES])row_of(w, b, ROW_CONTEXT);
    LANES(p) {
        const double nearest = s->near[0][p] + s->near[1][p] + s->near[2][p] + s->near[3][p];
        double next = 0, first = 0, second = 0, low = each[p], high = each[p];
        for (int k = 4; k < NEAR; k++)
            next += s->near[k][p];
        for (int k = 1; k < CROSS; k++) {
            first += s->across[k][p];
            second += s->across[CROSS + k][p];
        }
        for (int v = 1; v < WALK_PREDICTORS; v++) {
            const double one = each[v * WALK_LANES + p];
            low = one < low ? one : low;
            high = one > high ? one : high;
        }
        /* across[5] lies two bands back, its neighbors follow */
        to[0][p] = log16(blur + s->near[0][p]);
        to[1][p] = log16(blur + s->near[1][p]);
        to[2][p] = log16(blur + s->near[3][p]);
        to[3][p] = log16(4 * blur + nearest);
        to[4][p] = log16(6 * blur + next);
        to[5][p] = log16(blur + high - low);
        to[6][p] = log16(blur + s->across[0][p]);
        to[7][p] = log16(blur + s->across[CROSS][p]);
        to[8][p] = log16(4 * blur + first);
        to[9][p] = log16(4 * blur + second);
        to[10][p] = log16(blur + s->across[ACROSS - 1][p]);
        to[11][p] = flagged[p] * OCTAVE;
        to[12][p] = OCTAVE;
    }
    for (int64_t r = 0; r <= w->references; r++)
        LANES(p)
            to[13 + r][p] = log16(1 + slopes[r][p]);
    const double *weights = w->scale_weights + b->band * w->contexts;
    double sum[WALK_LANES], *scale = row_of(w, b, ROW_SCALE), *slope = row_of(w, b, ROW_SLOPE);
    weigh(weights, 1, w->contexts, *to, sum);
    LANES(p)
        scale[p] = rounded_down(sum[p] * (1.0 / (1 << SCALE_BITS)));
    LANES(p)
        slope[p] = rounded_down(slopes[0][p] * 5.625) + s->across[0][p];
}

STVC_CLONES
static void foresee_block(const pixel_walk *w, const walk_block *b, const surroundings *s,
                          const double *flagged)
{
    double slopes[1 + WALK_REFERENCES][WALK_LANES];
    set_features(w, b, slopes);
    predict(w, b);
    blend(w, b, s);
    if (w->local)
        correct(w, b, s);
    else
        memcpy(row_of(w, b, ROW_PREDICTION), row_of(w, b, ROW_BLEND),
               WALK_LANES * sizeof(double));
    set_contexts(w, b, s, slopes, flagged);
}

stvc_status walk_foresee(pixel_walk *w, int64_t step, const uint8_t *flagged, int64_t *prediction,
                         int64_t *scale, double *each, double *correction)
{
    if (step < 0 || step >= w->steps)
        return STVC_RANGE;
    const int64_t *bounds = w->band_starts + step * (w->bands + 1), n = walk_count(w, step);
    int64_t number = 0;
    for (int64_t band = 0; band < w->bands; band++)
        for (int64_t at = bounds[band]; at < bounds[band + 1]; at += WALK_LANES, number++) {
            const walk_block b = block_at(w, step, band, at, bounds[band + 1], number);
            surroundings s;
            double flags[WALK_LANES] = {0};
            for (int64_t p = 0; p < b.count; p++)
                flags[p] = flagged[at + p] ? 1 : 0;
            gather(w, &b, &s);
            foresee_block(w, &b, &s, flags);
            const double *found = row_of(w, &b, ROW_PREDICTION), *blended = row_of(w, &b, ROW_BLEND);
            const double *expected = row_of(w, &b, ROW_SCALE), *of = row_of(w, &b, ROW_EACH);
            for (int64_t p = 0; p < b.count; p++) {
                prediction[at + p] = (int64_t)found[p];
                scale[at + p] = (int64_t)expected[p];
                correction[at + p] = found[p] - blended[p];
            }
            for (int v = 0; v < WALK_PREDICTORS; v++)
                memcpy(each + v * n + at, of + v * WALK_LANES, (size_t)b.count * sizeof *each);
        }
    w->step = step;
    return STVC_OK;
}

stvc_status walk_fill(const pixel_walk *w, double *out)
{
    if (w->step < 0)
        return STVC_RANGE;
    const int64_t *bounds = w->band_starts + w->step * (w->bands + 1);
    int64_t number = 0;
    for (int64_t band = 0; band < w->bands; band++)
        for (int64_t at = bounds[band]; at < bounds[band + 1]; at += WALK_LANES, number++) {
            const walk_block b = block_at(w, w->step, band, at, bounds[band + 1], number);
            const double *mean = row_of(w, &b, ROW_MEAN);
            const int64_t first = w->references ? w->groups[2 * WALK_BACK] : 0;
            const double *center = b.rows + first * WALK_LANES;
            const double *north = center + 2 * WALK_LANES;
            for (int64_t p = 0; p < b.count; p++) {
                out[at + p] = mean[p];
                if (w->references)
                    out[at + p] = clip(mean[p] + (center[p] - floor(north[p] * 0.5)), 0, PEAK);
            }
        }
    return STVC_OK;
}
