/* Traces of earlier processing in values: stvc/codec/predictive_traces.py.
 *
 * Right shifts of negative numbers round down, as everywhere here. */
#include "kernels.h"

enum { ONE = 256, DOUBT = 150, SCALE = 1024, MOST_WEIGHT = 4095, SEEN = 16, MOST_LIKELY = 2047 };
enum { EDGE_BITS = 24, SHARE_BITS = 12 };
enum { VALUES_LIMIT = ONE << 12, COEFFICIENTS_LIMIT = SEEN * 40, FARTHEST = 1 << 22 };

/* Of sums of masses, so that their products stay within 63 bits whatever callers hand over. */
static const int64_t MOST_MADE = (int64_t)1 << 40;

static const int64_t knees[TRACES_KNEES] = {1024, 4096, 16384};
/* `RULES` of trace_rules.py: what was subtracted from values, and which masses tell how half
 * precision makes them. */
static const struct {
    int64_t shift;
    int half;
} rules[TRACES_RULES] = {{0, -1}, {1000, -1}, {0, 0}, {1000, 1}, {0, 1}};
static const int64_t prior[TRACES_CLASSES] = {8, 4, 2, 2};

static void made_of(const traces_batch *t, int64_t k, int64_t value, int64_t *made)
{
    int64_t c[TRACES_CONSTANTS];
    for (int i = 0; i < TRACES_CONSTANTS; i++)
        c[i] = t->constants[i * t->closing + k];
    const int64_t high = c[0] - ((c[1] + value) >> 1);
    made[0] = c[2] - ((c[3] + high) >> 1);
    made[1] = c[3] + ((c[4] + made[0] + 2) >> 2);
    made[2] = c[5] - ((c[6] + c[1] + ((c[7] + high + 2) >> 2)) >> 1);
}

static int class_of(int64_t coefficient)
{
    return coefficient & 1 ? 0 : coefficient & 2 ? 1 : coefficient & 4 ? 2 : 3;
}

static int within(int64_t value, int64_t low, int64_t high)
{
    return low <= value && value <= high;
}

int traces_checked(const traces_batch *t)
{
    const int64_t most = (int64_t)1 << 40;
    for (int64_t i = 0; i < t->n; i++)
        if (!within(t->whole[i], -FARTHEST, FARTHEST) ||
            !within(t->rule[i], -1, TRACES_RULES - 1) ||
            !within(t->first[i], 0, t->contexts - TRACES_KNEES - 1))
            return 0;
    for (int64_t k = 0; k < t->closing; k++)
        if (!within(t->pixel[k], 0, t->n - 1) || !within(t->group[k], 0, t->groups - 1))
            return 0;
    for (int64_t k = 0; k < TRACES_CONSTANTS * t->closing; k++)
        if (!within(t->constants[k], -FARTHEST, FARTHEST))
            return 0;
    for (int64_t k = 0; k < t->contexts * TRACES_NODES * 4; k++)
        if (!within(t->values[k], 0, most))
            return 0;
    for (int64_t k = 0; k < t->groups * TRACES_SUBBANDS * TRACES_CLASSES; k++)
        if (!within(t->coefficients[k], 0, most))
            return 0;
    return 1;
}

void traces_weights(const traces_batch *t, int64_t k, int64_t level, int64_t count, int64_t *out)
{
    int64_t likely[TRACES_SUBBANDS][TRACES_CLASSES + 1];
    for (int s = 0; s < TRACES_SUBBANDS; s++) {
        const int64_t *counts =
            t->coefficients + (t->group[k] * TRACES_SUBBANDS + s) * TRACES_CLASSES;
        int64_t total = SEEN, most = 0;
        for (int i = 0; i < TRACES_CLASSES; i++)
            total += counts[i];
        for (int i = 0; i < TRACES_CLASSES; i++) {
            int64_t weight = ONE * (counts[i] + prior[i]) * SEEN / (total * prior[i]);
            weight = weight < 1 ? 1 : weight > MOST_LIKELY ? MOST_LIKELY : weight;
            likely[s][i] = weight;
            most = weight > most ? weight : most;
        }
        likely[s][TRACES_CLASSES] = most;
        if (!t->usable[s * t->closing + k])
            for (int i = 0; i <= TRACES_CLASSES; i++)
                likely[s][i] = ONE;
    }
    const int64_t first = t->whole[t->pixel[k]] + level;
    for (int64_t j = 0; j < count; j++) {
        int64_t made[TRACES_SUBBANDS], product = 0;
        made_of(t, k, first + j, made);
        for (int s = 0; s < TRACES_SUBBANDS; s++) {
            const int64_t weight = likely[s][made[s] ? class_of(made[s]) : TRACES_CLASSES];
            product = s ? product * weight >> 8 : weight;
        }
        out[j] = product < 1 ? 1 : product;
    }
}

