/* One round of registration: `_equations` of stvc/codec/registration.py, encoder only.
 *
 * In floating point, in another order than the twin's: what comes of it is rounded to eighths of
 * a pixel. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REACH = 2, TAPS = 2 * REACH + 1 };

static int64_t reflected(int64_t k, int64_t n)
{
    k = k < 0 ? -k : k;
    return k >= n ? 2 * n - 2 - k : k;
}

STVC_CLONES
static void blur_row(const float *const *rows, const float *taps, int64_t n, float *out)
{
    for (int64_t x = 0; x < n; x++)
        out[x] = rows[0][x] * taps[0] + rows[1][x] * taps[1] + rows[2][x] * taps[2] +
                 rows[3][x] * taps[3] + rows[4][x] * taps[4];
}

/* A row with its ends reflected, blurred across. */
static void blur_across(const float *row, const float *taps, int64_t n, float *padded, float *out)
{
    const float *shifted[TAPS];
    for (int64_t x = -REACH; x < n + REACH; x++)
        padded[x + REACH] = row[reflected(x, n)];
    for (int k = 0; k < TAPS; k++)
        shifted[k] = padded + k;
    blur_row(shifted, taps, n, out);
}

stvc_status plane_blur(const float *plane, const float *taps, int64_t height, int64_t width,
                       float *out)
{
    if (height <= REACH || width <= REACH)
        return STVC_RANGE;
    float *memory = malloc((size_t)(height * width + width + 2 * REACH) * sizeof *memory);
    if (!memory)
        return STVC_MEMORY;
    float *padded = memory + height * width;
    for (int64_t y = 0; y < height; y++)
        blur_across(plane + y * width, taps, width, padded, memory + y * width);
    for (int64_t y = 0; y < height; y++) {
        const float *rows[TAPS];
        for (int k = 0; k < TAPS; k++)
            rows[k] = memory + reflected(y + k - REACH, height) * width;
        blur_row(rows, taps, width, out + y * width);
    }
    free(memory);
    return STVC_OK;
}

/* Brings what is below a pivot to the front, or what is not above it; tells how many that are. No
 * branch depends on a number. */
static int64_t split(double *x, int64_t n, double pivot, int equal_too)
{
    int64_t front = 0;
    for (int64_t k = 0; k < n; k++) {
        const double one = x[k];
        x[k] = x[front];
        x[front] = one;
        front += equal_too ? one <= pivot : one < pivot;
    }
    return front;
}

static double middle_of(double a, double b, double c)
{
    const double low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* The k-th smallest; those before it are no greater, those behind it no smaller. */
static double select_kth(double *x, int64_t n, int64_t k)
{
    double *from = x;
    int64_t left = n, wanted = k;
    while (left > 1) {
        const double pivot = middle_of(from[0], from[left / 2], from[left - 1]);
        const int64_t below = split(from, left, pivot, 0);
        if (wanted < below) {
            left = below;
            continue;
        }
        from += below, left -= below, wanted -= below;
        const int64_t equal = split(from, left, pivot, 1);
        if (wanted < equal)
            return pivot;
        from += equal, left -= equal, wanted -= equal;
    }
    return *from;
}

/* Overwrites the order. */
static double median(double *x, int64_t n)
{
    const double upper = select_kth(x, n, n / 2);
    if (n % 2)
        return upper;
    double lower = x[0];
    for (int64_t k = 1; k < n / 2; k++)
        lower = x[k] > lower ? x[k] : lower;
    return (lower + upper) / 2;
}

stvc_status registration_equations(const registration *r, double *out)
{
    const int64_t h = r->height, w = r->width;
    memset(out, 0, 5 * sizeof *out);
    int64_t n = 0;
    for (int64_t k = 0; k < h * w; k++)
        n += r->weight[k] != 0;
    if (!n)
        return STVC_OK;
    double *error = malloc((size_t)n * 4 * sizeof *error);
    if (!error)
        return STVC_MEMORY;
    double *gx = error + n, *gy = gx + n, *sorted = gy + n;
    int64_t at = 0;
    for (int64_t y = 0; y < h; y++) {
        const float *row = r->moved + y * w;
        const float *above = y ? row - w : row, *below = y + 1 < h ? row + w : row;
        for (int64_t x = 0; x < w; x++) {
            if (!r->weight[y * w + x])
                continue;
            const float left = row[x ? x - 1 : x], right = row[x + 1 < w ? x + 1 : x];
            gx[at] = right * 0.5f - left * 0.5f;
            gy[at] = below[x] * 0.5f - above[x] * 0.5f;
            error[at] = (double)r->target[y * w + x] - row[x];
            if (!isfinite(error[at])) {
                free(error);
                return STVC_RANGE;
            }
            at++;
        }
    }
    memcpy(sorted, error, (size_t)n * sizeof *error);
    const double middle = median(sorted, n);
    for (int64_t k = 0; k < n; k++) {
        error[k] -= middle;
        sorted[k] = fabs(error[k]);
    }
    const double scale = 1.5 * median(sorted, n) + 1;
    for (int64_t k = 0; k < n; k++) {
        const double ratio = error[k] / scale, robust = 1 / (1 + ratio * ratio);
        out[0] += robust * gy[k] * gy[k];
        out[1] += robust * gy[k] * gx[k];
        out[2] += robust * gx[k] * gx[k];
        out[3] += robust * gy[k] * error[k];
        out[4] += robust * gx[k] * error[k];
    }
    free(error);
    return STVC_OK;
}
