/* The extension module `stvc.native._kernels`: arrays in, arrays out, no GIL while a kernel works.
 *
 * Callers hand over contiguous arrays of the kernel's own types, results included; here their
 * sizes are checked against each other, so that the kernels can rely on them. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "kernels.h"

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

/* Marks an object while it works without the GIL, so that no other thread enters it. */
static int enter(int *busy)
{
    if (*busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread works with this object");
        return 0;
    }
    return *busy = 1;
}

static void free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release_memory = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release_memory(self);
    Py_DECREF(type);
}

/* ---- masks ---- */

enum { OF_WEIGHTS, OF_FREQUENCIES, OF_BEFORE, OF_SYMBOLS, MASK_VIEWS };

typedef struct {
    PyObject_HEAD
    Py_buffer views[MASK_VIEWS];
    mask_walk walk;
    int busy;
} MaskWalk;

static PyObject *walk_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer v[MASK_VIEWS] = {{0}};
    int classes, count;
    long long height, width, chunk;
    if (kwargs && PyDict_Size(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "MaskWalk takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "y*iiy*(LL)Lz*w*:MaskWalk", &v[OF_WEIGHTS], &classes, &count,
                          &v[OF_FREQUENCIES], &height, &width, &chunk, &v[OF_BEFORE],
                          &v[OF_SYMBOLS]))
        return NULL;
    mask_weights w;
    mask_walk walk;
    stvc_status status = STVC_RANGE;
    int sized = height > 0 && width > 0 && height <= MASK_SIDE && width <= MASK_SIDE;
    if (sized && holds(&v[OF_WEIGHTS], 2, -1, "weights") &&
        holds(&v[OF_FREQUENCIES], 4, MASK_DROPS, "frequencies") &&
        holds(&v[OF_SYMBOLS], 1, height * width, "symbols") &&
        (!v[OF_BEFORE].obj || holds(&v[OF_BEFORE], 1, height * width, "before")))
        status = mask_weights_set(&w, v[OF_WEIGHTS].buf, v[OF_WEIGHTS].len / 2, classes, count);
    if (!status)
        status = mask_walk_start(&walk, &w, v[OF_FREQUENCIES].buf, height, width, chunk,
                                 v[OF_BEFORE].buf, v[OF_SYMBOLS].buf);
    if (status) {
        if (!PyErr_Occurred())
            raise(status);
        release(v, MASK_VIEWS);
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    MaskWalk *self = (MaskWalk *)alloc(type, 0);
    if (!self) {
        mask_walk_free(&walk);
        release(v, MASK_VIEWS);
        return NULL;
    }
    memcpy(self->views, v, sizeof v);
    self->walk = walk, self->busy = 0;
    return (PyObject *)self;
}

static void walk_dealloc(PyObject *object)
{
    MaskWalk *self = (MaskWalk *)object;
    mask_walk_free(&self->walk);
    release(self->views, MASK_VIEWS);
    free_object(object);
}

static PyObject *walk_next(PyObject *object, PyObject *args)
{
    MaskWalk *self = (MaskWalk *)object;
    enum { CODED, TABLE, POSITIONS, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "y*w*w*:next", &v[CODED], &v[TABLE], &v[POSITIONS]))
        return NULL;
    PyObject *result = NULL;
    mask_walk *walk = &self->walk;
    if (enter(&self->busy)) {
        if (holds(&v[CODED], 4, walk->pending, "coded") &&
            holds(&v[TABLE], 4, walk->chunk * walk->weights.count, "table") &&
            holds(&v[POSITIONS], 8, walk->chunk, "positions")) {
            stvc_status status;
            Py_BEGIN_ALLOW_THREADS
            status = mask_walk_next(walk, v[CODED].buf, v[TABLE].buf);
            if (!status && walk->pending)
                memcpy(v[POSITIONS].buf, walk->positions, walk->pending * sizeof(int64_t));
            Py_END_ALLOW_THREADS
            result = status ? raise(status) : PyLong_FromLongLong(walk->pending);
        }
        self->busy = 0;
    }
    release(v, VIEWS);
    return result;
}

static PyMethodDef walk_methods[] = {
    {"next", walk_next, METH_VARARGS,
     "next(symbols int32 of the last step, table float32, positions int64) -> pixels to code"},
    {0}};
static PyType_Slot walk_slots[] = {
    {Py_tp_new, walk_new},
    {Py_tp_dealloc, walk_dealloc},
    {Py_tp_methods, walk_methods},
    {Py_tp_doc, "MaskWalk(weights int16, classes, count, frequencies float32, (H, W), chunk, "
                "before uint8 or None, symbols uint8)"},
    {0}};
static PyType_Spec walk_spec = {"stvc.native._kernels.MaskWalk", sizeof(MaskWalk), 0,
                                Py_TPFLAGS_DEFAULT, walk_slots};

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

typedef struct {
    PyObject_HEAD
    Py_buffer payload;
    range_decoder coder;
    int busy;
} Decoder;

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

typedef struct {
    PyObject_HEAD
    range_encoder coder;
    int busy;
} Encoder;

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
    if (!PyArg_ParseTuple(args, "(y*y*y*y*y*)(LLL)y*y*y*Liw*:corrections", &v[FIRST], &v[SECOND],
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
    {"absorb", absorb, METH_VARARGS, "absorb(h float32, added float32 or None, out uint8)"},
    {"look_up", look_up, METH_VARARGS, "look_up(symbols int32, table uint8, out uint8)"},
    {"place", place, METH_VARARGS,
     "place((units, tokens, first, rows, low, count, candidates), heads float32, moves int16, "
     "near int32 or None, location int32, scale int32)"},
    {"mix", mix, METH_VARARGS,
     "mix((units, blocks, queries, keys, rows, heads, width), query uint8, kv uint8, "
     "index int64, position int8, table uint8, level, out uint8)"},
    {"attention_level", mix_level, METH_NOARGS,
     "attention_level() -> 2: 8-bit dot products, 1: 16-bit ones, 0: none"},
    {"corrections", corrections, METH_VARARGS,
     "corrections((first int8, second int8, last int8, bias int32, bits int8), (C, h, w), "
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
    PyObject *walk = PyType_FromSpec(&walk_spec), *decoder = PyType_FromSpec(&decoder_spec),
             *encoder = PyType_FromSpec(&encoder_spec);
    if (!impossible || !walk || !decoder || !encoder ||
        PyModule_AddObjectRef(module, "ImpossibleBits", impossible) ||
        PyModule_AddObjectRef(module, "MaskWalk", walk) ||
        PyModule_AddObjectRef(module, "Decoder", decoder) ||
        PyModule_AddObjectRef(module, "Encoder", encoder) ||
        PyModule_AddStringConstant(module, "SOURCES", STVC_SOURCES)) {
        Py_DECREF(module);
        module = NULL;
    }
    Py_XDECREF(walk);
    Py_XDECREF(decoder);
    Py_XDECREF(encoder);
    return module;
}