static int64_t weight_of(int64_t came, int64_t expected)
{
    const int64_t weight = (came + DOUBT) * SCALE / (expected + DOUBT);
    return weight < 1 ? 1 : weight > MOST_WEIGHT ? MOST_WEIGHT : weight;
}

static uint32_t leaned(uint32_t edge, int64_t zero, int64_t one)
{
    const int64_t share = edge * zero, other = (((int64_t)1 << EDGE_BITS) - edge) * one;
    return (uint32_t)((share << EDGE_BITS) / (share + other));
}

/* Lean on counts of a decision. */
static uint32_t counted(const traces_batch *t, int64_t context, int64_t node, int turned,
                        uint32_t edge, traces_note *note)
{
    note->counts = (context * TRACES_NODES + node) * 4;
    note->turned = turned;
    note->edge = turned ? ((uint32_t)1 << EDGE_BITS) - edge : edge;
    const int64_t *counts = t->values + note->counts;
    const int64_t first = weight_of(counts[0], counts[2]);
    const int64_t second = weight_of(counts[1], counts[3]);
    return leaned(edge, turned ? second : first, turned ? first : second);
}

/* How much reflectance makes values below one. */
static int64_t made_below(const int64_t *masses, int64_t value)
{
    const int64_t sum = masses[value < 0 ? 0 : value > TRACES_SPAN ? TRACES_SPAN : value];
    return sum < 0 ? 0 : sum > MOST_MADE ? MOST_MADE : sum;
}

static uint32_t lean_on_made(const traces_batch *t, int64_t pixel, int64_t low, int64_t size,
                             uint32_t edge, traces_note *note)
{
    const int64_t *masses = t->masses + rules[t->rule[pixel]].half * (TRACES_SPAN + 1);
    const int64_t first = t->whole[pixel] + low + rules[t->rule[pixel]].shift;
    const int64_t middle = made_below(masses, first + size / 2);
    const int64_t lower = middle - made_below(masses, first);
    const int64_t upper = made_below(masses, first + size) - middle;
    if (lower <= 0 && upper <= 0)
        return edge;
    if (lower > 0 && upper > 0) {
        const int64_t all = (int64_t)1 << SHARE_BITS;
        int64_t share = (lower << SHARE_BITS) / (lower + upper);
        share = share < 1 ? 1 : share > MOST_WEIGHT ? MOST_WEIGHT : share;
        return leaned(edge, share, all - share);
    }
    int depth = 0;
    while (size >> depth > 2)
        depth++;
    return counted(t, t->first[pixel] + depth / TRACES_NODES, depth % TRACES_NODES, upper > 0, edge,
                   note);
}

uint32_t traces_lean(const traces_batch *t, int64_t pixel, int64_t low, int64_t size,
                     uint32_t edge, traces_note *note)
{
    const int64_t rule = t->rule[pixel];
    note->counts = -1;
    if (rules[rule].half >= 0)
        return size <= TRACES_TABLE ? lean_on_made(t, pixel, low, size, edge, note) : edge;
    if (size > 4)
        return edge;
    const int64_t value = t->whole[pixel] + low;
    const int64_t shifted = (value & ~(int64_t)3) + rules[rule].shift;
    int64_t context = t->first[pixel];
    for (int k = 0; k < TRACES_KNEES; k++)
        context += shifted >= knees[k];
    return counted(t, context, size == 4 ? 0 : 1 + ((value >> 1) & 1), 0, edge, note);
}

static void halve(int64_t *counts, int64_t rows, int width, int from, int64_t limit)
{
    for (int64_t k = 0; k < rows; k++, counts += width) {
        int64_t sum = 0;
        for (int i = from; i < width; i++)
            sum += counts[i];
        for (int i = 0; sum > limit && i < width; i++)
            counts[i] >>= 1;
    }
}

void traces_learn(const traces_batch *t, const traces_note *notes, int64_t noted,
                  const int64_t *levels)
{
    for (int64_t k = 0; k < noted; k++) {
        int64_t *counts = t->values + notes[k].counts;
        const int64_t expected = notes[k].edge >> 16;
        counts[notes[k].up ^ notes[k].turned] += ONE;
        counts[2] += expected;
        counts[3] += ONE - expected;
    }
    halve(t->values, t->contexts * TRACES_NODES, 4, 2, VALUES_LIMIT);
    for (int64_t k = 0; k < t->closing; k++) {
        int64_t made[TRACES_SUBBANDS];
        const int64_t pixel = t->pixel[k];
        made_of(t, k, t->whole[pixel] + levels[pixel], made);
        for (int s = 0; s < TRACES_SUBBANDS; s++)
            if (t->usable[s * t->closing + k] && made[s])
                t->coefficients[(t->group[k] * TRACES_SUBBANDS + s) * TRACES_CLASSES +
                                class_of(made[s])] += SEEN;
    }
    halve(t->coefficients, t->groups * TRACES_SUBBANDS, TRACES_CLASSES, 0, COEFFICIENTS_LIMIT);
}
