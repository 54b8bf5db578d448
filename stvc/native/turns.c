/* Turns of components: stvc/codec/turns.py and, encoder only and in floating point in another
 * order than its twin, turn_choice.py. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = TRANSFORM_BLOCK, HALF = 1 << 13, BITS = 14, BANDS = TURN_BANDS };
enum { MOST = 15, FEW = 8, AT_ONCE = 8 };

static const int edges[BANDS + 1] = {0, 6, 21, 36, 64};
static const double BUSY = 0.5, WORTH = 9, EACH_SHARE = 0.25, ALL_SHARE = 0.5;
static const double KNEE = 0.3, SLOPE = 3, FADE = 0.1, CHANCE = 10, UNIT = 3.14159265358979323846 / 64;

STVC_CLONES
static void turn_whole(int32_t *x, int32_t *y, int64_t tokens, const int64_t *c, const int64_t *s)
{
    for (int64_t t = 0; t < tokens; t++, x += SIDE, y += SIDE)
        for (int k = 0; k < SIDE; k++) {
            const int64_t a = x[k], b = y[k];
            x[k] = (int32_t)((c[k] * a + s[k] * b + HALF) >> BITS);
            y[k] = (int32_t)((c[k] * b - s[k] * a + HALF) >> BITS);
        }
}

STVC_CLONES
static void turn_real(double *x, double *y, int64_t tokens, const double *c, const double *s)
{
    for (int64_t t = 0; t < tokens; t++, x += SIDE, y += SIDE)
        for (int k = 0; k < SIDE; k++) {
            const double a = x[k], b = y[k];
            x[k] = c[k] * a + s[k] * b;
            y[k] = c[k] * b - s[k] * a;
        }
}

static int64_t turned(int64_t components)
{
    return components < TURN_COMPONENTS ? components : TURN_COMPONENTS;
}

int64_t turn_pairs(int64_t components)
{
    const int64_t n = turned(components);
    return n * (n - 1) / 2;
}

void components_turn(const turn_batch *t, int32_t *whole, double *real)
{
    const int64_t n = turned(t->components), pairs = turn_pairs(t->components);
    const int64_t plane = t->tokens * SIDE;
    for (int64_t at = 0; at < pairs; at++) {
        const int64_t p = t->back ? pairs - 1 - at : at;
        int64_t k = 1, first = 0;
        while (k < n && p >= first + k)
            first += k++;
        const int64_t j = p - first, *c = t->cosine + p * SIDE;
        int64_t s[SIDE], some = 0;
        for (int i = 0; i < SIDE; i++) {
            s[i] = t->back ? -t->sine[p * SIDE + i] : t->sine[p * SIDE + i];
            some |= s[i];
        }
        if (!some)
            continue;
        if (whole) {
            turn_whole(whole + j * plane, whole + k * plane, t->tokens, c, s);
            continue;
        }
        double cosine[SIDE], sine[SIDE];
        for (int i = 0; i < SIDE; i++)
            cosine[i] = (double)c[i] / (1 << BITS), sine[i] = (double)s[i] / (1 << BITS);
        turn_real(real + j * plane, real + k * plane, t->tokens, cosine, sine);
    }
}

/* ---- the choice ---- */

typedef struct {
    const double *x, *y;
    int64_t n;
    double costs[2 * MOST + 1];
    int known[2 * MOST + 1];
} pair_costs;

static double larger(double a, double b)
{
    return a > b ? a : b;
}

STVC_CLONES
static double cost_under(const double *x, const double *y, int64_t n, double c, double s)
{
    double total = 0;
    for (int64_t i = 0; i < n; i += AT_ONCE) {
        double product = 1;
        const int64_t stop = i + AT_ONCE < n ? i + AT_ONCE : n;
        for (int64_t k = i; k < stop; k++) {
            const double a = fabs(c * x[k] + s * y[k]), b = fabs(c * y[k] - s * x[k]);
            product *= (1 + larger(a - KNEE, 0) * SLOPE) * (1 + larger(b - KNEE, 0) * SLOPE);
        }
        total += log2(product);
    }
    return total;
}

