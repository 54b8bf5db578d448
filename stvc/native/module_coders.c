/* The types `Decoder` and `Encoder` of the extension module, and what column coding costs. */
#include "module.h"

#include <string.h>

/* Tables and batch of a call, checked against each other. */
static int open_batch(const Py_buffer *edges, const Py_buffer *starts, const Py_buffer *location,
                      const Py_buffer *scale, range_tables *t, range_batch *b)
{
    if (!stvc_holds(edges, 4, -1, "edges") || !stvc_holds(starts, 4, -1, "starts") ||
        !stvc_holds(location, 8, -1, "location"))
        return 0;
    b->n = location->len / 8;
    b->scale_size = scale->len == b->n ? 1 : 8;
    if (starts->len < 8 || !stvc_holds(scale, b->scale_size, b->n, "scale"))
        return PyErr_Occurred() ? 0 : (stvc_raise(STVC_RANGE), 0);
    b->location = location->buf, b->scale = scale->buf;
    t->edges = edges->buf, t->edge_count = edges->len / 4;
    t->starts = starts->buf, t->count = starts->len / 4 - 1;
    return 1;
}

/* Coefficients of a group, column by column: what all calls have. */
enum {
    C_EDGES, C_STARTS, C_SCORES, C_INFORMATION, C_WIDENING, C_WEIGHT, C_LOCATION, C_SCALE, C_VIEWS
};

static int open_columns(const Py_buffer *v, long long tokens, long long columns, range_tables *t,
                        range_columns *c)
{
    if (tokens < 0 || tokens > INT32_MAX || columns < 0 || columns > COLUMNS_MOST ||
        v[C_STARTS].len < 8) {
        stvc_raise(STVC_RANGE);
        return 0;
    }
    int64_t tables = v[C_STARTS].len / 4 - 1;
    if (!stvc_holds(&v[C_EDGES], 4, -1, "edges") || !stvc_holds(&v[C_STARTS], 4, -1, "starts") ||
        !stvc_holds(&v[C_SCORES], 2, -1, "scores") ||
        !stvc_holds(&v[C_INFORMATION], 4, tables, "information") ||
        !stvc_holds(&v[C_WIDENING], 4, columns, "widening") ||
        !stvc_holds(&v[C_WEIGHT], 4, columns, "weight") ||
        !stvc_holds(&v[C_LOCATION], 4, tokens * columns, "location") ||
        !stvc_holds(&v[C_SCALE], 1, tokens * columns, "scale"))
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
        stvc_holds(&v[SYMBOLS], 4, tokens * columns, "symbols") &&
        stvc_holds(&v[OUT], 1, tokens * columns, "out")) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = columns_correct(&t, &c, v[SYMBOLS].buf, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
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
        stvc_holds(&v[SYMBOLS], 4, tokens * columns, "symbols") &&
        stvc_holds(&v[WIDENINGS], 4, -1, "widenings") &&
        stvc_holds(&v[OUT], 8, columns * (v[WIDENINGS].len / 4), "out")) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = columns_costs(&t, &c, v[SYMBOLS].buf, v[WIDENINGS].buf, v[WIDENINGS].len / 4,
                               v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
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
    stvc_free_object(self);
}

static PyObject *decoder_uniform(PyObject *object, PyObject *args)
{
    Decoder *self = (Decoder *)object;
    unsigned int size;
    uint32_t value = 0;
    if (!PyArg_ParseTuple(args, "I:uniform", &size) || !stvc_enter(&self->busy))
        return NULL;
    stvc_status status = range_decode_uniform(&self->coder, size, &value);
    self->busy = 0;
    return status ? stvc_raise(status) : PyLong_FromUnsignedLong(value);
}

