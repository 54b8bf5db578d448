/* Functions of the extension module that work on whole units; see module.c. */
#include "module.h"

#include <string.h>

enum { SIDE = 8, MOST = 1 << 18 /* of each size: three of them, times 64, make 2**60 */ };

static int sized(long long x)
{
    return x >= 0 && x <= MOST;
}

/* ---- the block transform ---- */

enum { FORWARD, INVERSE, ORDER, TRANSFORM_VIEWS };

static int open_transform(Py_buffer *v, block_transform *t)
{
    enum { PARTS = 16 * TRANSFORM_BLOCK };
    if (!stvc_holds(&v[FORWARD], 8, PARTS, "forward") ||
        !stvc_holds(&v[INVERSE], 8, PARTS, "inverse") ||
        !stvc_holds(&v[ORDER], 1, TRANSFORM_BLOCK, "order"))
        return 0;
    *t = (block_transform){v[FORWARD].buf, v[INVERSE].buf, v[ORDER].buf};
    for (int k = 0; k < TRANSFORM_BLOCK; k++)
        if (t->order[k] >= TRANSFORM_BLOCK) {
            stvc_raise(STVC_RANGE);
            return 0;
        }
    return 1;
}

static PyObject *forward_unit(PyObject *self, PyObject *args)
{
    (void)self;
    enum { MATRIX = TRANSFORM_VIEWS, PLANES, MIXED, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long bands, height, width;
    if (!PyArg_ParseTuple(args, "(y*y*y*)y*(LLL)y*z*w*:forward_unit", &v[FORWARD], &v[INVERSE],
                          &v[ORDER], &v[MATRIX], &bands, &height, &width, &v[PLANES], &v[MIXED],
                          &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    block_transform t;
    if (bands < 1 || bands > TRANSFORM_BANDS || height < SIDE || height > MOST || height % SIDE ||
        width < SIDE || width > MOST || width % SIDE || (v[MIXED].obj && v[MIXED].readonly)) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = bands * height * width;
    const int wide = v[PLANES].len == v[OUT].len;
    if (!open_transform(v, &t) || !stvc_holds(&v[MATRIX], 8, bands * bands, "matrix") ||
        !stvc_holds(&v[OUT], 4, size, "out") || !stvc_holds(&v[PLANES], wide ? 4 : 2, size, "planes") ||
        (v[MIXED].obj && !stvc_holds(&v[MIXED], 4, size, "mixed")))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = unit_forward(&t, v[MATRIX].buf, bands, height, width, v[PLANES].buf, wide,
                          v[MIXED].buf, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static int steps_fit(const Py_buffer *steps)
{
    const int64_t *step = steps->buf;
    for (int64_t k = 0; k < steps->len / 8; k++)
        if (step[k] < 1 || step[k] > LEVEL_STEP)
            return 0;
    return 1;
}

static PyObject *quantize_unit(PyObject *self, PyObject *args)
{
    (void)self;
    enum { MIXED = TRANSFORM_VIEWS, TARGET, PREDICTED, HIDDEN, SKIPPED, STEPS, COSINE,
           SINE, RESIDUAL, OUT, INWARD, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, down, across, most;
    unit_levels u = {0};
    if (!PyArg_ParseTuple(args, "(y*y*y*)(LLL)y*y*y*y*y*y*pdLy*y*w*w*w*:quantize_unit",
                          &v[FORWARD], &v[INVERSE], &v[ORDER], &components, &down, &across,
                          &v[MIXED], &v[TARGET], &v[PREDICTED], &v[HIDDEN], &v[SKIPPED], &v[STEPS],
                          &u.fill, &u.dead_zone, &most, &v[COSINE], &v[SINE], &v[RESIDUAL],
                          &v[OUT], &v[INWARD]))
        return NULL;
    PyObject *result = NULL;
    block_transform t;
    if (!sized(components) || !sized(down) || across < 1 || !sized(across) || most < 1 ||
        most > INT32_MAX / 2 || !(u.dead_zone >= 0 && u.dead_zone <= 1)) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t tokens = down * across, size = components * tokens * TRANSFORM_BLOCK;
    const int64_t turned = v[COSINE].len ? TRANSFORM_BLOCK * turn_pairs(components) : 0;
    if (!open_transform(v, &t) || !stvc_holds(&v[MIXED], 4, size, "mixed") ||
        !stvc_holds(&v[TARGET], 4, size, "target") ||
        !stvc_holds(&v[PREDICTED], 4, size, "predicted") ||
        !stvc_holds(&v[HIDDEN], 1, tokens * TRANSFORM_BLOCK, "hidden") ||
        !stvc_holds(&v[SKIPPED], 1, tokens, "skipped") ||
        !stvc_holds(&v[STEPS], 8, tokens, "steps") ||
        !stvc_holds(&v[COSINE], 8, turned, "cosines") ||
        !stvc_holds(&v[SINE], 8, turned, "sines") ||
        !stvc_holds(&v[RESIDUAL], 8, size, "residual") || !stvc_holds(&v[OUT], 4, size, "out") ||
        !stvc_holds(&v[INWARD], 8, 4, "inward"))
        goto done;
    if (!steps_fit(&v[STEPS])) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    u.components = components, u.down = down, u.across = across, u.most = (int32_t)most;
    u.mixed = v[MIXED].buf, u.target = v[TARGET].buf, u.predicted = v[PREDICTED].buf;
    u.hidden = v[HIDDEN].buf, u.skipped = v[SKIPPED].buf, u.steps = v[STEPS].buf;
    u.cosine = turned ? v[COSINE].buf : NULL, u.sine = v[SINE].buf;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = unit_quantize(&t, &u, v[RESIDUAL].buf, v[OUT].buf, v[INWARD].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *requantize(PyObject *self, PyObject *args)
{
    (void)self;
    enum { RESIDUAL, STEPS, OUT, INWARD, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, most;
    double dead_zone;
    if (!PyArg_ParseTuple(args, "(LdL)y*y*w*w*:requantize", &components, &dead_zone, &most,
                          &v[RESIDUAL], &v[STEPS], &v[OUT], &v[INWARD]))
        return NULL;
    PyObject *result = NULL;
    const int64_t tokens = v[STEPS].len / 8;
    if (!sized(components) || !sized(tokens) || most < 1 || most > INT32_MAX / 2 ||
        !(dead_zone >= 0 && dead_zone <= 1) || !steps_fit(&v[STEPS])) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = components * tokens * TRANSFORM_BLOCK;
    if (stvc_holds(&v[STEPS], 8, tokens, "steps") &&
        stvc_holds(&v[RESIDUAL], 8, size, "residual") && stvc_holds(&v[OUT], 4, size, "out") &&
        stvc_holds(&v[INWARD], 8, 4, "inward")) {
        Py_BEGIN_ALLOW_THREADS
        levels_requantize(v[RESIDUAL].buf, v[STEPS].buf, components, tokens, dead_zone,
                          (int32_t)most, v[OUT].buf, v[INWARD].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *decode_unit(PyObject *self, PyObject *args)
{
    (void)self;
    enum { MATRIX = TRANSFORM_VIEWS, PREDICTED, SYMBOLS, STEPS, COSINE, SINE, CONCEALED, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, down, across, first, others;
    unit_pixels u = {0};
    if (!PyArg_ParseTuple(args, "(y*y*y*)y*(LLL)y*y*y*(LL)y*y*y*pw*:decode_unit",
                          &v[FORWARD], &v[INVERSE], &v[ORDER], &v[MATRIX], &components, &down,
                          &across, &v[PREDICTED], &v[SYMBOLS], &v[STEPS], &first, &others,
                          &v[COSINE], &v[SINE], &v[CONCEALED], &u.show, &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    block_transform t;
    if (components < 1 || components > TRANSFORM_BANDS || !sized(down) || across < 1 ||
        !sized(across) || first < -LEVEL_UNITS || first > LEVEL_UNITS || others < -LEVEL_UNITS ||
        others > LEVEL_UNITS) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t tokens = down * across, size = components * tokens * TRANSFORM_BLOCK;
    const int64_t turned = v[COSINE].len ? TRANSFORM_BLOCK * turn_pairs(components) : 0;
    if (!open_transform(v, &t) || !stvc_holds(&v[MATRIX], 8, components * components, "matrix") ||
        !stvc_holds(&v[PREDICTED], 4, size, "predicted") ||
        !stvc_holds(&v[SYMBOLS], 4, size, "symbols") ||
        !stvc_holds(&v[STEPS], 8, tokens, "steps") ||
        !stvc_holds(&v[COSINE], 8, turned, "cosines") ||
        !stvc_holds(&v[SINE], 8, turned, "sines") ||
        !stvc_holds(&v[CONCEALED], 1, tokens * TRANSFORM_BLOCK, "concealed") ||
        !stvc_holds(&v[OUT], 2, size, "out"))
        goto done;
    if (!steps_fit(&v[STEPS])) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    u.components = components, u.down = down, u.across = across, u.matrix = v[MATRIX].buf;
    u.predicted = v[PREDICTED].buf, u.symbols = v[SYMBOLS].buf, u.steps = v[STEPS].buf;
    u.toward[0] = first, u.toward[1] = others, u.concealed = v[CONCEALED].buf;
    u.cosine = turned ? v[COSINE].buf : NULL, u.sine = v[SINE].buf;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = unit_decode(&t, &u, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *squared_error(PyObject *self, PyObject *args)
{
    (void)self;
    enum { DECODED, PIXELS, UNCLEAR, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long bands, height, width, rows, stride;
    if (!PyArg_ParseTuple(args, "(LLLLL)y*y*y*:squared_error", &bands, &height, &width, &rows,
                          &stride, &v[DECODED], &v[PIXELS], &v[UNCLEAR]))
        return NULL;
    PyObject *result = NULL;
    if (!sized(bands) || !sized(rows) || !sized(stride) || height < 0 || height > rows ||
        width < 0 || width > stride)
        stvc_raise(STVC_RANGE);
    else if (stvc_holds(&v[DECODED], 2, bands * rows * stride, "decoded") &&
             stvc_holds(&v[PIXELS], 2, bands * height * width, "pixels") &&
             stvc_holds(&v[UNCLEAR], 1, rows * stride, "unclear")) {
        unit_errors found;
        Py_BEGIN_ALLOW_THREADS
        found = unit_error(v[DECODED].buf, v[PIXELS].buf, v[UNCLEAR].buf, bands, height, width,
                           rows, stride);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("LLi", (long long)found.count, (long long)found.sum,
                               (int)found.largest);
    }
    stvc_release(v, VIEWS);
    return result;
}

/* ---- the fast network ---- */

enum { PACKED, SCALE, BIAS, LAYER_VIEWS };

/* A layer as `int8_product.layer` packs it: its arrays are kept in `v` as long as it is used. */
static int open_layer(PyObject *packed, Py_buffer *v, int8_product *p, int *level)
{
    long long columns, outputs;
    if (!PyTuple_Check(packed) ||
        !PyArg_ParseTuple(packed, "LLiiiiy*y*y*:layer", &columns, &outputs, &p->rounded,
                          &p->offset, &p->top, level, &v[PACKED], &v[SCALE], &v[BIAS])) {
        if (!PyErr_Occurred())
            stvc_raise(STVC_RANGE);
        return 0;
    }
    if (columns < 1 || columns > INT8_COLUMNS || outputs < 1 || outputs > MOST || p->offset < 0 ||
        p->offset > UINT8_MAX || p->top < 0 || p->top > UINT8_MAX) {
        stvc_raise(STVC_RANGE);
        return 0;
    }
    const int64_t padded = (outputs + INT8_LANES - 1) / INT8_LANES * INT8_LANES;
    const int64_t words = (columns + 3) / 4;
    if (!stvc_holds(&v[PACKED], 1, padded * words * (*level >= DOTS_8 ? 4 : 8), "packed") ||
        !stvc_holds(&v[SCALE], 4, padded, "scale") || !stvc_holds(&v[BIAS], 4, padded, "bias"))
        return 0;
    p->columns = columns, p->outputs = outputs;
    p->packed = v[PACKED].buf, p->scale = v[SCALE].buf, p->bias = v[BIAS].buf;
    return 1;
}

static PyObject *begin_trunk(PyObject *self, PyObject *args)
{
    (void)self;
    enum { FEATURES = 2 * LAYER_VIEWS, EARLIER, HEARD, TOLD, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    PyObject *trunk, *earlier;
    long long rows;
    fast_layers f = {0};
    int other;
    if (!PyArg_ParseTuple(args, "OOLy*z*w*w*:begin_trunk", &trunk, &earlier, &rows, &v[FEATURES],
                          &v[EARLIER], &v[HEARD], &v[TOLD]))
        return NULL;
    PyObject *result = NULL;
    if (!open_layer(trunk, v, &f.trunk, &f.level) ||
        !open_layer(earlier, v + LAYER_VIEWS, &f.earlier, &other))
        goto done;
    if (rows < 0 || rows > (int64_t)MOST * MOST || f.trunk.rounded || f.earlier.rounded ||
        other != f.level || f.earlier.outputs != f.trunk.outputs) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    f.heard = rows ? v[HEARD].len / rows : f.trunk.outputs;
    f.told = rows ? v[TOLD].len / rows : f.trunk.outputs;
    if (f.told < f.trunk.outputs || f.heard < f.told) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    if (!stvc_holds(&v[FEATURES], 1, rows * f.trunk.columns, "features") ||
        (v[EARLIER].obj && !stvc_holds(&v[EARLIER], 1, rows * f.earlier.columns, "earlier")) ||
        !stvc_holds(&v[HEARD], 1, rows * f.heard, "heard") ||
        !stvc_holds(&v[TOLD], 1, rows * f.told, "told"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = fast_trunk(&f, v[FEATURES].buf, v[EARLIER].buf, rows, v[HEARD].buf, v[TOLD].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

/* Whether places lie inside of grids, not on their rims: neighbors are then inside as well. */
static int inside(const int64_t *place, int64_t rows, int64_t height, int64_t width,
                  int64_t grids)
{
    const int64_t across = width + 2, whole = (height + 2) * across;
    for (int64_t k = 0; k < rows; k++) {
        if (place[k] < 0 || place[k] >= grids * whole)
            return 0;
        const int64_t y = place[k] % whole / across, x = place[k] % across;
        if (y < 1 || y > height || x < 1 || x > width)
            return 0;
    }
    return 1;
}

static PyObject *step_group(PyObject *self, PyObject *args)
{
    (void)self;
    enum { LAYERS = 4, PLACE = LAYERS * LAYER_VIEWS, TOLD, MOVES, AROUND, HEARD, WHERE, SCALES,
           VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    PyObject *layers[LAYERS];
    long long grids, height, width;
    if (!PyArg_ParseTuple(args, "(OOOO)(LLL)y*y*z*w*w*z*w*:step_group", &layers[0], &layers[1],
                          &layers[2], &layers[3], &grids, &height, &width, &v[PLACE], &v[TOLD],
                          &v[MOVES], &v[AROUND], &v[HEARD], &v[WHERE], &v[SCALES]))
        return NULL;
    PyObject *result = NULL;
    fast_layers f = {0};
    fast_group g = {0};
    int8_product *of[LAYERS] = {&g.around, &g.hidden, &g.scale, &g.move};
    const int used = layers[3] == Py_None ? LAYERS - 1 : LAYERS;
    for (int k = 0; k < used; k++) {
        int level;
        if (!open_layer(layers[k], v + k * LAYER_VIEWS, of[k], &level))
            goto done;
        if ((k && level != f.level) || of[k]->rounded != (k < 3)) {
            stvc_raise(STVC_RANGE);
            goto done;
        }
        f.level = level;
    }
    if (!sized(grids) || !sized(height) || !sized(width) ||
        (used == LAYERS) != (v[WHERE].obj != NULL) || (used == LAYERS) != (v[MOVES].obj != NULL) ||
        (v[WHERE].obj && v[WHERE].readonly) || grids * height > MOST || width > MOST) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t rows = v[PLACE].len / 8, n = g.around.outputs;
    f.told = g.around.columns, f.heard = g.hidden.columns;
    if (n > UINT8_MAX || f.heard != f.told + 2 * n || g.scale.columns != g.hidden.outputs ||
        (used == LAYERS && (g.move.columns != g.hidden.outputs ||
                            g.move.outputs != FAST_LOW * (1 + FAST_MOVES)))) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    if (!stvc_holds(&v[PLACE], 8, rows, "place") || !stvc_holds(&v[TOLD], 1, rows * f.told, "told") ||
        !stvc_holds(&v[HEARD], 1, rows * f.heard, "heard") ||
        !stvc_holds(&v[AROUND], 1, grids * (height + 2) * (width + 2) * n, "around") ||
        !stvc_holds(&v[SCALES], 1, rows * g.scale.outputs, "scales") ||
        (v[MOVES].obj && !stvc_holds(&v[MOVES], 2, rows * FAST_LOW * FAST_MOVES, "moves")) ||
        (v[WHERE].obj && !stvc_holds(&v[WHERE], 4, rows * FAST_LOW, "where")))
        goto done;
    if (!inside(v[PLACE].buf, rows, height, width, grids)) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const fast_grid grid = {rows, width, v[PLACE].buf};
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = fast_step(&f, &g, &grid, v[TOLD].buf, v[MOVES].buf, v[AROUND].buf, v[HEARD].buf,
                       v[WHERE].buf, v[SCALES].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *hear_group(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SYMBOLS, LEVELS, HEARD, TOLD, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long rows, count, at;
    if (!PyArg_ParseTuple(args, "(LLL)y*y*w*w*:hear_group", &rows, &count, &at, &v[SYMBOLS],
                          &v[LEVELS], &v[HEARD], &v[TOLD]))
        return NULL;
    PyObject *result = NULL;
    fast_layers f = {0};
    f.heard = rows > 0 ? v[HEARD].len / rows : 0, f.told = rows > 0 ? v[TOLD].len / rows : 0;
    if (rows < 0 || rows > (int64_t)MOST * MOST || !sized(count) || !sized(at) ||
        (rows && at + count > f.told) || f.told > f.heard || v[LEVELS].len < 1)
        stvc_raise(STVC_RANGE);
    else if (stvc_holds(&v[SYMBOLS], 4, rows * count, "symbols") &&
             stvc_holds(&v[HEARD], 1, rows * f.heard, "heard") &&
             stvc_holds(&v[TOLD], 1, rows * f.told, "told")) {
        Py_BEGIN_ALLOW_THREADS
        fast_hear(&f, v[SYMBOLS].buf, rows, count, at, v[LEVELS].buf, v[LEVELS].len - 1,
                  v[HEARD].buf, v[TOLD].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *unit_inputs(PyObject *self, PyObject *args)
{
    (void)self;
    enum { ROW, STEPS, PREDICTED, RECENT, SECOND, AVERAGE, BACKGROUND, MEAN, KNOWN, MOVES, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, tokens;
    int blank;
    if (!PyArg_ParseTuple(args, "(LLp)y*y*y*z*z*z*z*y*w*w*:unit_inputs", &components, &tokens,
                          &blank, &v[ROW], &v[STEPS], &v[PREDICTED], &v[RECENT], &v[SECOND],
                          &v[AVERAGE], &v[BACKGROUND], &v[MEAN], &v[KNOWN], &v[MOVES]))
        return NULL;
    PyObject *result = NULL;
    const int64_t rows = v[ROW].len / 8, all = components * rows;
    if (!sized(components) || !sized(tokens) || rows > MOST ||
        (all && v[KNOWN].len / all < FAST_PLANES * FAST_BLOCK)) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = components * tokens * FAST_BLOCK, width = all ? v[KNOWN].len / all : 0;
    for (int k = PREDICTED; k <= BACKGROUND; k++)
        if (v[k].obj && !stvc_holds(&v[k], 4, size, "plane"))
            goto done;
    if (!stvc_holds(&v[ROW], 8, rows, "rows") || !stvc_holds(&v[STEPS], 8, tokens, "steps") ||
        !stvc_holds(&v[MEAN], 4, components * FAST_BLOCK, "mean") ||
        !stvc_holds(&v[KNOWN], 1, all * width, "known") ||
        !stvc_holds(&v[MOVES], 2, all * FAST_LOW * FAST_MOVES, "moves"))
        goto done;
    const int64_t *row = v[ROW].buf;
    int fits = steps_fit(&v[STEPS]);
    for (int64_t k = 0; k < rows; k++)
        fits &= row[k] >= 0 && row[k] < tokens;
    if (!fits) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const fast_unit u = {components,         tokens,          rows,          row,
                         v[STEPS].buf,       v[PREDICTED].buf, v[RECENT].buf, v[SECOND].buf,
                         v[AVERAGE].buf,     v[BACKGROUND].buf, v[MEAN].buf,  blank};
    Py_BEGIN_ALLOW_THREADS
    fast_inputs(&u, v[KNOWN].buf, width, v[MOVES].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

/* ---- widening ---- */

static int open_widening(const Py_buffer *symbols, const Py_buffer *location,
                         const Py_buffer *scale, const long long *shape, widening_unit *u)
{
    for (int k = 0; k < 4; k++)
        if (!sized(shape[k])) {
            stvc_raise(STVC_RANGE);
            return 0;
        }
    const int64_t rows = shape[0] * shape[1];
    if (shape[2] > COLUMNS_MOST || shape[3] > shape[2]) {
        stvc_raise(STVC_RANGE);
        return 0;
    }
    *u = (widening_unit){shape[0],     shape[1],      shape[2],  shape[3],
                         symbols->buf, location->buf, scale->buf};
    return stvc_holds(symbols, 4, rows * shape[2], "symbols") &&
           stvc_holds(location, 4, rows * shape[3], "location") &&
           stvc_holds(scale, 1, rows * shape[2], "scale");
}

static PyObject *widening_costs_of(PyObject *self, PyObject *args)
{
    (void)self;
    enum { EDGES, STARTS, COSTS, NEAR, SYMBOLS, LOCATION, SCALES, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long shape[4];
    widening_unit u;
    if (!PyArg_ParseTuple(args, "(LLLL)y*y*y*y*y*y*y*w*:widening_costs", &shape[0], &shape[1],
                          &shape[2], &shape[3], &v[EDGES], &v[STARTS], &v[COSTS], &v[NEAR],
                          &v[SYMBOLS], &v[LOCATION], &v[SCALES], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { NEARBY = RANGE_FRACTIONS * (2 * WIDENING_REACH + 1) * WIDENING_ROW };
    if (open_widening(&v[SYMBOLS], &v[LOCATION], &v[SCALES], shape, &u) &&
        stvc_holds(&v[EDGES], 4, -1, "edges") && stvc_holds(&v[STARTS], 4, -1, "starts") &&
        stvc_holds(&v[COSTS], 2, -1, "costs") && stvc_holds(&v[NEAR], 2, NEARBY, "near") &&
        stvc_holds(&v[OUT], 8, u.components * u.columns * WIDENINGS, "out")) {
        const range_tables t = {v[EDGES].buf, v[EDGES].len / 4, v[STARTS].buf,
                                v[STARTS].len < 8 ? 0 : v[STARTS].len / 4 - 1};
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = widening_costs(&u, v[NEAR].buf, &t, v[COSTS].buf, v[COSTS].len / 2, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
    return result;
}

PyObject *stvc_encoder_unit(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    enum { EDGES, STARTS, SCORES, INFORMATION, SYMBOLS, LOCATION, SCALES, WIDENING, WEIGHT, STOPS,
           VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long shape[4];
    widening_unit u;
    if (!PyArg_ParseTuple(args, "(LLLL)y*y*y*y*y*y*y*y*y*y*:unit", &shape[0], &shape[1],
                          &shape[2], &shape[3], &v[EDGES], &v[STARTS], &v[SCORES],
                          &v[INFORMATION], &v[SYMBOLS], &v[LOCATION], &v[SCALES], &v[WIDENING],
                          &v[WEIGHT], &v[STOPS]))
        return NULL;
    PyObject *result = NULL;
    const int64_t tables = v[STARTS].len / 4 - 1;
    if (v[STARTS].len < 8)
        stvc_raise(STVC_RANGE);
    else if (open_widening(&v[SYMBOLS], &v[LOCATION], &v[SCALES], shape, &u) &&
             stvc_holds(&v[EDGES], 4, -1, "edges") && stvc_holds(&v[STARTS], 4, -1, "starts") &&
             stvc_holds(&v[SCORES], 2, -1, "scores") &&
             stvc_holds(&v[INFORMATION], 4, tables, "information") &&
             stvc_holds(&v[WIDENING], 4, u.components * u.columns, "widening") &&
             stvc_holds(&v[WEIGHT], 4, u.columns, "weight") &&
             stvc_holds(&v[STOPS], 8, -1, "stops")) {
        if (!stvc_enter(&self->busy))
            goto done;
        const range_tables t = {v[EDGES].buf, v[EDGES].len / 4, v[STARTS].buf, tables};
        const range_columns how = {0, 0, NULL, NULL, v[WIDENING].buf, v[WEIGHT].buf,
                                   v[SCORES].buf, v[SCORES].len / 2, v[INFORMATION].buf};
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = widening_encode(&self->coder, &t, &u, &how, v[STOPS].buf, v[STOPS].len / 8);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
done:
    stvc_release(v, VIEWS);
    return result;
}

/* ---- turns ---- */

static PyObject *turn(PyObject *self, PyObject *args)
{
    (void)self;
    enum { COSINE, SINE, VALUES, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, tokens;
    int back;
    if (!PyArg_ParseTuple(args, "(LLp)y*y*w*:turn", &components, &tokens, &back, &v[COSINE],
                          &v[SINE], &v[VALUES]))
        return NULL;
    PyObject *result = NULL;
    if (!sized(components) || !sized(tokens)) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t factors = TRANSFORM_BLOCK * turn_pairs(components);
    const int64_t size = components * tokens * TRANSFORM_BLOCK;
    const int real = v[VALUES].len == 8 * size && size > 0;
    if (stvc_holds(&v[COSINE], 8, factors, "cosines") &&
        stvc_holds(&v[SINE], 8, factors, "sines") &&
        stvc_holds(&v[VALUES], real ? 8 : 4, size, "coefficients")) {
        const turn_batch t = {components, tokens, back, v[COSINE].buf, v[SINE].buf};
        Py_BEGIN_ALLOW_THREADS
        components_turn(&t, real ? NULL : v[VALUES].buf, real ? v[VALUES].buf : NULL);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *choose_turns(PyObject *self, PyObject *args)
{
    (void)self;
    enum { PART, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, tokens;
    double weight;
    if (!PyArg_ParseTuple(args, "(LLd)w*w*:choose_turns", &components, &tokens, &weight, &v[PART],
                          &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    if (!sized(components) || !sized(tokens)) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    if (stvc_holds(&v[PART], 8, components * tokens * TRANSFORM_BLOCK, "coefficients") &&
        stvc_holds(&v[OUT], 8, TURN_BANDS * turn_pairs(components), "turns")) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = turns_choose(v[PART].buf, components, tokens, weight, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *count_levels(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SYMBOLS, LEFT_OUT, BAND_OF, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, tokens, bands, low, width;
    if (!PyArg_ParseTuple(args, "(LLL)(LL)y*y*y*w*:count_levels", &components, &tokens, &bands,
                          &low, &width, &v[SYMBOLS], &v[LEFT_OUT], &v[BAND_OF], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    if (!sized(components) || !sized(tokens) || bands < 1 || bands > TRANSFORM_BLOCK ||
        low < INT32_MIN || low > INT32_MAX || width < 1 || width > MOST) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    if (stvc_holds(&v[SYMBOLS], 4, components * tokens * TRANSFORM_BLOCK, "symbols") &&
        stvc_holds(&v[LEFT_OUT], 1, tokens, "left out") &&
        stvc_holds(&v[BAND_OF], 1, TRANSFORM_BLOCK, "bands") &&
        stvc_holds(&v[OUT], 8, components * bands * width, "counts")) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = levels_count(v[SYMBOLS].buf, v[LEFT_OUT].buf, v[BAND_OF].buf, components, tokens,
                              bands, low, width, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
done:
    stvc_release(v, VIEWS);
    return result;
}

PyMethodDef stvc_unit_functions[] = {
    {"count_levels", count_levels, METH_VARARGS,
     "count_levels((components, tokens, bands), (low, width), symbols int32, left out bool, "
     "band of each coefficient uint8, out int64)"},
    {"requantize", requantize, METH_VARARGS,
     "requantize((components, dead zone, most), residual float64, steps int64, out int32, "
     "inward float64)"},
    {"turn", turn, METH_VARARGS,
     "turn((components, tokens, back), cosines, sines int64, coefficients int32 or float64)"},
    {"choose_turns", choose_turns, METH_VARARGS,
     "choose_turns((components, tokens, weight), coefficients float64, out int64)"},
    {"forward_unit", forward_unit, METH_VARARGS,
     "forward_unit((forward, inverse, order), matrix float64, (bands, height, width), "
     "planes uint16 or int32, mixed int32 or None, out int32)"},
    {"quantize_unit", quantize_unit, METH_VARARGS,
     "quantize_unit((forward, inverse, order), (components, down, across), mixed int32, "
     "target int32, predicted int32, hidden bool, skipped bool, steps int64, fill, dead zone, "
     "most, cosines, sines int64, residual float64, out int32, inward float64)"},
    {"decode_unit", decode_unit, METH_VARARGS,
     "decode_unit((forward, inverse, order), matrix float64, (components, down, across), "
     "predicted int32, symbols int32, steps int64, (first, others), cosines, sines int64, "
     "concealed bool, show, out uint16)"},
    {"squared_error", squared_error, METH_VARARGS,
     "squared_error((bands, height, width, rows, stride), decoded uint16, pixels uint16, "
     "unclear bool) -> (clear pixels, sum, largest)"},
    {"begin_trunk", begin_trunk, METH_VARARGS,
     "begin_trunk(trunk layer, layer of earlier components, rows, features uint8, "
     "earlier uint8 or None, heard uint8, told uint8)"},
    {"step_group", step_group, METH_VARARGS,
     "step_group((around, hidden, scale, move or None), (grids, height, width), place int64, "
     "told uint8, moves int16 or None, around uint8, heard uint8, where int32 or None, "
     "scales uint8)"},
    {"hear_group", hear_group, METH_VARARGS,
     "hear_group((rows, count, at), symbols int32, levels uint8, heard uint8, told uint8)"},
    {"unit_inputs", unit_inputs, METH_VARARGS,
     "unit_inputs((components, tokens, blank), rows int64, steps int64, predicted int32, "
     "recent, second, average, background int32 or None, mean int32, known uint8, moves int16)"},
    {"widening_costs", widening_costs_of, METH_VARARGS,
     "widening_costs((components, tokens, columns, located), edges uint32, starts int32, "
     "costs int16, near int16, symbols int32, location int32, scale uint8, out int64)"},
    {0}};
