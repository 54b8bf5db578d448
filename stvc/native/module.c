/* The extension module `stvc.native._kernels`: arrays in, arrays out, no GIL while a kernel works.
 *
 * Callers hand over contiguous arrays of the kernel's own types, results included; here their
 * sizes are checked against each other, so that the kernels can rely on them. */
#include "module.h"

#include <string.h>

#ifndef STVC_SOURCES
#define STVC_SOURCES ""
#endif

static PyObject *impossible; /* exception: bits that no encoder writes */

static PyObject *raise(stvc_status status)
{
    switch (status) {
    case STVC_MEMORY:
        return PyErr_NoMemory();
    case STVC_IMPOSSIBLE:
        PyErr_SetString(impossible, "no encoder writes these bits");
        return NULL;
    default:
        PyErr_SetString(PyExc_ValueError, "an argument is outside of what it may be");
        return NULL;
    }
}

/* Whether a buffer holds `count` aligned items of `size` bytes; any number if count < 0. */
static int holds(const Py_buffer *view, size_t size, int64_t count, const char *name)
{
    int fits = count < 0 ? view->len % (Py_ssize_t)size == 0
                         : (uint64_t)count <= PY_SSIZE_T_MAX / size &&
                               view->len == (Py_ssize_t)(count * size);
    if (fits && (uintptr_t)view->buf % size == 0)
        return 1;
    PyErr_Format(PyExc_ValueError, "%s has %zd bytes, want %lld aligned items of %zd", name,
                 view->len, (long long)count, (Py_ssize_t)size);
    return 0;
}

static void release(Py_buffer *views, int count)
{
    for (int k = 0; k < count; k++)
        if (views[k].obj)
            PyBuffer_Release(&views[k]);
}

PyObject *stvc_raise(stvc_status status)
{
    return raise(status);
}

int stvc_holds(const Py_buffer *view, size_t size, int64_t count, const char *name)
{
    return holds(view, size, count, name);
}

void stvc_release(Py_buffer *views, int count)
{
    release(views, count);
}

/* Marks an object while it works without the GIL, so that no other thread enters it. */
static int enter(int *busy)
{
    if (*busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread works with this object");
        return 0;
    }
    return *busy = 1;
}

int stvc_enter(int *busy)
{
    return enter(busy);
}

static void free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release_memory = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release_memory(self);
    Py_DECREF(type);
}

void stvc_free_object(PyObject *self)
{
    free_object(self);
}

/* ---- range coder ---- */

/* Tables and batch of a call, checked against each other. */
static int open_batch(const Py_buffer *edges, const Py_buffer *starts, const Py_buffer *location,
                      const Py_buffer *scale, range_tables *t, range_batch *b)
{
    if (!holds(edges, 4, -1, "edges") || !holds(starts, 4, -1, "starts") ||
        !holds(location, 8, -1, "location"))
        return 0;
    b->n = location->len / 8;
    b->scale_size = scale->len == b->n ? 1 : 8;
    if (starts->len < 8 || !holds(scale, b->scale_size, b->n, "scale"))
        return PyErr_Occurred() ? 0 : (raise(STVC_RANGE), 0);
    b->location = location->buf, b->scale = scale->buf;
    t->edges = edges->buf, t->edge_count = edges->len / 4;
    t->starts = starts->buf, t->count = starts->len / 4 - 1;
    return 1;
}

/* Coefficients of a group, column by column: what all calls have. */
enum { C_EDGES, C_STARTS, C_SCORES, C_INFORMATION, C_WIDENING, C_WEIGHT, C_LOCATION, C_SCALE, C_VIEWS };

static int open_columns(const Py_buffer *v, long long tokens, long long columns, range_tables *t,
                        range_columns *c)
{
    if (tokens < 0 || tokens > INT32_MAX || columns < 0 || columns > COLUMNS_MOST ||
        v[C_STARTS].len < 8) {
        raise(STVC_RANGE);
        return 0;
    }
    int64_t tables = v[C_STARTS].len / 4 - 1;
    if (!holds(&v[C_EDGES], 4, -1, "edges") || !holds(&v[C_STARTS], 4, -1, "starts") ||
        !holds(&v[C_SCORES], 2, -1, "scores") ||
        !holds(&v[C_INFORMATION], 4, tables, "information") ||
        !holds(&v[C_WIDENING], 4, columns, "widening") ||
        !holds(&v[C_WEIGHT], 4, columns, "weight") ||
        !holds(&v[C_LOCATION], 4, tokens * columns, "location") ||
        !holds(&v[C_SCALE], 1, tokens * columns, "scale"))
        return 0;
    *t = (range_tables){v[C_EDGES].buf, v[C_EDGES].len / 4, v[C_STARTS].buf, tables};
    *c = (range_columns){tokens,
                         columns,
                         v[C_LOCATION].buf,
                         v[C_SCALE].buf,
                         v[C_WIDENING].buf,
                         v[C_WEIGHT].buf,
                         v[C_SCORES].buf,
                         v[C_SCORES].len / 2,
                         v[C_INFORMATION].buf};
    return 1;
}