static PyObject *decoder_uniforms(PyObject *object, PyObject *args)
{
    Decoder *self = (Decoder *)object;
    Py_buffer out = {0};
    unsigned int size;
    if (!PyArg_ParseTuple(args, "Iw*:uniforms", &size, &out))
        return NULL;
    PyObject *result = NULL;
    if (stvc_holds(&out, 8, -1, "out") && stvc_enter(&self->busy)) {
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
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(&out, 1);
    return result;
}

static PyObject *decoder_flag(PyObject *object, PyObject *args)
{
    Decoder *self = (Decoder *)object;
    unsigned int edge;
    int value = 0;
    if (!PyArg_ParseTuple(args, "I:flag", &edge) || !stvc_enter(&self->busy))
        return NULL;
    stvc_status status = range_decode_flag(&self->coder, edge, &value);
    self->busy = 0;
    return status ? stvc_raise(status) : PyBool_FromLong(value);
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
        stvc_holds(&v[OUT], 8, b.n, "out") && stvc_enter(&self->busy)) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = range_decode_symbols(&self->coder, &t, &b, v[OUT].buf);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
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
        stvc_holds(&v[OUT], 4, tokens * columns, "out") && stvc_enter(&self->busy)) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = columns_decode(&self->coder, &t, &c, v[OUT].buf);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
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
    stvc_free_object(self);
}

static PyObject *encoder_uniform(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    unsigned int size;
    long long value;
    if (!PyArg_ParseTuple(args, "IL:uniform", &size, &value) || !stvc_enter(&self->busy))
        return NULL;
    stvc_status status = value < 0 || value > UINT32_MAX
                             ? STVC_RANGE
                             : range_encode_uniform(&self->coder, size, (uint32_t)value);
    self->busy = 0;
    return status ? stvc_raise(status) : Py_NewRef(Py_None);
}

static PyObject *encoder_uniforms(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    Py_buffer v = {0};
    unsigned int size;
    if (!PyArg_ParseTuple(args, "Iy*:uniforms", &size, &v))
        return NULL;
    PyObject *result = NULL;
    if (stvc_holds(&v, 8, -1, "values") && stvc_enter(&self->busy)) {
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
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(&v, 1);
    return result;
}

static PyObject *encoder_flag(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    unsigned int edge;
    int value;
    if (!PyArg_ParseTuple(args, "Ip:flag", &edge, &value) || !stvc_enter(&self->busy))
        return NULL;
    stvc_status status = range_encode_flag(&self->coder, edge, value);
    self->busy = 0;
    return status ? stvc_raise(status) : Py_NewRef(Py_None);
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
        stvc_holds(&v[SYMBOLS], 8, b.n, "symbols") && stvc_enter(&self->busy)) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = range_encode_symbols(&self->coder, &t, &b, v[SYMBOLS].buf);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
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
        stvc_holds(&v[SYMBOLS], 4, tokens * columns, "symbols") && stvc_enter(&self->busy)) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = columns_encode(&self->coder, &t, &c, v[SYMBOLS].buf);
        Py_END_ALLOW_THREADS
        self->busy = 0;
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
    return result;
}

static PyObject *encoder_words(PyObject *object, PyObject *args)
{
    Encoder *self = (Encoder *)object;
    (void)args;
    uint32_t *words;
    size_t count;
    if (!stvc_enter(&self->busy))
        return NULL;
    stvc_status status = range_encoder_words(&self->coder, &words, &count);
    self->busy = 0;
    if (status)
        return stvc_raise(status);
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
PyType_Spec stvc_decoder_spec = {"stvc.native._kernels.Decoder", sizeof(Decoder), 0,
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
PyType_Spec stvc_encoder_spec = {"stvc.native._kernels.Encoder", sizeof(Encoder), 0,
                                   Py_TPFLAGS_DEFAULT, encoder_slots};

PyMethodDef stvc_coder_functions[] = {
    {"corrected_scales", corrected_scales, METH_VARARGS,
     "corrected_scales(as Decoder.columns, symbols int32, out uint8)"},
    {"column_costs", column_costs, METH_VARARGS,
     "column_costs(as Decoder.columns, costs for scores, symbols int32, widenings int32, "
     "out int64)"},
    {0}};
