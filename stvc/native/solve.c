/* Normal equations of the predictive coder: `solve_nested` of stvc/codec/predictive_learning.py and
 * `_solve` of predictive_local.py.
 *
 * Each element goes through the same single operations in the same order as there: this file is
 * compiled without fused ones. Halves above the diagonal are enough, matrices are symmetric. */
#include "solve_lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double WEIGHT_LIMIT = 1 << 18, LEAST_SPREAD = 1e-6;

#define SUBTRACT                                                                                   \
    for (int64_t l = 0; l < n; l++)                                                                \
        to[l] -= factor * row[l];

static void subtract_plain(double *restrict to, const double *restrict row, double factor,
                           int64_t n)
{
    SUBTRACT
}

typedef void subtract(double *restrict, const double *restrict, double, int64_t);

#if STVC_DOTS
__attribute__((target("avx2"))) static void subtract_avx2(double *restrict to,
                                                          const double *restrict row,
                                                          double factor, int64_t n)
{
    SUBTRACT
}
#endif

static subtract *chosen(void)
{
#if STVC_DOTS
    if (__builtin_cpu_supports("avx2"))
        return subtract_avx2;
#endif
    return subtract_plain;
}

static void solve_one(const nested_system *s, const double *gram, const double *moment, double *a,
                      double *spread, double *z, double *out, subtract *less)
{
    const int64_t k = s->variables;
    for (int64_t i = 0; i < k; i++)
        spread[i] = sqrt(larger(gram[i * k + i], LEAST_SPREAD));
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = i; j < k; j++)
            a[i * k + j] = gram[i * k + j] / spread[i] / spread[j];
        a[i * k + i] += s->ridge;
        z[i] = moment[i] / spread[i];
    }
    double *scaled = spread + k;
    for (int64_t i = 0; i < k; i++) {
        double *row = a + i * k;
        const double pivot = larger(row[i], s->ridge);
        for (int64_t l = i + 1; l < k; l++)
            scaled[l] = row[l] / pivot;
        for (int64_t j = i + 1; j < k; j++)
            less(a + j * k + j, scaled + j, row[j], k - j);
        less(z + i + 1, scaled + i + 1, z[i], k - i - 1);
        memcpy(row + i + 1, scaled + i + 1, (size_t)(k - i - 1) * sizeof *row);
        z[i] /= pivot;
    }
    for (int64_t v = 0; v < s->count; v++) {
        double *w = out + v * k;
        for (int64_t j = 0; j < k; j++)
            w[j] = j < s->sizes[v] ? z[j] : 0;
        for (int64_t j = k - 2; j >= 0; j--) {
            double sum = w[j];
            for (int64_t i = k - 1; i > j; i--)
                sum -= a[j * k + i] * w[i];
            w[j] = sum;
        }
        for (int64_t j = 0; j < k; j++) {
            const double weight = w[j] / spread[j] * s->unit;
            w[j] = isnan(weight)            ? 0
                   : weight > WEIGHT_LIMIT  ? WEIGHT_LIMIT
                   : weight < -WEIGHT_LIMIT ? -WEIGHT_LIMIT
                                            : rint(weight);
        }
    }
}

stvc_status nested_solve(const nested_system *s, const double *gram, const double *moment,
                         double *out)
{
    const int64_t k = s->variables;
    double *room = malloc((size_t)(k * k + 3 * k) * sizeof *room);
    if (!room)
        return STVC_MEMORY;
    subtract *less = chosen();
    for (int64_t b = 0; b < s->systems; b++)
        solve_one(s, gram + b * k * k, moment + b * k, room, room + k * k, room + k * k + 2 * k,
                  out + b * s->count * k, less);
    free(room);
    return STVC_OK;
}

enum { K = LOCAL_VARIABLES };

#define SOLVE_ALL                                                                                  \
    double s[K][K + 1][SIDE_BY_SIDE];                                                              \
    for (int64_t at = 0; at < n; at += SIDE_BY_SIDE) {                                             \
        const size_t count = n - at < SIDE_BY_SIDE ? n - at : SIDE_BY_SIDE;                        \
        if (count < SIDE_BY_SIDE)                                                                  \
            memset(s, 0, sizeof s);                                                                \
        for (int i = 0; i < K; i++)                                                                \
            for (int j = i; j <= K; j++)                                                           \
                memcpy(s[i][j], systems + (i * (K + 1) + j) * n + at, count * sizeof(double));     \
        solve_some(s);                                                                             \
        for (int i = 0; i < K; i++)                                                                \
            memcpy(out + i * n + at, s[i][K], count * sizeof(double));                             \
    }

static void solve_plain(const double *systems, int64_t n, double *out)
{
    SOLVE_ALL
}

#if STVC_DOTS
__attribute__((target("avx2"))) static void solve_avx2(const double *systems, int64_t n,
                                                       double *out)
{
    SOLVE_ALL
}
#endif

void local_solve(const double *systems, int64_t n, double *out)
{
#if STVC_DOTS
    if (__builtin_cpu_supports("avx2")) {
        solve_avx2(systems, n, out);
        return;
    }
#endif
    solve_plain(systems, n, out);
}