/* Arguments of a call: the shape, the arrays that all have, and more as the format says. */
#define COLUMN_VIEWS "(LL)y*y*y*y*y*y*y*y*"
#define PARSE_COLUMNS(args, more, ...)                                                            \
    PyArg_ParseTuple(args, COLUMN_VIEWS more, &tokens, &columns, &v[C_EDGES], &v[C_STARTS],        \
                     &v[C_SCORES], &v[C_INFORMATION], &v[C_WIDENING], &v[C_WEIGHT],               \
                     &v[C_LOCATION], &v[C_SCALE], __VA_ARGS__)

static PyObject *corrected_scales(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SYMBOLS = C_VIEWS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long tokens, columns;
    range_tables t;
    range_columns c;
    PyObject *result = NULL;
    if (PARSE_COLUMNS(args, "y*w*:corrected_scales", &v[SYMBOLS], &v[OUT]) &&
        open_columns(v, tokens, columns, &t, &c) &&
        holds(&v[SYMBOLS], 4, tokens * columns, "symbols") &&
        holds(&v[OUT], 1, tokens * columns, "out")) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = columns_correct(&t, &c, v[SYMBOLS].buf, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(v, VIEWS);
    return result;
}

static PyObject *column_costs(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SYMBOLS = C_VIEWS, WIDENINGS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long tokens, columns;
    range_tables t;
    range_columns c;
    PyObject *result = NULL;
    if (PARSE_COLUMNS(args, "y*y*w*:column_costs", &v[SYMBOLS], &v[WIDENINGS], &v[OUT]) &&
        open_columns(v, tokens, columns, &t, &c) &&
        holds(&v[SYMBOLS], 4, tokens * columns, "symbols") &&
        holds(&v[WIDENINGS], 4, -1, "widenings") &&
        holds(&v[OUT], 8, columns * (v[WIDENINGS].len / 4), "out")) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = columns_costs(&t, &c, v[SYMBOLS].buf, v[WIDENINGS].buf, v[WIDENINGS].len / 4,
                               v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(v, VIEWS);
    return result;
}

static PyObject *decoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer payload;
    if (kwargs && PyDict_Size(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Decoder takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "y*:Decoder", &payload))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Decoder *self = (Decoder *)alloc(type, 0);
    if (!self) {
        PyBuffer_Release(&payload);
        return NULL;
    }
    self->payload = payload;
    self->busy = 0;
    range_decoder_start(&self->coder, payload.buf, (size_t)payload.len);
    return (PyObject *)self;
}

static void decoder_dealloc(PyObject *self)
{
    PyBuffer_Release(&((Decoder *)self)->payload);
    free_object(self);
}

static PyObject *decoder_uniform(PyObject *object, PyObject *args)
{
    Decoder *self = (Decoder *)object;
    unsigned int size;
    uint32_t value = 0;
    if (!PyArg_ParseTuple(args, "I:uniform", &size) || !enter(&self->busy))
        return NULL;
    stvc_status status = range_decode_uniform(&self->coder, size, &value);
    self->busy = 0;
    return status ? raise(status) : PyLong_FromUnsignedLong(value);
}

static PyObject *decoder_uniforms(PyObject *object, PyObject *args)
{
    Decoder *self = (Decoder *)object;
    Py_buffer out = {0};
    unsigned int size;
    if (!PyArg_ParseTuple(args, "Iw*:uniforms", &size, &out))
        return NULL;
    PyObject *result = NULL;
    if (holds(&out, 8, -1, "out") && enter(&self->busy)) {
        stvc_status status = STVC_OK;
        int64_t *values = out.buf, n = out.len / 8;
        Py_BEGIN_ALLOW_THREADS
        for (int64_t i = 0; !status && i < n; i++) {
            uint32_t value = 0;
            status = range_decode_uniform(&self->coder, size, &value);
            values[i] = value;
        }
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(&out, 1);
    return result;
}

static PyObject *decoder_flag(PyObject *object, PyObject *args)
{
    Decoder *self = (Decoder *)object;
    unsigned int edge;
    int value = 0;
    if (!PyArg_ParseTuple(args, "I:flag", &edge) || !enter(&self->busy))
        return NULL;
    stvc_status status = range_decode_flag(&self->coder, edge, &value);
    self->busy = 0;
    return status ? raise(status) : PyBool_FromLong(value);
}

static PyObject *decoder_symbols(PyObject *object, PyObject *args)
{
    Decoder *self = (Decoder *)object;
    enum { EDGES, STARTS, LOCATION, SCALE, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*y*y*w*:symbols", &v[EDGES], &v[STARTS], &v[LOCATION],
                          &v[SCALE], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    range_tables t;
    range_batch b;
    if (open_batch(&v[EDGES], &v[STARTS], &v[LOCATION], &v[SCALE], &t, &b) &&
        holds(&v[OUT], 8, b.n, "out") && enter(&self->busy)) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = range_decode_symbols(&self->coder, &t, &b, v[OUT].buf);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(v, VIEWS);
    return result;
}

static PyObject *decoder_columns(PyObject *object, PyObject *args)
{
    Decoder *self = (Decoder *)object;
    enum { OUT = C_VIEWS, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long tokens, columns;
    range_tables t;
    range_columns c;
    PyObject *result = NULL;
    if (PARSE_COLUMNS(args, "w*:columns", &v[OUT]) &&
        open_columns(v, tokens, columns, &t, &c) &&
        holds(&v[OUT], 4, tokens * columns, "out") && enter(&self->busy)) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = columns_decode(&self->coder, &t, &c, v[OUT].buf);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(v, VIEWS);
    return result;
}

static PyObject *encoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_Size(args) || (kwargs && PyDict_Size(kwargs))) {
        PyErr_SetString(PyExc_TypeError, "Encoder takes no arguments");
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Encoder *self = (Encoder *)alloc(type, 0);
    if (!self)
        return NULL;
    self->busy = 0;
    range_encoder_start(&self->coder);
    return (PyObject *)self;
}

static void encoder_dealloc(PyObject *self)
{
    range_encoder_free(&((Encoder *)self)->coder);
    free_object(self);
}

static PyObject *encoder_uniform(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    unsigned int size;
    long long value;
    if (!PyArg_ParseTuple(args, "IL:uniform", &size, &value) || !enter(&self->busy))
        return NULL;
    stvc_status status = value < 0 || value > UINT32_MAX
                             ? STVC_RANGE
                             : range_encode_uniform(&self->coder, size, (uint32_t)value);
    self->busy = 0;
    return status ? raise(status) : Py_NewRef(Py_None);
}

static PyObject *encoder_uniforms(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    Py_buffer v = {0};
    unsigned int size;
    if (!PyArg_ParseTuple(args, "Iy*:uniforms", &size, &v))
        return NULL;
    PyObject *result = NULL;
    if (holds(&v, 8, -1, "values") && enter(&self->busy)) {
        stvc_status status = STVC_OK;
        const int64_t *values = v.buf;
        int64_t n = v.len / 8;
        Py_BEGIN_ALLOW_THREADS
        for (int64_t i = 0; !status && i < n; i++)
            status = values[i] < 0 || values[i] > UINT32_MAX
                         ? STVC_RANGE
                         : range_encode_uniform(&self->coder, size, (uint32_t)values[i]);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(&v, 1);
    return result;
}

static PyObject *encoder_flag(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    unsigned int edge;
    int value;
    if (!PyArg_ParseTuple(args, "Ip:flag", &edge, &value) || !enter(&self->busy))
        return NULL;
    stvc_status status = range_encode_flag(&self->coder, edge, value);
    self->busy = 0;
    return status ? raise(status) : Py_NewRef(Py_None);
}

static PyObject *encoder_symbols(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    enum { EDGES, STARTS, LOCATION, SCALE, SYMBOLS, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*:symbols", &v[EDGES], &v[STARTS], &v[LOCATION],
                          &v[SCALE], &v[SYMBOLS]))
        return NULL;
    PyObject *result = NULL;
    range_tables t;
    range_batch b;
    if (open_batch(&v[EDGES], &v[STARTS], &v[LOCATION], &v[SCALE], &t, &b) &&
        holds(&v[SYMBOLS], 8, b.n, "symbols") && enter(&self->busy)) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = range_encode_symbols(&self->coder, &t, &b, v[SYMBOLS].buf);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(v, VIEWS);
    return result;
}

static PyObject *encoder_columns(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    enum { SYMBOLS = C_VIEWS, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long tokens, columns;
    range_tables t;
    range_columns c;
    PyObject *result = NULL;
    if (PARSE_COLUMNS(args, "y*:columns", &v[SYMBOLS]) &&
        open_columns(v, tokens, columns, &t, &c) &&
        holds(&v[SYMBOLS], 4, tokens * columns, "symbols") && enter(&self->busy)) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = columns_encode(&self->coder, &t, &c, v[SYMBOLS].buf);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(v, VIEWS);
    return result;
}

static PyObject *encoder_words(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    (void)args;
    uint32_t *words;
    size_t count;
    if (!enter(&self->busy))
        return NULL;
    stvc_status status = range_encoder_words(&self->coder, &words, &count);
    self->busy = 0;
    if (status)
        return raise(status);
    for (size_t k = 0; k < count; k++) { /* little-endian, whatever the machine is */
        uint32_t word = words[k];
        unsigned char *bytes = (unsigned char *)&words[k];
        for (int byte = 0; byte < 4; byte++)
            bytes[byte] = (unsigned char)(word >> 8 * byte);
    }
    PyObject *result = PyBytes_FromStringAndSize((const char *)words, (Py_ssize_t)(4 * count));
    range_words_free(words);
    return result;
}

static PyMethodDef decoder_methods[] = {
    {"uniform", decoder_uniform, METH_VARARGS, "uniform(size) -> int"},
    {"uniforms", decoder_uniforms, METH_VARARGS, "uniforms(size, out int64)"},
    {"flag", decoder_flag, METH_VARARGS, "flag(edge) -> bool"},
    {"symbols", decoder_symbols, METH_VARARGS,
     "symbols(edges uint32, starts int32, location int64, scale uint8 or int64, out int64)"},
    {"columns", decoder_columns, METH_VARARGS,
     "columns((tokens, columns), edges uint32, starts int32, scores int16, information int32, "
     "widening int32, weight int32, location int32, scale uint8, out int32)"},
    {"mixture", stvc_decoder_mixture, METH_VARARGS,
     "mixture(location, inverse, copies, weight, width, curve, out, all int64)"},
    {"traced", stvc_decoder_traced, METH_VARARGS,
     "traced(as mixture, then whole, first, rule, closing, constants int64, usable bool, "
     "group, masses, counts of values, counts of coefficients int64)"},
    {0}};
static PyType_Slot decoder_slots[] = {{Py_tp_new, decoder_new},
                                      {Py_tp_dealloc, decoder_dealloc},
                                      {Py_tp_methods, decoder_methods},
                                      {Py_tp_doc, "Range decoder of the bytes of one payload."},
                                      {0}};
static PyType_Spec decoder_spec = {"stvc.native._kernels.Decoder", sizeof(Decoder), 0,
                                   Py_TPFLAGS_DEFAULT, decoder_slots};

static PyMethodDef encoder_methods[] = {
    {"uniform", encoder_uniform, METH_VARARGS, "uniform(size, value)"},
    {"uniforms", encoder_uniforms, METH_VARARGS, "uniforms(size, values int64)"},
    {"flag", encoder_flag, METH_VARARGS, "flag(edge, value)"},
    {"symbols", encoder_symbols, METH_VARARGS,
     "symbols(edges uint32, starts int32, location int64, scale uint8 or int64, symbols int64)"},
    {"columns", encoder_columns, METH_VARARGS,
     "columns(as Decoder.columns, scale as corrected, symbols int32)"},
    {"unit", stvc_encoder_unit, METH_VARARGS,
     "unit((components, tokens, columns, located), edges uint32, starts int32, scores int16, "
     "information int32, symbols int32, location int32, scale uint8, widening int32, "
     "weight int32, stops int64)"},
    {"mixture", stvc_encoder_mixture, METH_VARARGS, "mixture(as Decoder.mixture, levels int64)"},
    {"traced", stvc_encoder_traced, METH_VARARGS, "traced(as Decoder.traced, with levels int64)"},
    {"words", encoder_words, METH_NOARGS, "words() -> bytes, little-endian"},
    {0}};
static PyType_Slot encoder_slots[] = {{Py_tp_new, encoder_new},
                                      {Py_tp_dealloc, encoder_dealloc},
                                      {Py_tp_methods, encoder_methods},
                                      {Py_tp_doc, "Range encoder of one payload."},
                                      {0}};
static PyType_Spec encoder_spec = {"stvc.native._kernels.Encoder", sizeof(Encoder), 0,
                                   Py_TPFLAGS_DEFAULT, encoder_slots};

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
        raise(STVC_RANGE);
        goto done;
    }
    int64_t blocks = components * down * across, pixels = blocks * REST_BLOCK * REST_BLOCK;
    if (!holds(&v[FIRST], 1, REST_FIRST * REST_INPUTS, "first") ||
        !holds(&v[SECOND], 1, REST_SECOND * REST_FIRST, "second") ||
        !holds(&v[LAST], 1, REST_SECOND, "last") || !holds(&v[BIAS], 4, REST_NUMBERS, "bias") ||
        !holds(&v[BITS], 1, REST_NUMBERS, "bits") || !holds(&v[DECODED], 4, pixels, "decoded") ||
        !holds(&v[PREDICTED], 4, pixels, "predicted") ||
        !holds(&v[BLOCKS], 1, blocks * REST_BLOCK_INPUTS, "blocks") ||
        !holds(&v[OUT], 4, pixels, "out"))
        goto done;
    rest_network network = {v[FIRST].buf, v[SECOND].buf, v[LAST].buf, v[BIAS].buf, v[BITS].buf};
    rest_unit unit = {components,       down,          across,    v[DECODED].buf,
                      v[PREDICTED].buf, v[BLOCKS].buf, reciprocal};
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = rest_corrections(&network, &unit, level, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? raise(status) : Py_NewRef(Py_None);
done:
    release(v, VIEWS);
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
        raise(STVC_RANGE);
        goto done;
    }
    int64_t asked = units * blocks * queries * width;
    if (!holds(&v[QUERY], 1, asked, "query") ||
        !holds(&v[KV], 1, units * rows * 2 * width, "kv") ||
        !holds(&v[INDEX], 8, blocks * keys, "index") ||
        !holds(&v[POSITION], 1, keys * width, "position") ||
        !holds(&v[TABLE], 1, ATTENTION_STEPS, "table") || !holds(&v[OUT], 1, asked, "out"))
        goto done;
    a = (attention){units,     blocks,       queries,         keys,
                    rows,      heads,        width,           v[QUERY].buf,
                    v[KV].buf, v[INDEX].buf, v[POSITION].buf, v[TABLE].buf};
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = attention_mix(&a, level, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? raise(status) : Py_NewRef(Py_None);
done:
    release(v, VIEWS);
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
        raise(STVC_RANGE);
        goto done;
    }
    int64_t padded = (outputs + INT8_LANES - 1) / INT8_LANES * INT8_LANES;
    int64_t words = (columns + 3) / 4;
    if (!holds(&v[PACKED], 1, padded * words * (level >= DOTS_8 ? 4 : 8), "packed") ||
        !holds(&v[SCALE], 4, padded, "scale") || !holds(&v[BIAS], 4, padded, "bias") ||
        !holds(&v[X], 1, v[X].len / columns * columns, "x"))
        goto done;
    p.rows = v[X].len / columns, p.columns = columns, p.outputs = outputs;
    p.x = v[X].buf, p.packed = v[PACKED].buf, p.scale = v[SCALE].buf, p.bias = v[BIAS].buf;
    if (!holds(&v[OUT], p.rounded ? 1 : 4, p.rows * outputs, "out"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = int8_multiply(&p, level, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? raise(status) : Py_NewRef(Py_None);
done:
    release(v, VIEWS);
    return result;
}

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
        raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = v[OUT].len / 4 / bands;
    const int wide = v[PLANES].len == v[OUT].len;
    if (!holds(&v[MATRIX], 8, bands * bands, "matrix") || !holds(&v[OUT], 4, bands * size, "out") ||
        !holds(&v[PLANES], wide ? 4 : 2, bands * size, "planes"))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    bands_mix(v[MATRIX].buf, bands, size, v[PLANES].buf, wide, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    release(v, VIEWS);
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
        raise(STVC_RANGE);
        goto done;
    }
    const int64_t rows = v[IN].len / 4 / width / SIDE, size = rows * width * SIDE;
    if (!holds(&v[FORWARD], 8, PARTS, "forward") || !holds(&v[INVERSE], 8, PARTS, "inverse") ||
        !holds(&v[ORDER], 1, TRANSFORM_BLOCK, "order") || !holds(&v[IN], 4, size, "in") ||
        !holds(&v[OUT], 4, size, "out"))
        goto done;
    block_transform t = {v[FORWARD].buf, v[INVERSE].buf, v[ORDER].buf};
    for (int k = 0; k < TRANSFORM_BLOCK; k++)
        if (t.order[k] >= TRANSFORM_BLOCK) {
            raise(STVC_RANGE);
            goto done;
        }
    Py_BEGIN_ALLOW_THREADS
    (back ? blocks_inverse : blocks_forward)(&t, v[IN].buf, rows, width, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    release(v, VIEWS);
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
    if (!holds(&v[FORWARD], 8, PARTS, "forward") || !holds(&v[INVERSE], 8, PARTS, "inverse") ||
        !holds(&v[HIDDEN], 1, count * TRANSFORM_BLOCK, "hidden") ||
        !holds(&v[RESIDUAL], 8, size, "residual") || !holds(&v[STEPS], 8, count, "steps") ||
        !holds(&v[OUT], 8, size, "out"))
        goto done;
    block_transform t = {v[FORWARD].buf, v[INVERSE].buf, v[ORDER].buf};
    Py_BEGIN_ALLOW_THREADS
    blocks_fill(&t, v[RESIDUAL].buf, v[HIDDEN].buf, v[STEPS].buf, components, count, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    release(v, VIEWS);
    return result;
}

/* Components of arrays of whole tokens; -1 if these do not fit each other. */
static int64_t components_of(const Py_buffer *steps, const Py_buffer *levels)
{
    const int64_t tokens = steps->len / 8, all = levels->len / 4 / TRANSFORM_BLOCK;
    if (!holds(steps, 8, -1, "steps") || !tokens ||
        !holds(levels, 4, all / tokens * tokens * TRANSFORM_BLOCK, "levels"))
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
            raise(STVC_RANGE);
    } else if (holds(&v[RESIDUAL], 8, components * tokens * TRANSFORM_BLOCK, "residual")) {
        Py_BEGIN_ALLOW_THREADS
        levels_quantize(v[RESIDUAL].buf, v[STEPS].buf, components, tokens, dead_zone, most,
                        v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    release(v, VIEWS);
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
            raise(STVC_RANGE);
    } else if (holds(&v[SYMBOLS], 4, components * tokens * TRANSFORM_BLOCK, "symbols")) {
        const int64_t toward[2] = {first, others};
        Py_BEGIN_ALLOW_THREADS
        levels_dequantize(v[SYMBOLS].buf, v[STEPS].buf, components, tokens, toward, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    release(v, VIEWS);
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
        raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = count * height * width;
    if (!holds(&v[PLANES], 4, size, "planes") ||
        !holds(&v[FILTERS], 4, WARP_UNITS * WARP_TAPS, "filters") ||
        !holds(&v[OUT], 4, size, "out"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = planes_warp(v[PLANES].buf, v[FILTERS].buf, count, height, width, down, across,
                         v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? raise(status) : Py_NewRef(Py_None);
done:
    release(v, VIEWS);
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
        raise(STVC_RANGE);
    else if (holds(&v[DAYS], 4, height * width, "days") &&
             holds(&v[OUT], 4, height / SIDE * (width / SIDE), "out")) {
        Py_BEGIN_ALLOW_THREADS
        block_ages(v[DAYS].buf, height, width, today, absolute, never, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    release(v, VIEWS);
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
        raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = v[2].len / 4;
    static const uint8_t whole[VIEWS] = {1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0};
    for (int k = 0; k < VIEWS; k++)
        if (!holds(&v[k], 4, whole[k] ? bands * size : size, "a reference"))
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
    release(v, VIEWS);
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
        raise(STVC_RANGE);
        goto done;
    }
    static const uint8_t whole[VIEWS] = {1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0};
    for (int k = 0; k < VIEWS; k++)
        if (k != HIDDEN && !holds(&v[k], 4,
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
    result = status ? raise(status) : Py_NewRef(Py_None);
done:
    release(v, VIEWS);
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
        raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = bands * height * width, blocks = v[INSTEAD].len / 4 / bands / BLOCK;
    if (!holds(&v[PIXELS], 4, size, "pixels") ||
        !holds(&v[CONCEALED], 1, height * width, "concealed") ||
        !holds(&v[INSTEAD], 4, bands * blocks * BLOCK, "instead") ||
        !holds(&v[OUT], 2, size, "out"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = pixels_show(v[PIXELS].buf, v[CONCEALED].buf, bands, height, width, v[INSTEAD].buf,
                         blocks, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? raise(status) : Py_NewRef(Py_None);
done:
    release(v, VIEWS);
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
        raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = components * tokens * PREDICT_BLOCK;
    prediction p = {components,    tokens,         bits,          {NULL},
                    v[MEAN].buf, v[WEIGHTS].buf, v[OFFSETS].buf};
    for (int k = 0; k < PREDICT_PLANES; k++) {
        p.planes[k] = v[PLANES + k].buf;
        if (v[PLANES + k].obj && !holds(&v[PLANES + k], 4, size, "plane"))
            goto done;
    }
    if (!holds(&v[MEAN], 4, components * PREDICT_BLOCK, "mean") ||
        !holds(&v[WEIGHTS], 4, components * PREDICT_PLANES * PREDICT_BLOCK, "weights") ||
        !holds(&v[OFFSETS], 8, components, "offsets") || !holds(&v[OUT], 4, size, "out"))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    predict_units(&p, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    release(v, VIEWS);
    return result;
}

/* ---- registration ---- */

static PyObject *blur(PyObject *self, PyObject *args)
{
    (void)self;
    enum { PLANE, TAPS, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long height, width;
    if (!PyArg_ParseTuple(args, "y*y*(LL)w*:blur", &v[PLANE], &v[TAPS], &height, &width, &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 25 };
    if (height < 1 || height > MOST || width < 1 || width > MOST)
        raise(STVC_RANGE);
    else if (holds(&v[PLANE], 4, height * width, "plane") &&
             holds(&v[TAPS], 4, BLUR_TAPS, "taps") && holds(&v[OUT], 4, height * width, "out")) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = plane_blur(v[PLANE].buf, v[TAPS].buf, height, width, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(v, VIEWS);
    return result;
}

static PyObject *equations(PyObject *self, PyObject *args)
{
    (void)self;
    enum { TARGET, MOVED, WEIGHT, OUT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long height, width;
    if (!PyArg_ParseTuple(args, "y*y*y*(LL)w*:equations", &v[TARGET], &v[MOVED], &v[WEIGHT],
                          &height, &width, &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 25 };
    if (height < 1 || height > MOST || width < 1 || width > MOST)
        raise(STVC_RANGE);
    else if (holds(&v[TARGET], 4, height * width, "target") &&
             holds(&v[MOVED], 4, height * width, "moved") &&
             holds(&v[WEIGHT], 1, height * width, "weight") && holds(&v[OUT], 8, 5, "out")) {
        registration r = {height, width, v[TARGET].buf, v[MOVED].buf, v[WEIGHT].buf};
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = registration_equations(&r, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? raise(status) : Py_NewRef(Py_None);
    }
    release(v, VIEWS);
    return result;
}

/* ---- choice of predictions ---- */

static PyObject *profile_costs(PyObject *self, PyObject *args)
{
    (void)self;
    enum { TARGET, PLANES, MEAN = PLANES + CHOICE_PLANES, PROBE, WEIGHTS, COST, LIFT, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long components, tokens, step, most;
    if (!PyArg_ParseTuple(args, "(LLLL)y*z*z*z*z*y*y*y*w*w*:profile_costs", &components,
                          &tokens, &step, &most, &v[TARGET], &v[PLANES], &v[PLANES + 1],
                          &v[PLANES + 2], &v[PLANES + 3], &v[MEAN], &v[PROBE], &v[WEIGHTS],
                          &v[COST], &v[LIFT]))
        return NULL;
    PyObject *result = NULL;
    enum { MOST = 1 << 25, ROW = CHOICE_FREQUENCIES * CHOICE_PLANES };
    const int64_t probes = v[PROBE].len / 8, rows = v[WEIGHTS].len / 4 / ROW;
    if (components < 0 || components > MOST || tokens < 0 || tokens > MOST || step < 1 ||
        step > CHOICE_STEP || most < 0 || most > CHOICE_STEP || probes < 1 ||
        probes > CHOICE_PROBES || rows < 1 || rows > CHOICE_ROWS) {
        raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = components * tokens * CHOICE_FREQUENCIES;
    choice c = {components, tokens, probes, rows, step, most, v[TARGET].buf, {NULL},
                v[MEAN].buf, v[PROBE].buf, v[WEIGHTS].buf};
    for (int k = 0; k < CHOICE_PLANES; k++) {
        c.planes[k] = v[PLANES + k].buf;
        if (v[PLANES + k].obj && !holds(&v[PLANES + k], 4, size, "plane"))
            goto done;
    }
    if (!holds(&v[TARGET], 4, size, "target") ||
        !holds(&v[MEAN], 4, components * CHOICE_FREQUENCIES, "mean") ||
        !holds(&v[PROBE], 8, probes, "probes") || !holds(&v[WEIGHTS], 4, rows * ROW, "weights") ||
        !holds(&v[COST], 8, components * rows, "cost") ||
        !holds(&v[LIFT], 4, components * rows, "lift"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = choice_costs(&c, v[COST].buf, v[LIFT].buf);
    Py_END_ALLOW_THREADS
    result = status ? raise(status) : Py_NewRef(Py_None);
done:
    release(v, VIEWS);
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
    if (holds(&v[H], 4, -1, "h") && holds(&v[OUT], 1, n, "out") &&
        (!v[ADDED].obj || holds(&v[ADDED], 4, n, "added"))) {
        Py_BEGIN_ALLOW_THREADS
        if (v[ADDED].obj)
            passes_absorb(v[H].buf, v[ADDED].buf, n, v[OUT].buf);
        else
            passes_begin(v[H].buf, n, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    release(v, VIEWS);
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
        raise(STVC_RANGE);
    else if (holds(&v[SYMBOLS], 4, -1, "symbols") && holds(&v[OUT], 1, n, "out")) {
        Py_BEGIN_ALLOW_THREADS
        passes_look_up(v[SYMBOLS].buf, n, v[TABLE].buf, v[TABLE].len / 2, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    release(v, VIEWS);
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
        raise(STVC_RANGE);
        goto done;
    }
    int64_t found = units * rows * count, moves = units * tokens * PASSES_COEFFICIENTS;
    if (!holds(&v[HEADS], 4, found * (3 + candidates), "heads") ||
        !holds(&v[MOVES], 2, moves * candidates, "moves") ||
        (v[NEAR].obj && !holds(&v[NEAR], 4, found, "near")) ||
        !holds(&v[LOCATION], 4, found, "location") || !holds(&v[SCALE], 4, found, "scale"))
        goto done;
    passes_heads a = {units,      tokens,          first,        rows,         (int)low,
                      (int)count, (int)candidates, v[HEADS].buf, v[MOVES].buf, v[NEAR].buf};
    Py_BEGIN_ALLOW_THREADS
    passes_place(&a, v[LOCATION].buf, v[SCALE].buf);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    release(v, VIEWS);
    return result;
}

static PyMethodDef functions[] = {
    {"corrected_scales", corrected_scales, METH_VARARGS,
     "corrected_scales(as Decoder.columns, symbols int32, out uint8)"},
    {"column_costs", column_costs, METH_VARARGS,
     "column_costs(as Decoder.columns, costs for scores, symbols int32, widenings int32, "
     "out int64)"},
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
    {"blur", blur, METH_VARARGS, "blur(plane float32, taps float32, (height, width), out float32)"},
    {"equations", equations, METH_VARARGS,
     "equations(target float32, moved float32, weight bool, (height, width), out float64)"},
    {"profile_costs", profile_costs, METH_VARARGS,
     "profile_costs((components, tokens, step, most), target int32, four planes int32 or None, "
     "mean float32, probes int64, weights float32, cost float64, lift float32)"},
    {"attention_level", mix_level, METH_NOARGS,
     "attention_level() -> 2: 8-bit dot products, 1: 16-bit ones, 0: none"},
    {"corrections", corrections, METH_VARARGS,
     "corrections(first int8, second int8, last int8, bias int32, bits int8, (C, h, w), "
     "decoded int32, predicted int32, blocks int8, reciprocal, level, out int32)"},
    {"restoration_level", restoration_level, METH_NOARGS,
     "restoration_level() -> 2: 8-bit dot products, 1: 16-bit ones, 0: none"},
    {0}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_kernels",
                                        .m_doc = "Native kernels; see stvc.native.", .m_size = -1,
                                        .m_methods = functions};

PyMODINIT_FUNC PyInit__kernels(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    impossible = PyErr_NewException("stvc.native._kernels.ImpossibleBits", NULL, NULL);
    PyObject *walk = PyType_FromSpec(&stvc_mask_walk_spec), *decoder = PyType_FromSpec(&decoder_spec),
             *encoder = PyType_FromSpec(&encoder_spec),
             *numbers = PyType_FromSpec(&stvc_numbers_spec),
             *pixels = PyType_FromSpec(&stvc_pixel_walk_spec);
    if (!impossible || !walk || !decoder || !encoder || !numbers || !pixels ||
        PyModule_AddFunctions(module, stvc_unit_functions) ||
        PyModule_AddFunctions(module, stvc_pixel_functions) ||
        PyModule_AddFunctions(module, stvc_walk_functions) ||
        PyModule_AddFunctions(module, stvc_mixture_functions) ||
        PyModule_AddFunctions(module, stvc_truncation_functions) ||
        PyModule_AddObjectRef(module, "ImpossibleBits", impossible) ||
        PyModule_AddObjectRef(module, "MaskWalk", walk) ||
        PyModule_AddObjectRef(module, "Decoder", decoder) ||
        PyModule_AddObjectRef(module, "Encoder", encoder) ||
        PyModule_AddObjectRef(module, "Numbers", numbers) ||
        PyModule_AddObjectRef(module, "PixelWalk", pixels) ||
        PyModule_AddStringConstant(module, "SOURCES", STVC_SOURCES)) {
        Py_DECREF(module);
        module = NULL;
    }
    Py_XDECREF(walk);
    Py_XDECREF(decoder);
    Py_XDECREF(encoder);
    Py_XDECREF(numbers);
    Py_XDECREF(pixels);
    return module;
}
