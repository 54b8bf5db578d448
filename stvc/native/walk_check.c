/* What the walk of the predictive coder relies on: once, before the first step. */
#include "walk.h"

static int within(const int64_t *list, int64_t count, int64_t low, int64_t high)
{
    for (int64_t k = 0; k < count; k++)
        if (list[k] < low || list[k] > high)
            return 0;
    return 1;
}

/* Whether a list of `parts + 1` numbers goes from 0 up to `last`. */
static int ascends(const int64_t *list, int64_t parts, int64_t last)
{
    for (int64_t k = 0; k < parts; k++)
        if (list[k] > list[k + 1])
            return 0;
    return list[0] == 0 && list[parts] == last;
}

/* Pixels of a band that belong to one step: inside, and where blocks expect them. */
static int slanted(const pixel_walk *w, const int64_t *cells, int64_t count, int64_t band)
{
    if (!count)
        return 1;
    const int64_t first = cells[0] - (band + WALK_BACK) * w->plane;
    if (first < 0 || first >= w->plane)
        return 0;
    const int64_t y = first / w->row - WALK_MARGIN, x = first % w->row - WALK_MARGIN;
    if (y < 0 || x >= w->width || y + count > w->height || x - WALK_SLANT * (count - 1) < 0)
        return 0;
    for (int64_t k = 1; k < count; k++)
        if (cells[k] != cells[0] + k * (w->row - WALK_SLANT))
            return 0;
    return 1;
}

int walk_checked(const pixel_walk *w)
{
    if (!ascends(w->starts, w->steps, w->pixels) ||
        !ascends(w->margin_starts, w->steps, w->edges) ||
        !within(w->margin_to, w->edges, 0, w->size - 1) ||
        !within(w->margin_from, w->edges, 0, w->size - 1))
        return 0;
    for (int64_t step = 0; step < w->steps; step++) {
        const int64_t *bounds = w->band_starts + step * (w->bands + 1);
        int64_t blocks = 0;
        if (!ascends(bounds, w->bands, walk_count(w, step)))
            return 0;
        for (int64_t band = 0; band < w->bands; band++) {
            const int64_t count = bounds[band + 1] - bounds[band];
            blocks += (count + WALK_LANES - 1) / WALK_LANES;
            if (!slanted(w, w->cells + w->starts[step] + bounds[band], count, band))
                return 0;
        }
        if (blocks > w->blocks)
            return 0;
    }
    const int64_t corner = WALK_MARGIN * (w->row + 1);
    const int64_t lowest = WALK_BACK * w->plane + corner, highest = w->size - 1 - corner;
    if (w->features < WALK_CAUSAL || w->features > WALK_FEATURES || w->pairs < WALK_CAUSAL ||
        w->pairs > w->features || w->features - w->pairs > WALK_CENTERS ||
        !within(w->offsets, 2 * w->features - w->pairs, -lowest, w->all - 1 - highest))
        return 0;
    for (int64_t g = 0; g < WALK_BACK + w->references; g++) {
        const int64_t first = w->groups[2 * g], length = w->groups[2 * g + 1];
        if (first < WALK_CAUSAL || first > w->pairs || length < 3 || length > w->pairs - first)
            return 0;
    }
    return 1;
}
