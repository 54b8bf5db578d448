/* Where a step's pixels lean on traces: `Traces.at` of stvc/codec/predictive_traces.py.
 *
 * Cells are checked against the layout; a pixel that completes a coefficient has two rows above and
 * two columns left of it, and margins of three cells are around. */
#include "kernels.h"

enum { COLUMNS = 32, SUPPORT = 5, BANDS_BACK = 3 };

/* What the coefficients of the last of 5 x 5 pixels need of the others. */
static void constants_of(const double *last, int64_t row, int64_t *to, int64_t next)
{
    int64_t a[SUPPORT][SUPPORT], high[4], before[3];
    for (int y = 0; y < SUPPORT; y++)
        for (int x = 0; x < SUPPORT; x++)
            a[y][x] = (int64_t)last[(y + 1 - SUPPORT) * row + x + 1 - SUPPORT];
    for (int x = 0; x < 4; x++)
        high[x] = a[3][x] - ((a[2][x] + a[4][x]) >> 1);
    for (int x = 0; x < 3; x++)
        before[x] = a[1][2 + x] - ((a[0][2 + x] + a[2][2 + x]) >> 1);
    to[0] = a[3][4];
    to[next] = a[2][4];
    to[2 * next] = high[3];
    to[3 * next] = high[2];
    to[4 * next] = high[1] - ((high[0] + high[2]) >> 1);
    to[5 * next] = a[2][3] + ((before[1] + high[3] + 2) >> 2);
    to[6 * next] = a[2][2] + ((before[0] + high[2] + 2) >> 2);
    to[7 * next] = before[2];
}

stvc_status traces_find(const traces_step *s, int64_t *first, int64_t *rule, int64_t *closing,
                        int64_t *constants, uint8_t *usable, int64_t *group, int64_t *count)
{
    const int64_t row = s->width + 2 * s->margin, plane = row * (s->height + 2 * s->margin);
    const int64_t groups = (s->width - 1) / COLUMNS + 1, size = s->height * s->width;
    int64_t m = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t band = s->band[i], cell = s->cells[i] - (band + BANDS_BACK) * plane;
        if (band < 0 || band >= s->bands || cell < 0 || cell >= plane)
            return STVC_RANGE;
        const int64_t y = cell / row - s->margin, x = cell % row - s->margin;
        if (y < 0 || y >= s->height || x < 0 || x >= s->width)
            return STVC_RANGE;
        const int64_t phase = s->phase[band];
        first[i] = ((band * 2 + (y & 1)) * 2 + (x & 1)) * (TRACES_KNEES + 1);
        rule[i] = s->rules[band];
        if (phase >= 0 && (y & 1) == phase >> 1 && (x & 1) == (phase & 1) && y > 1 && x > 1 &&
            s->complete[y * s->width + x]) {
            closing[m] = i;
            group[m++] = band * groups + x / COLUMNS;
        }
    }
    for (int64_t k = 0; k < m; k++) {
        const int64_t cell = s->cells[closing[k]], inside = cell % plane;
        const int64_t at = (inside / row - s->margin) * s->width + inside % row - s->margin;
        for (int i = 0; i < TRACES_SUBBANDS; i++)
            usable[i * m + k] = s->complete[i * size + at];
        constants_of(s->values + cell, row, constants + k, m);
    }
    *count = m;
    return STVC_OK;
}
