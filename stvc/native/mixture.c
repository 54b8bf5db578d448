/* Levels under mixtures of distributions, decision by decision: stvc/codec/predictive_mixture.py.
 *
 * All pixels of a step take their first decision, then all their second; a pixel whose interval
 * holds one level is done. With traces (traces.c), pixels that complete coefficients take their
 * last decisions from tables, and decisions about the lowest bits lean on counts or on how
 * values are made. All sums and products stay below 2**63 (see the checks). */
#include "kernels.h"

#include <stdlib.h>

enum {
    PARTS = MIXTURE_PARTS,
    COPIES = MIXTURE_COPIES,
    GRAIN_BITS = 6,
    WEIGHT_BITS = 16,
    MASS_BITS = 22,
    STEP_BITS = 4,
    REACH = 16,
    POINT_BITS = 16,
    POINT_SHIFT = 20,
    REST_BITS = POINT_BITS - STEP_BITS,
    FLOOR_BITS = 12,
    EDGE_BITS = 24,
    SMALLEST_EDGE = 1 << 8,
    TABLE_BITS = 20,
    LEAST_WIDTH = 2,
    LEAST_TRACED = 4,
    MOST_WIDTH = 17,
    ESCAPE_BITS = 18,
    ESCAPE_LOW = 12
};

/* Of one pixel: its interval, and the masses below its ends. */
typedef struct {
    int64_t low, high, below, above, pixel;
    const int64_t *table; /* sums from the level `base` on, or NULL */
    int64_t base;
} open_pixel;

/* What decisions about traces need. */
typedef struct {
    const traces_batch *t;
    int64_t *slots;  /* (n,) of pixels that complete coefficients, else -1 */
    int64_t *tables; /* (closing, TRACES_TABLE + 1) */
    traces_note *notes;
    int64_t noted;
} trace_work;

static int64_t mass(const mixture_batch *m, int64_t pixel, int64_t level)
{
    const int64_t n = m->n, edge = level * (1 << GRAIN_BITS) - (1 << (GRAIN_BITS - 1));
    const int64_t limit = ((int64_t)REACH << POINT_BITS) - 1;
    int64_t total = 0;
    for (int k = 0; k < PARTS; k++) {
        const int64_t at = k * n + pixel;
        if (!m->weight[at])
            continue;
        int64_t point = ((edge - m->location[at]) * m->inverse[at]) >> POINT_SHIFT;
        point = point < -limit ? -limit : point > limit ? limit : point;
        point += (int64_t)REACH << POINT_BITS;
        const int64_t *curve = m->curve + (point >> REST_BITS);
        const int64_t rest = point & ((1 << REST_BITS) - 1);
        total += (curve[0] + ((curve[1] - curve[0]) * rest >> REST_BITS)) * m->weight[at];
    }
    for (int k = 0; k < COPIES; k++)
        if (m->copies[k * n + pixel] < level)
            total += m->weight[(PARTS + k) * n + pixel] << MASS_BITS;
    const int64_t width = m->width[pixel];
    const int64_t floor = WEIGHT_BITS + MASS_BITS - FLOOR_BITS - 1 - width;
    return total + (level + ((int64_t)1 << width)) * ((int64_t)1 << floor);
}

static uint32_t clipped(int64_t edge)
{
    const int64_t most = (1 << EDGE_BITS) - SMALLEST_EDGE;
    return (uint32_t)(edge < SMALLEST_EDGE ? SMALLEST_EDGE : edge > most ? most : edge);
}

static uint32_t edge_of(int64_t part, int64_t whole)
{
    return clipped((part << EDGE_BITS) / whole);
}

/* Makes the table of an interval that has become as small as one. */
static void enter(const mixture_batch *m, const trace_work *w, open_pixel *p)
{
    const int64_t slot = w->slots[p->pixel], size = p->high - p->low;
    if (slot < 0 || p->table || size > TRACES_TABLE)
        return;
    int64_t *sums = w->tables + slot * (TRACES_TABLE + 1);
    int64_t weights[TRACES_TABLE], whole = p->above - p->below, last = p->below;
    int down = 0;
    while (whole >> down >= (int64_t)1 << TABLE_BITS)
        down++;
    traces_weights(w->t, slot, p->low, size, weights);
    sums[0] = 0;
    for (int64_t k = 0; k < size; k++) {
        const int64_t next = mass(m, p->pixel, p->low + k + 1);
        int64_t part = (next - last) >> down;
        part = part < 1 ? 1 : part;
        sums[k + 1] = sums[k] + part * weights[k];
        last = next;
    }
    p->table = sums, p->base = p->low;
    p->below = 0, p->above = sums[size];
}

static void free_work(trace_work *w)
{
    free(w->slots);
    free(w->tables);
    free(w->notes);
}

static stvc_status start_work(trace_work *w, int64_t n)
{
    const int64_t closing = w->t->closing;
    w->slots = malloc((size_t)(n ? n : 1) * sizeof *w->slots);
    w->tables = malloc((size_t)(closing ? closing : 1) * (TRACES_TABLE + 1) * sizeof *w->tables);
    w->notes = malloc((size_t)(n ? n : 1) * TRACES_NOTES * sizeof *w->notes);
    if (!w->slots || !w->tables || !w->notes)
        return STVC_MEMORY;
    for (int64_t i = 0; i < n; i++)
        w->slots[i] = -1;
    for (int64_t k = 0; k < closing; k++)
        w->slots[w->t->pixel[k]] = k;
    return STVC_OK;
}