static double cost(pair_costs *p, int angle)
{
    const int at = angle + MOST;
    if (!p->known[at]) {
        p->costs[at] = cost_under(p->x, p->y, p->n, cos(UNIT * angle), sin(UNIT * angle));
        p->known[at] = 1;
    }
    return p->costs[at];
}

static int best(const double *x, const double *y, int64_t n, double weight, double *saved)
{
    *saved = 0;
    if (n < FEW)
        return 0;
    pair_costs p = {x, y, n, {0}, {0}};
    double across = 0, xx = 0, yy = 0;
    for (int64_t k = 0; k < n; k++) {
        const double trust = 1 / (1 + FADE * (x[k] * x[k] + y[k] * y[k]));
        across += x[k] * y[k] * trust;
        xx += x[k] * x[k] * trust;
        yy += y[k] * y[k] * trust;
    }
    if (across * across * (double)n * weight < CHANCE * xx * yy)
        return 0;
    const double exact = rint(0.5 * atan2(2 * across, xx - yy) / UNIT);
    int angle = exact > MOST ? MOST : exact < -MOST ? -MOST : (int)exact;
    for (int stride = 2; stride; stride--)
        for (;;) {
            const int lower = angle - stride < -MOST ? -MOST : angle - stride;
            const int upper = angle + stride > MOST ? MOST : angle + stride;
            int found = angle;
            if (cost(&p, lower) < cost(&p, found))
                found = lower;
            if (cost(&p, upper) < cost(&p, found))
                found = upper;
            if (found == angle)
                break;
            angle = found;
        }
    const double gain = cost(&p, 0) - cost(&p, angle);
    *saved = gain > 0 ? gain : 0;
    return gain > 0 ? angle : 0;
}

stvc_status turns_choose(double *part, int64_t components, int64_t tokens, double weight,
                         int64_t *turns)
{
    const int64_t plane = tokens * SIDE;
    double *x = malloc((size_t)(plane ? 2 * plane : 1) * sizeof *x), *y = x + plane;
    if (!x)
        return STVC_MEMORY;
    for (int64_t k = 1; k < turned(components); k++)
        for (int64_t j = 0; j < k; j++, turns += BANDS) {
            double *left = part + j * plane, *right = part + k * plane;
            int64_t n = 0, angles[BANDS];
            double gain = -2, saved;
            for (int b = 0; b < BANDS; b++) {
                const int64_t start = n;
                for (int64_t t = 0; t < plane; t += SIDE)
                    for (int i = edges[b]; i < edges[b + 1]; i++)
                        if (larger(fabs(left[t + i]), fabs(right[t + i])) > BUSY)
                            x[n] = left[t + i], y[n++] = right[t + i];
                angles[b] = best(x + start, y + start, n - start, weight, &saved);
                const double worth = EACH_SHARE * weight * saved - WORTH;
                angles[b] = worth > 0 ? angles[b] : 0;
                gain += larger(worth, 0);
            }
            const int angle = best(x, y, n, weight, &saved);
            const double for_all = ALL_SHARE * weight * saved - WORTH;
            if (for_all > gain) {
                gain = for_all;
                for (int b = 0; b < BANDS; b++)
                    angles[b] = angle;
            }
            memset(turns, 0, BANDS * sizeof *turns);
            if (gain <= 0)
                continue;
            double c[SIDE], s[SIDE];
            for (int b = 0; b < BANDS; b++) {
                turns[b] = angles[b];
                for (int i = edges[b]; i < edges[b + 1]; i++)
                    c[i] = cos(UNIT * (double)angles[b]), s[i] = sin(UNIT * (double)angles[b]);
            }
            turn_real(left, right, tokens, c, s);
        }
    free(x);
    return STVC_OK;
}
