/* What the extension module does for networks of units: products, attention, restoration. */
#include "module.h"

/* ---- restoration ---- */

static PyObject *corrections(PyObject *self, PyObject *args)
{
    (void)self;
    enum { FIRST, SECOND, LAST, BIAS, BITS, DECODED, PREDICTED, BLOCKS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, down, across, reciprocal;
    int level;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*(LLL)y*y*y*Liw*:corrections", &v[FIRST], &v[SECOND],
                          &v[LAST], &v[BIAS], &v[BITS], &components, &down, &across, &v[DECODED],
                          &v[PREDICTED], &v[BLOCKS], &reciprocal, &level, &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { SIDE = 1 << 18 }; /* of each: their product times 64 fits 64 bits */
    if (components < 0 || down < 1 || across < 1 || components > SIDE || down > SIDE ||
        across > SIDE || reciprocal < 0 || reciprocal > (int64_t)1 << 25) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    int64_t blocks = components * down * across, pixels = blocks * REST_BLOCK * REST_BLOCK;
    if (!stvc_holds(&v[FIRST], 1, REST_FIRST * REST_INPUTS, "first") ||
        !stvc_holds(&v[SECOND], 1, REST_SECOND * REST_FIRST, "second") ||
        !stvc_holds(&v[LAST], 1, REST_SECOND, "last") ||
        !stvc_holds(&v[BIAS], 4, REST_NUMBERS, "bias") ||
        !stvc_holds(&v[BITS], 1, REST_NUMBERS, "bits") ||
        !stvc_holds(&v[DECODED], 4, pixels, "decoded") ||
        !stvc_holds(&v[PREDICTED], 4, pixels, "predicted") ||
        !stvc_holds(&v[BLOCKS], 1, blocks * REST_BLOCK_INPUTS, "blocks") ||
        !stvc_holds(&v[OUT], 4, pixels, "out"))
        goto done;
    rest_network network = {v[FIRST].buf, v[SECOND].buf, v[LAST].buf, v[BIAS].buf, v[BITS].buf};
    rest_unit unit = {components,       down,          across,    v[DECODED].buf,
                      v[PREDICTED].buf, v[BLOCKS].buf, reciprocal};
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = rest_corrections(&network, &unit, level, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *restoration_level(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    return PyLong_FromLong(rest_level());
}

/* ---- attention ---- */

static PyObject *mix(PyObject *self, PyObject *args)
{
    (void)self;
    enum { QUERY, KV, INDEX, POSITION, TABLE, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    attention a;
    long long units, blocks, queries, keys, rows, heads, width;
    int level;
    if (!PyArg_ParseTuple(args, "(LLLLLLL)y*y*y*y*y*iw*:mix", &units, &blocks, &queries, &keys,
                          &rows, &heads, &width, &v[QUERY], &v[KV], &v[INDEX], &v[POSITION],
                          &v[TABLE], &level, &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 17 }; /* of each: three, and a width, make less than 2**62 */
    if (units < 1 || blocks < 1 || queries < 1 || keys < 1 || rows < 1 || heads < 1 || width < 1 ||
        units > MOST || blocks > MOST || queries > MOST || keys > ATTENTION_KEYS ||
        rows > (int64_t)MOST * MOST || heads > width || width > ATTENTION_WIDTH) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    int64_t asked = units * blocks * queries * width;
    if (!stvc_holds(&v[QUERY], 1, asked, "query") ||
        !stvc_holds(&v[KV], 1, units * rows * 2 * width, "kv") ||
        !stvc_holds(&v[INDEX], 8, blocks * keys, "index") ||
        !stvc_holds(&v[POSITION], 1, keys * width, "position") ||
        !stvc_holds(&v[TABLE], 1, ATTENTION_STEPS, "table") || !stvc_holds(&v[OUT], 1, asked, "out"))
        goto done;
    a = (attention){units,     blocks,       queries,         keys,
                    rows,      heads,        width,           v[QUERY].buf,
                    v[KV].buf, v[INDEX].buf, v[POSITION].buf, v[TABLE].buf};
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = attention_mix(&a, level, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *mix_level(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    return PyLong_FromLong(attention_level());
}

/* ---- products ---- */

static PyObject *multiply(PyObject *self, PyObject *args)
{
    (void)self;
    enum { PACKED, SCALE, BIAS, X, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    int8_product p;
    int level;
    long long columns, outputs;
    if (!PyArg_ParseTuple(args, "(LLiiiiy*y*y*)y*w*:multiply", &columns, &outputs, &p.rounded,
                          &p.offset, &p.top, &level, &v[PACKED], &v[SCALE], &v[BIAS], &v[X],
                          &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 20 };
    if (columns < 1 || columns > INT8_COLUMNS || outputs < 1 || outputs > MOST ||
        p.offset < 0 || p.offset > UINT8_MAX || p.top < 0 || p.top > UINT8_MAX) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    int64_t padded = (outputs + INT8_LANES - 1) / INT8_LANES * INT8_LANES;
    int64_t words = (columns + 3) / 4;
    if (!stvc_holds(&v[PACKED], 1, padded * words * (level >= DOTS_8 ? 4 : 8), "packed") ||
        !stvc_holds(&v[SCALE], 4, padded, "scale") || !stvc_holds(&v[BIAS], 4, padded, "bias") ||
        !stvc_holds(&v[X], 1, v[X].len / columns * columns, "x"))
        goto done;
    p.rows = v[X].len / columns, p.columns = columns, p.outputs = outputs;
    p.x = v[X].buf, p.packed = v[PACKED].buf, p.scale = v[SCALE].buf, p.bias = v[BIAS].buf;
    if (!stvc_holds(&v[OUT], p.rounded ? 1 : 4, p.rows * outputs, "out"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = int8_multiply(&p, level, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

/* ---- passes ---- */

static PyObject *absorb(PyObject *self, PyObject *args)
{
    (void)self;
    enum { H, ADDED, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "w*z*w*:absorb", &v[H], &v[ADDED], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    int64_t n = v[H].len / 4;
    if (stvc_holds(&v[H], 4, -1, "h") && stvc_holds(&v[OUT], 1, n, "out") &&
        (!v[ADDED].obj || stvc_holds(&v[ADDED], 4, n, "added"))) {
        Py_BEGIN_ALLOW_THREADS
        if (v[ADDED].obj)
            passes_absorb(v[H].buf, v[ADDED].buf, n, v[OUT].buf);
        else
            passes_begin(v[H].buf, n, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *look_up(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SYMBOLS, TABLE, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*w*:look_up", &v[SYMBOLS], &v[TABLE], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    int64_t n = v[SYMBOLS].len / 4;
    if (v[TABLE].len % 2 == 0)
        stvc_raise(STVC_RANGE);
    else if (stvc_holds(&v[SYMBOLS], 4, -1, "symbols") && stvc_holds(&v[OUT], 1, n, "out")) {
        Py_BEGIN_ALLOW_THREADS
        passes_look_up(v[SYMBOLS].buf, n, v[TABLE].buf, v[TABLE].len / 2, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *place(PyObject *self, PyObject *args)
{
    (void)self;
    enum { HEADS, MOVES, NEAR, LOCATION, SCALE, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long units, tokens, first, rows, low, count, candidates;
    if (!PyArg_ParseTuple(args, "(LLLLLLL)y*y*z*w*w*:place", &units, &tokens, &first, &rows, &low,
                          &count, &candidates, &v[HEADS], &v[MOVES], &v[NEAR], &v[LOCATION],
                          &v[SCALE]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 25 }; /* of each: both, and a token's numbers, make less than 2**61 */
    if (units < 0 || units > MOST || tokens < 0 || tokens > MOST || first < 0 || first > tokens ||
        rows < 0 || rows > tokens - first || low < 0 || low > PASSES_COEFFICIENTS || count < 0 ||
        count > PASSES_COEFFICIENTS - low || candidates < 0 || candidates > PASSES_CANDIDATES) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    int64_t found = units * rows * count, moves = units * tokens * PASSES_COEFFICIENTS;
    if (!stvc_holds(&v[HEADS], 4, found * (3 + candidates), "heads") ||
        !stvc_holds(&v[MOVES], 2, moves * candidates, "moves") ||
        (v[NEAR].obj && !stvc_holds(&v[NEAR], 4, found, "near")) ||
        !stvc_holds(&v[LOCATION], 4, found, "location") || !stvc_holds(&v[SCALE], 4, found, "scale"))
        goto done;
    passes_heads a = {units,      tokens,          first,        rows,         (int)low,
                      (int)count, (int)candidates, v[HEADS].buf, v[MOVES].buf, v[NEAR].buf};
    Py_BEGIN_ALLOW_THREADS
    passes_place(&a, v[LOCATION].buf, v[SCALE].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

PyMethodDef stvc_network_functions[] = {
    {"absorb", absorb, METH_VARARGS, "absorb(h float32, added float32 or None, out uint8)"},
    {"look_up", look_up, METH_VARARGS, "look_up(symbols int32, table uint8, out uint8)"},
    {"place", place, METH_VARARGS,
     "place((units, tokens, first, rows, low, count, candidates), heads float32, moves int16, "
     "near int32 or None, location int32, scale int32)"},
    {"mix", mix, METH_VARARGS,
     "mix((units, blocks, queries, keys, rows, heads, width), query uint8, kv uint8, "
     "index int64, position int8, table uint8, level, out uint8)"},
    {"multiply", multiply, METH_VARARGS,
     "multiply((columns, outputs, rounded, offset, top, level, packed, scale float32, "
     "bias float32), x uint8, out uint8 or float32)"},
    {"attention_level", mix_level, METH_NOARGS,
     "attention_level() -> 2: 8-bit dot products, 1: 16-bit ones, 0: none"},
    {"corrections", corrections, METH_VARARGS,
     "corrections(first int8, second int8, last int8, bias int32, bits int8, (C, h, w), "
     "decoded int32, predicted int32, blocks int8, reciprocal, level, out int32)"},
    {"restoration_level", restoration_level, METH_NOARGS,
     "restoration_level() -> 2: 8-bit dot products, 1: 16-bit ones, 0: none"},
    {0}};