static int checked(const mixture_batch *m, const traces_batch *t)
{
    const int64_t n = m->n, farthest = (int64_t)1 << 24, one = (int64_t)1 << WEIGHT_BITS;
    for (int64_t i = 0; i < n; i++) {
        int64_t sum = 0;
        for (int k = 0; k < PARTS + COPIES; k++) {
            const int64_t weight = m->weight[k * n + i];
            if (weight < 0 || weight > one)
                return 0;
            sum += weight;
        }
        const int64_t width = m->width[i];
        if (sum > one || width < (t ? LEAST_TRACED : LEAST_WIDTH) || width > MOST_WIDTH)
            return 0;
        for (int k = 0; k < PARTS; k++) {
            const int64_t at = k * n + i, where = m->location[at], inverse = m->inverse[at];
            /* the farthest edge times the inverse, without leaving 63 bits */
            if (where < -farthest || where > farthest || inverse < 0)
                return 0;
            const int64_t reach = ((int64_t)1 << (width + GRAIN_BITS)) + (where < 0 ? -where : where) + 32;
            if (inverse > INT64_MAX / reach)
                return 0;
        }
    }
    return !t || traces_checked(t);
}

/* One of the coders is NULL. */
static stvc_status decide(const mixture_batch *m, const traces_batch *t, range_decoder *d,
                          range_encoder *e, int64_t *levels)
{
    if (!checked(m, t))
        return STVC_RANGE;
    stvc_status status = STVC_OK;
    trace_work work = {t, NULL, NULL, NULL, 0};
    const int64_t n = m->n;
    open_pixel *open = malloc((size_t)(n ? n : 1) * sizeof *open);
    int64_t *escaped = malloc((size_t)(n ? n : 1) * sizeof *escaped);
    if (!open || !escaped) {
        status = STVC_MEMORY;
        goto done;
    }
    if (t && (status = start_work(&work, n)))
        goto done;
    const int64_t all = (int64_t)1 << (WEIGHT_BITS + MASS_BITS);
    const int64_t everything = all + (all >> FLOOR_BITS);
    int64_t left = 0, outside = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t half = (int64_t)1 << m->width[i], low = -half - (t ? t->whole[i] & 3 : 0);
        const int64_t high = low + 2 * half;
        const int64_t below = mass(m, i, low), above = mass(m, i, high);
        const uint32_t edge = edge_of(everything - (above - below), everything);
        int inside = e && levels[i] >= low && levels[i] < high;
        status = e ? range_encode_flag(e, edge, inside) : range_decode_flag(d, edge, &inside);
        if (status)
            goto done;
        if (inside)
            open[left++] = (open_pixel){low, high, below, above, i, NULL, 0};
        else
            escaped[outside++] = i;
    }
    while (left) {
        int64_t kept = 0;
        for (int64_t k = 0; k < left; k++) {
            open_pixel p = open[k];
            if (t)
                enter(m, &work, &p);
            const int64_t middle = (p.low + p.high) >> 1, size = p.high - p.low;
            const int64_t here = p.table ? p.table[middle - p.base] : mass(m, p.pixel, middle);
            uint32_t edge = edge_of(here - p.below, p.above - p.below);
            traces_note *note = NULL;
            if (t && t->rule[p.pixel] >= 0) {
                note = &work.notes[work.noted];
                edge = clipped(traces_lean(t, p.pixel, p.low, size, edge, note));
                work.noted += note->counts >= 0;
            }
            int up = e && levels[p.pixel] >= middle;
            status = e ? range_encode_flag(e, edge, up) : range_decode_flag(d, edge, &up);
            if (status)
                goto done;
            if (note)
                note->up = up;
            if (up)
                p.low = middle, p.below = here;
            else
                p.high = middle, p.above = here;
            if (p.high - p.low > 1)
                open[kept++] = p;
            else if (d)
                levels[p.pixel] = p.low;
        }
        left = kept;
    }
    const int64_t zero = (int64_t)1 << (ESCAPE_BITS - 1);
    for (int part = 0; part < 2; part++) {
        const int shift = part ? ESCAPE_LOW : 0;
        const uint32_t size = 1u << (part ? ESCAPE_BITS - ESCAPE_LOW : ESCAPE_LOW);
        for (int64_t k = 0; k < outside && !status; k++) {
            int64_t *level = levels + escaped[k];
            if (e) {
                const int64_t value = *level + zero;
                status = value < 0 || value >= 2 * zero
                             ? STVC_RANGE
                             : range_encode_uniform(e, size, (uint32_t)(value >> shift) & (size - 1));
                continue;
            }
            uint32_t value = 0;
            status = range_decode_uniform(d, size, &value);
            *level = part ? *level + ((int64_t)value << shift) : (int64_t)value - zero;
        }
    }
    if (t && !status)
        traces_learn(t, work.notes, work.noted, levels);
done:
    free_work(&work);
    free(open);
    free(escaped);
    return status;
}

stvc_status mixture_masses(const mixture_batch *m, const int64_t *levels, int64_t *out,
                           uint8_t *outside)
{
    if (!checked(m, NULL))
        return STVC_RANGE;
    for (int64_t i = 0; i < m->n; i++) {
        const int64_t half = (int64_t)1 << m->width[i], high = half - 1;
        int64_t level = levels[i];
        level = level < -half ? -half : level > high ? high : level;
        out[i] = mass(m, i, level + 1) - mass(m, i, level);
        outside[i] = level != levels[i];
    }
    return STVC_OK;
}

stvc_status mixture_encode(range_encoder *e, const mixture_batch *m, const traces_batch *t,
                           const int64_t *levels)
{
    return decide(m, t, NULL, e, (int64_t *)levels);
}

stvc_status mixture_decode(range_decoder *d, const mixture_batch *m, const traces_batch *t,
                           int64_t *levels)
{
    return decide(m, t, d, NULL, levels);
}
