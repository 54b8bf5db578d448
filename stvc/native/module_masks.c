/* The type of the extension module that walks over masks; see module.c. */
#include "module.h"

#include <string.h>

enum { OF_WEIGHTS, OF_FREQUENCIES, OF_BEFORE, OF_SYMBOLS, OF_NETWORK, OF_SECOND, MASK_VIEWS };

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
    if (!PyArg_ParseTuple(args, "y*iiy*(LL)Lz*w*|z*z*:MaskWalk", &v[OF_WEIGHTS], &classes,
                          &count, &v[OF_FREQUENCIES], &height, &width, &chunk, &v[OF_BEFORE],
                          &v[OF_SYMBOLS], &v[OF_NETWORK], &v[OF_SECOND]))
        return NULL;
    mask_weights w;
    mask_network network;
    mask_walk walk;
    stvc_status status = STVC_RANGE;
    int sized = height > 0 && width > 0 && height <= MASK_SIDE && width <= MASK_SIDE;
    if (sized && stvc_holds(&v[OF_WEIGHTS], 2, -1, "weights") &&
        stvc_holds(&v[OF_FREQUENCIES], 4, MASK_DROPS, "frequencies") &&
        stvc_holds(&v[OF_SYMBOLS], 1, height * width, "symbols") &&
        (!v[OF_BEFORE].obj || stvc_holds(&v[OF_BEFORE], 1, height * width, "before")) &&
        (!v[OF_NETWORK].obj || stvc_holds(&v[OF_NETWORK], 2, -1, "network")) &&
        (!v[OF_SECOND].obj || stvc_holds(&v[OF_SECOND], 1, height * width, "second")))
        status = mask_weights_set(&w, v[OF_WEIGHTS].buf, v[OF_WEIGHTS].len / 2, classes, count);
    if (!status && v[OF_NETWORK].obj)
        status = mask_network_set(&network, v[OF_NETWORK].buf, v[OF_NETWORK].len / 2, classes);
    if (!status)
        status = mask_walk_start(&walk, &w, v[OF_FREQUENCIES].buf, height, width, chunk,
                                 v[OF_BEFORE].buf, v[OF_SYMBOLS].buf,
                                 v[OF_NETWORK].obj ? &network : NULL, v[OF_SECOND].buf);
    if (status) {
        if (!PyErr_Occurred())
            stvc_raise(status);
        stvc_release(v, MASK_VIEWS);
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    MaskWalk *self = (MaskWalk *)alloc(type, 0);
    if (!self) {
        mask_walk_free(&walk);
        stvc_release(v, MASK_VIEWS);
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
    stvc_release(self->views, MASK_VIEWS);
    stvc_free_object(object);
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
    if (stvc_enter(&self->busy)) {
        if (stvc_holds(&v[CODED], 4, walk->pending, "coded") &&
            stvc_holds(&v[TABLE], 4, walk->chunk * walk->weights.count, "table") &&
            stvc_holds(&v[POSITIONS], 8, walk->chunk, "positions")) {
            stvc_status status;
            Py_BEGIN_ALLOW_THREADS
            status = mask_walk_next(walk, v[CODED].buf, v[TABLE].buf);
            if (!status && walk->pending)
                memcpy(v[POSITIONS].buf, walk->positions, walk->pending * sizeof(int64_t));
            Py_END_ALLOW_THREADS
            result = status ? stvc_raise(status) : PyLong_FromLongLong(walk->pending);
        }
        self->busy = 0;
    }
    stvc_release(v, VIEWS);
    return result;
}

/* Encode a whole raster; nothing may have been coded before. */
static PyObject *walk_encode(PyObject *object, PyObject *args)
{
    MaskWalk *self = (MaskWalk *)object;
    Py_buffer ranks = {0};
    if (!PyArg_ParseTuple(args, "y*:encode", &ranks))
        return NULL;
    PyObject *result = NULL;
    mask_walk *walk = &self->walk;
    if (stvc_enter(&self->busy)) {
        if (stvc_holds(&ranks, 1, walk->height * walk->width, "ranks")) {
            range_encoder coder;
            uint32_t *words = NULL;
            size_t count = 0;
            range_encoder_start(&coder);
            stvc_status status;
            Py_BEGIN_ALLOW_THREADS
            status = mask_walk_encode(walk, ranks.buf, &coder);
            if (!status)
                status = range_encoder_words(&coder, &words, &count);
            Py_END_ALLOW_THREADS
            if (status)
                stvc_raise(status);
            else
                result = Py_BuildValue("y#n(KK)", words ? (const char *)words : "", (Py_ssize_t)(4 * count),
                                       (Py_ssize_t)coder.count, (unsigned long long)coder.lower,
                                       (unsigned long long)coder.range);
            range_words_free(words);
            range_encoder_free(&coder);
        }
        self->busy = 0;
    }
    stvc_release(&ranks, 1);
    return result;
}

static PyMethodDef walk_methods[] = {
    {"next", walk_next, METH_VARARGS,
     "next(symbols int32 of the last step, table float32, positions int64) -> pixels to code"},
    {"encode", walk_encode, METH_VARARGS,
     "encode(ranks uint8) -> (words, settled words, (lower, range))"},
    {0}};
static PyType_Slot walk_slots[] = {
    {Py_tp_new, walk_new},
    {Py_tp_dealloc, walk_dealloc},
    {Py_tp_methods, walk_methods},
    {Py_tp_doc, "MaskWalk(weights int16, classes, count, frequencies float32, (H, W), chunk, "
                "before uint8 or None, symbols uint8, network int16 or None, second uint8 or None)"},
    {0}};
PyType_Spec stvc_mask_walk_spec = {"stvc.native._kernels.MaskWalk", sizeof(MaskWalk), 0,
                                Py_TPFLAGS_DEFAULT, walk_slots};
