/* What the extension module does for transforms and references. */
#include "module.h"

/* ---- transforms ---- */

static PyObject *mix_bands(PyObject *self, PyObject *args)
{
    (void)self;
    enum { MATRIX, PLANES, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long bands;
    if (!PyArg_ParseTuple(args, "y*y*w*L:mix_bands", &v[MATRIX], &v[PLANES], &v[OUT], &bands))
        return NULL;
    PyObject *result = NULL;
    if (bands < 1 || bands > TRANSFORM_BANDS) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = v[OUT].len / 4 / bands;
    const int wide = v[PLANES].len == v[OUT].len;
    if (!stvc_holds(&v[MATRIX], 8, bands * bands, "matrix") ||
        !stvc_holds(&v[OUT], 4, bands * size, "out") ||
        !stvc_holds(&v[PLANES], wide ? 4 : 2, bands * size, "planes"))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    bands_mix(v[MATRIX].buf, bands, size, v[PLANES].buf, wide, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *transform_blocks(PyObject *self, PyObject *args)
{
    (void)self;
    enum { FORWARD, INVERSE, ORDER, IN, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long width;
    int back;
    if (!PyArg_ParseTuple(args, "(y*y*y*)y*Lpw*:transform_blocks", &v[FORWARD], &v[INVERSE],
                          &v[ORDER], &v[IN], &width, &back, &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { PARTS = 16 * TRANSFORM_BLOCK, SIDE = 8, MOST = 1 << 25 };
    if (width < SIDE || width % SIDE || width > MOST) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t rows = v[IN].len / 4 / width / SIDE, size = rows * width * SIDE;
    if (!stvc_holds(&v[FORWARD], 8, PARTS, "forward") ||
        !stvc_holds(&v[INVERSE], 8, PARTS, "inverse") ||
        !stvc_holds(&v[ORDER], 1, TRANSFORM_BLOCK, "order") || !stvc_holds(&v[IN], 4, size, "in") ||
        !stvc_holds(&v[OUT], 4, size, "out"))
        goto done;
    block_transform t = {v[FORWARD].buf, v[INVERSE].buf, v[ORDER].buf};
    for (int k = 0; k < TRANSFORM_BLOCK; k++)
        if (t.order[k] >= TRANSFORM_BLOCK) {
            stvc_raise(STVC_RANGE);
            goto done;
        }
    Py_BEGIN_ALLOW_THREADS
    (back ? blocks_inverse : blocks_forward)(&t, v[IN].buf, rows, width, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *fill_blocks(PyObject *self, PyObject *args)
{
    (void)self;
    enum { FORWARD, INVERSE, ORDER, RESIDUAL, HIDDEN, STEPS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "(y*y*y*)y*y*y*w*:fill_blocks", &v[FORWARD], &v[INVERSE],
                          &v[ORDER], &v[RESIDUAL], &v[HIDDEN], &v[STEPS], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { PARTS = 16 * TRANSFORM_BLOCK };
    const int64_t count = v[HIDDEN].len / TRANSFORM_BLOCK;
    const int64_t components = count ? v[OUT].len / 8 / TRANSFORM_BLOCK / count : 0;
    const int64_t size = components * count * TRANSFORM_BLOCK;
    if (!stvc_holds(&v[FORWARD], 8, PARTS, "forward") ||
        !stvc_holds(&v[INVERSE], 8, PARTS, "inverse") ||
        !stvc_holds(&v[HIDDEN], 1, count * TRANSFORM_BLOCK, "hidden") ||
        !stvc_holds(&v[RESIDUAL], 8, size, "residual") ||
        !stvc_holds(&v[STEPS], 8, count, "steps") ||
        !stvc_holds(&v[OUT], 8, size, "out"))
        goto done;
    block_transform t = {v[FORWARD].buf, v[INVERSE].buf, v[ORDER].buf};
    Py_BEGIN_ALLOW_THREADS
    blocks_fill(&t, v[RESIDUAL].buf, v[HIDDEN].buf, v[STEPS].buf, components, count, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

/* Components of arrays of whole tokens; -1 if these do not fit each other. */
static int64_t components_of(const Py_buffer *steps, const Py_buffer *levels)
{
    const int64_t tokens = steps->len / 8, all = levels->len / 4 / TRANSFORM_BLOCK;
    if (!stvc_holds(steps, 8, -1, "steps") || !tokens ||
        !stvc_holds(levels, 4, all / tokens * tokens * TRANSFORM_BLOCK, "levels"))
        return -1;
    for (int64_t k = 0; k < tokens; k++) {
        const int64_t step = ((const int64_t *)steps->buf)[k];
        if (step < 1 || step > LEVEL_STEP)
            return -1;
    }
    return all / tokens;
}

static PyObject *quantize(PyObject *self, PyObject *args)
{
    (void)self;
    enum { RESIDUAL, STEPS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    double dead_zone;
    int most;
    if (!PyArg_ParseTuple(args, "y*y*diw*:quantize", &v[RESIDUAL], &v[STEPS], &dead_zone, &most,
                          &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    const int64_t components = components_of(&v[STEPS], &v[OUT]), tokens = v[STEPS].len / 8;
    if (components < 0 || most < 0 || !(dead_zone >= 0 && dead_zone < 1)) {
        if (!PyErr_Occurred())
            stvc_raise(STVC_RANGE);
    } else if (stvc_holds(&v[RESIDUAL], 8, components * tokens * TRANSFORM_BLOCK, "residual")) {
        Py_BEGIN_ALLOW_THREADS
        levels_quantize(v[RESIDUAL].buf, v[STEPS].buf, components, tokens, dead_zone, most,
                        v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *dequantize(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SYMBOLS, STEPS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    int first, others;
    if (!PyArg_ParseTuple(args, "y*y*(ii)w*:dequantize", &v[SYMBOLS], &v[STEPS], &first, &others,
                          &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 16 };
    const int64_t components = components_of(&v[STEPS], &v[OUT]), tokens = v[STEPS].len / 8;
    if (components < 0 || first > MOST || first < -MOST || others > MOST || others < -MOST) {
        if (!PyErr_Occurred())
            stvc_raise(STVC_RANGE);
    } else if (stvc_holds(&v[SYMBOLS], 4, components * tokens * TRANSFORM_BLOCK, "symbols")) {
        const int64_t toward[2] = {first, others};
        Py_BEGIN_ALLOW_THREADS
        levels_dequantize(v[SYMBOLS].buf, v[STEPS].buf, components, tokens, toward, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
    return result;
}

/* ---- references ---- */

static PyObject *warp(PyObject *self, PyObject *args)
{
    (void)self;
    enum { PLANES, FILTERS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long count, height, width;
    int down, across;
    if (!PyArg_ParseTuple(args, "y*y*(LLL)(ii)w*:warp", &v[PLANES], &v[FILTERS], &count, &height,
                          &width, &down, &across, &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 20 };
    if (count < 0 || count > MOST || height < 1 || height > MOST || width < 1 || width > MOST ||
        down > WARP_SHIFT || down < -WARP_SHIFT || across > WARP_SHIFT || across < -WARP_SHIFT) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = count * height * width;
    if (!stvc_holds(&v[PLANES], 4, size, "planes") ||
        !stvc_holds(&v[FILTERS], 4, WARP_UNITS * WARP_TAPS, "filters") ||
        !stvc_holds(&v[OUT], 4, size, "out"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = planes_warp(v[PLANES].buf, v[FILTERS].buf, count, height, width, down, across,
                         v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *ages(PyObject *self, PyObject *args)
{
    (void)self;
    enum { DAYS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long height, width;
    int today, absolute, never;
    if (!PyArg_ParseTuple(args, "y*(LL)ipiw*:block_ages", &v[DAYS], &height, &width, &today,
                          &absolute, &never, &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { SIDE = 8, MOST = 1 << 25 };
    if (height < 0 || height > MOST || height % SIDE || width < 0 || width > MOST || width % SIDE)
        stvc_raise(STVC_RANGE);
    else if (stvc_holds(&v[DAYS], 4, height * width, "days") &&
             stvc_holds(&v[OUT], 4, height / SIDE * (width / SIDE), "out")) {
        Py_BEGIN_ALLOW_THREADS
        block_ages(v[DAYS].buf, height, width, today, absolute, never, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *between(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SIDES = 8, MADE = 6, VIEWS = SIDES + MADE };
    Py_buffer v[VIEWS] = {{0}};
    long long bands;
    int day;
    if (!PyArg_ParseTuple(args, "Liy*y*y*y*y*y*y*y*w*w*w*w*w*w*:between", &bands, &day, &v[0],
                          &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10],
                          &v[11], &v[12], &v[13]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 20 };
    if (bands < 0 || bands > MOST) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = v[2].len / 4;
    static const uint8_t whole[VIEWS] = {1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0};
    for (int k = 0; k < VIEWS; k++)
        if (!stvc_holds(&v[k], 4, whole[k] ? bands * size : size, "a reference"))
            goto done;
    const reference_side before = {v[0].buf, v[1].buf, v[2].buf, v[3].buf},
                         after = {v[4].buf, v[5].buf, v[6].buf, v[7].buf};
    const reference_middle made = {v[8].buf,  v[9].buf,  v[10].buf,
                                   v[11].buf, v[12].buf, v[13].buf};
    Py_BEGIN_ALLOW_THREADS
    references_between(bands, size, day, &before, &after, &made);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *advance(PyObject *self, PyObject *args)
{
    (void)self;
    enum { HOME, HIDDEN, SHARES, OLD, SECOND = OLD + 4, SECOND_DAY, MADE, VIEWS = MADE + 6 };
    Py_buffer v[VIEWS] = {{0}};
    long long bands;
    int day;
    if (!PyArg_ParseTuple(args, "Liy*y*y*y*y*y*y*y*y*w*w*w*w*w*w*:advance", &bands, &day, &v[0],
                          &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10],
                          &v[11], &v[12], &v[13], &v[14]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 20 };
    const int64_t size = v[HIDDEN].len;
    if (bands < 0 || bands > MOST) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    static const uint8_t whole[VIEWS] = {1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0};
    for (int k = 0; k < VIEWS; k++)
        if (k != HIDDEN && !stvc_holds(&v[k], 4,
                                  k == SHARES ? REFERENCE_MEMORY + 1
                                              : whole[k] ? bands * size
                                                         : size,
                                  "a reference"))
            goto done;
    const reference_step step = {
        bands,          size,           day,
        v[HOME].buf,    v[HIDDEN].buf,  {v[3].buf, v[4].buf, v[5].buf, v[6].buf},
        v[SECOND].buf,  v[SECOND_DAY].buf, v[SHARES].buf};
    const reference_middle made = {v[9].buf,  v[10].buf, v[11].buf,
                                   v[12].buf, v[13].buf, v[14].buf};
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = references_advance(&step, &made);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *show(PyObject *self, PyObject *args)
{
    (void)self;
    enum { PIXELS, CONCEALED, INSTEAD, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long bands, height, width;
    if (!PyArg_ParseTuple(args, "y*y*(LLL)y*w*:show", &v[PIXELS], &v[CONCEALED], &bands, &height,
                          &width, &v[INSTEAD], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { SIDE = 8, BLOCK = SIDE * SIDE, MOST = 1 << 20 };
    if (bands < 1 || bands > MOST || height < 0 || height > MOST || height % SIDE || width < 0 ||
        width > MOST || width % SIDE) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = bands * height * width, blocks = v[INSTEAD].len / 4 / bands / BLOCK;
    if (!stvc_holds(&v[PIXELS], 4, size, "pixels") ||
        !stvc_holds(&v[CONCEALED], 1, height * width, "concealed") ||
        !stvc_holds(&v[INSTEAD], 4, bands * blocks * BLOCK, "instead") ||
        !stvc_holds(&v[OUT], 2, size, "out"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = pixels_show(v[PIXELS].buf, v[CONCEALED].buf, bands, height, width, v[INSTEAD].buf,
                         blocks, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *predict(PyObject *self, PyObject *args)
{
    (void)self;
    enum { PLANES, MEAN = PREDICT_PLANES, WEIGHTS, OFFSETS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, tokens;
    int bits;
    if (!PyArg_ParseTuple(args, "(LLi)(z*z*z*z*)y*y*y*w*:predict", &components, &tokens, &bits,
                          &v[PLANES], &v[PLANES + 1], &v[PLANES + 2], &v[PLANES + 3], &v[MEAN],
                          &v[WEIGHTS], &v[OFFSETS], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 25, MOST_BITS = 16 };
    if (components < 0 || components > MOST || tokens < 0 || tokens > MOST || bits < 0 ||
        bits > MOST_BITS) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = components * tokens * PREDICT_BLOCK;
    prediction p = {components,    tokens,         bits,          {NULL},
                    v[MEAN].buf, v[WEIGHTS].buf, v[OFFSETS].buf};
    for (int k = 0; k < PREDICT_PLANES; k++) {
        p.planes[k] = v[PLANES + k].buf;
        if (v[PLANES + k].obj && !stvc_holds(&v[PLANES + k], 4, size, "plane"))
            goto done;
    }
    if (!stvc_holds(&v[MEAN], 4, components * PREDICT_BLOCK, "mean") ||
        !stvc_holds(&v[WEIGHTS], 4, components * PREDICT_PLANES * PREDICT_BLOCK, "weights") ||
        !stvc_holds(&v[OFFSETS], 8, components, "offsets") || !stvc_holds(&v[OUT], 4, size, "out"))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    predict_units(&p, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

PyMethodDef stvc_frame_functions[] = {
    {"mix_bands", mix_bands, METH_VARARGS,
     "mix_bands(matrix float64, planes uint16 or int32, out int32, bands)"},
    {"transform_blocks", transform_blocks, METH_VARARGS,
     "transform_blocks((forward float64, inverse float64, order uint8), in int32, width, back, "
     "out int32)"},
    {"fill_blocks", fill_blocks, METH_VARARGS,
     "fill_blocks((forward, inverse, order), residual float64, hidden bool, steps float64, "
     "out float64)"},
    {"quantize", quantize, METH_VARARGS,
     "quantize(residual float64, steps int64, dead zone, most, out int32)"},
    {"dequantize", dequantize, METH_VARARGS,
     "dequantize(symbols int32, steps int64, (first, others), out int32)"},
    {"warp", warp, METH_VARARGS,
     "warp(planes int32, filters int32, (count, height, width), (down, across), out int32)"},
    {"block_ages", ages, METH_VARARGS,
     "block_ages(days int32, (height, width), today, absolute, never, out int32)"},
    {"between", between, METH_VARARGS,
     "between(bands, day, recent, average, day, count, the same of the later side, "
     "recent, second, average, recent_day, second_day, count), all int32"},
    {"advance", advance, METH_VARARGS,
     "advance(bands, day, home, hidden bool, shares, recent, average, day, count, second, "
     "second_day, recent, second, average, recent_day, second_day, count), all others int32"},
    {"show", show, METH_VARARGS,
     "show(pixels int32, concealed bool, (bands, height, width), instead int32, out uint16)"},
    {"predict", predict, METH_VARARGS,
     "predict((components, tokens, bits), (plane int32 or None, ...), mean int32, weights int32, "
     "offsets int64, out int32)"},
    {0}};
