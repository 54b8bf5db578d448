/* The type `PixelWalk` of the extension module; see module.c. */
#include "module.h"
#include "walk.h"

#include <string.h>

enum {
    CELLS, STARTS, BAND_STARTS, MARGIN_TO, MARGIN_FROM, MARGIN_STARTS, OFFSETS, GROUPS, BLEND, TRUST,
    LOCAL_TRUST, SIZES, READ_VIEWS,
    VALUES = READ_VIEWS, ERRORS, SQUARES, SIGNED, MISSED, SCALES, WEIGHTS, SCALE_WEIGHTS, PRODUCTS,
    SCALE_PRODUCTS, OF_ROW, OF_ALL, MEAN, ROOM, TALL, WALK_VIEWS
};

typedef struct {
    PyObject_HEAD
    Py_buffer views[WALK_VIEWS];
    pixel_walk walk;
    int busy;
} PixelWalk;

static int sized(const Py_buffer *v, pixel_walk *w)
{
    const int64_t steps = v[STARTS].len / 8 - 1, wide = walk_wide(w->features);
    const int64_t scale_wide = walk_wide(w->contexts), lines = walk_lines(w);
    w->steps = steps, w->edges = v[MARGIN_TO].len / 8;
    w->pixels = w->bands * w->height * w->width;
    w->blocks = v[ROOM].len / 8 / ((w->features + ROWS) * WALK_LANES);
    return steps >= 0 && stvc_holds(&v[STARTS], 8, steps + 1, "starts") &&
           stvc_holds(&v[CELLS], 8, w->pixels, "cells") &&
           steps <= w->size &&
           stvc_holds(&v[BAND_STARTS], 8, steps * (w->bands + 1), "band starts") &&
           stvc_holds(&v[MARGIN_TO], 8, w->edges, "margin") &&
           stvc_holds(&v[MARGIN_FROM], 8, w->edges, "margin sources") &&
           stvc_holds(&v[MARGIN_STARTS], 8, steps + 1, "margin starts") &&
           stvc_holds(&v[OFFSETS], 8, 2 * w->features - w->pairs, "offsets") &&
           stvc_holds(&v[GROUPS], 8, 2 * (WALK_BACK + w->references), "groups") &&
           stvc_holds(&v[BLEND], 8, WALK_BLEND, "blend") &&
           stvc_holds(&v[TRUST], 8, WALK_TRUST, "trust") &&
           stvc_holds(&v[LOCAL_TRUST], 8, WALK_LOCAL_TRUST, "local trust") &&
           stvc_holds(&v[SIZES], 8, CONTEXT_SIZES, "sizes") &&
           stvc_holds(&v[VALUES], 8, w->all, "values") &&
           stvc_holds(&v[ERRORS], 8, w->size, "errors") &&
           stvc_holds(&v[SQUARES], 8, w->size * WALK_PREDICTORS, "squares") &&
           stvc_holds(&v[SIGNED], 8, w->size, "signed errors") &&
           stvc_holds(&v[MISSED], 8, w->size, "missed") &&
           stvc_holds(&v[SCALES], 8, w->size, "scales") &&
           stvc_holds(&v[WEIGHTS], 8, w->bands * WALK_PREDICTORS * w->features, "weights") &&
           stvc_holds(&v[SCALE_WEIGHTS], 8, w->bands * w->contexts, "scale weights") &&
           stvc_holds(&v[PRODUCTS], 8, w->bands * wide * wide, "products") &&
           stvc_holds(&v[SCALE_PRODUCTS], 8, w->bands * scale_wide * scale_wide,
                      "scale products") &&
           stvc_holds(&v[OF_ROW], 8, w->local ? WALK_PRODUCTS * lines : -1, "row products") &&
           stvc_holds(&v[OF_ALL], 8, w->local ? WALK_PRODUCTS * lines : -1, "all products") &&
           stvc_holds(&v[MEAN], 8, w->local ? WALK_PRODUCTS * w->bands : -1, "mean products") &&
           stvc_holds(&v[ROOM], 8, w->blocks * (w->features + ROWS) * WALK_LANES, "room") &&
           stvc_holds(&v[TALL], 8, walk_tall(w->features, w->contexts), "tall room");
}

static void point(const Py_buffer *v, pixel_walk *w)
{
    w->cells = v[CELLS].buf, w->starts = v[STARTS].buf, w->band_starts = v[BAND_STARTS].buf;
    w->margin_to = v[MARGIN_TO].buf, w->margin_from = v[MARGIN_FROM].buf;
    w->margin_starts = v[MARGIN_STARTS].buf;
    w->offsets = v[OFFSETS].buf, w->groups = v[GROUPS].buf;
    w->blend = v[BLEND].buf, w->trust = v[TRUST].buf, w->local_trust = v[LOCAL_TRUST].buf;
    w->sizes = v[SIZES].buf;
    w->values = v[VALUES].buf, w->errors = v[ERRORS].buf, w->squares = v[SQUARES].buf;
    w->signed_errors = v[SIGNED].buf, w->missed = v[MISSED].buf, w->scales = v[SCALES].buf;
    w->weights = v[WEIGHTS].buf, w->scale_weights = v[SCALE_WEIGHTS].buf;
    w->products = v[PRODUCTS].buf, w->scale_products = v[SCALE_PRODUCTS].buf;
    w->of_row = v[OF_ROW].buf, w->of_all = v[OF_ALL].buf, w->mean = v[MEAN].buf;
    w->room = v[ROOM].buf, w->tall = v[TALL].buf;
    w->step = -1;
}

static PyObject *walk_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer v[WALK_VIEWS] = {{0}};
    long long bands, height, width, references, features, pairs, max_error;
    int local, networked;
    if (kwargs && PyDict_Size(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "PixelWalk takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(
            args,
            "(LLLLLLLpp)y*y*y*y*y*y*y*y*y*y*y*y*w*w*w*w*w*w*w*w*w*w*w*w*w*w*w*:PixelWalk", &bands,
            &height, &width, &references, &features, &pairs, &max_error, &local, &networked,
            &v[CELLS], &v[STARTS], &v[BAND_STARTS], &v[MARGIN_TO], &v[MARGIN_FROM],
            &v[MARGIN_STARTS], &v[OFFSETS], &v[GROUPS], &v[BLEND], &v[TRUST], &v[LOCAL_TRUST],
            &v[SIZES], &v[VALUES], &v[ERRORS], &v[SQUARES], &v[SIGNED], &v[MISSED], &v[SCALES],
            &v[WEIGHTS], &v[SCALE_WEIGHTS], &v[PRODUCTS], &v[SCALE_PRODUCTS], &v[OF_ROW],
            &v[OF_ALL], &v[MEAN], &v[ROOM], &v[TALL]))
        return NULL;
    PixelWalk *self = NULL;
    pixel_walk w = {0};
    int fits = 0;
    if (bands > 0 && bands <= WALK_SIDE && height > 0 && height <= WALK_SIDE && width > 0 &&
        width <= WALK_SIDE && references >= 0 && references <= WALK_REFERENCES &&
        features >= WALK_CAUSAL && features <= WALK_FEATURES && pairs >= WALK_CAUSAL &&
        pairs <= features && max_error >= 0 && max_error <= UINT16_MAX) {
        w.bands = bands, w.height = height, w.width = width, w.references = references;
        w.features = features, w.pairs = pairs, w.contexts = 14 + references;
        w.max_error = max_error, w.local = local, w.networked = networked;
        w.row = width + 2 * WALK_MARGIN, w.plane = w.row * (height + 2 * WALK_MARGIN);
        w.size = (bands + WALK_BACK) * w.plane, w.all = (1 + references) * w.size;
        if (sized(v, &w)) {
            point(v, &w);
            fits = walk_checked(&w);
        }
    }
    if (fits) {
        allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
        self = (PixelWalk *)alloc(type, 0);
    } else if (!PyErr_Occurred())
        stvc_raise(STVC_RANGE);
    if (!self) {
        stvc_release(v, WALK_VIEWS);
        return NULL;
    }
    memcpy(self->views, v, sizeof v);
    self->walk = w, self->busy = 0;
    return (PyObject *)self;
}

static void walk_dealloc(PyObject *object)
{
    stvc_release(((PixelWalk *)object)->views, WALK_VIEWS);
    stvc_free_object(object);
}

static PyObject *foresee(PyObject *object, PyObject *args)
{
    PixelWalk *self = (PixelWalk *)object;
    enum { FLAGGED, PREDICTION, SCALE, EACH, CORRECTION, VIEWS };
    Py_buffer v[VIEWS] = {{0}};
    long long step;
    if (!PyArg_ParseTuple(args, "Ly*w*w*w*w*:foresee", &step, &v[FLAGGED], &v[PREDICTION],
                          &v[SCALE], &v[EACH], &v[CORRECTION]))
        return NULL;
    PyObject *result = NULL;
    pixel_walk *w = &self->walk;
    if (stvc_enter(&self->busy)) {
        const int64_t n = step >= 0 && step < w->steps ? walk_count(w, step) : -1;
        if (n < 0)
            stvc_raise(STVC_RANGE);
        else if (stvc_holds(&v[FLAGGED], 1, n, "flagged") &&
                 stvc_holds(&v[PREDICTION], 8, n, "prediction") &&
                 stvc_holds(&v[SCALE], 8, n, "scale") &&
                 stvc_holds(&v[EACH], 8, WALK_PREDICTORS * n, "each") &&
                 stvc_holds(&v[CORRECTION], 8, n, "correction")) {
            stvc_status status;
            Py_BEGIN_ALLOW_THREADS
            status = walk_foresee(w, step, v[FLAGGED].buf, v[PREDICTION].buf, v[SCALE].buf,
                                  v[EACH].buf, v[CORRECTION].buf);
            Py_END_ALLOW_THREADS
            result = status ? stvc_raise(status) : Py_NewRef(Py_None);
        }
        self->busy = 0;
    }
    stvc_release(v, VIEWS);
    return result;
}

/* Fills, or with a second view, learns. */
static PyObject *take(PixelWalk *self, Py_buffer *v, int views)
{
    PyObject *result = NULL;
    pixel_walk *w = &self->walk;
    if (stvc_enter(&self->busy)) {
        const int64_t n = w->step < 0 ? 0 : walk_count(w, w->step);
        if (stvc_holds(&v[0], 8, n, "values") &&
            (views < 2 || stvc_holds(&v[1], 1, n, "shown"))) {
            stvc_status status;
            Py_BEGIN_ALLOW_THREADS
            status = views < 2 ? walk_fill(w, v[0].buf) : walk_learn(w, v[0].buf, v[1].buf);
            Py_END_ALLOW_THREADS
            result = status ? stvc_raise(status) : Py_NewRef(Py_None);
        }
        self->busy = 0;
    }
    stvc_release(v, views);
    return result;
}

static PyObject *fill(PyObject *object, PyObject *args)
{
    Py_buffer v[1] = {{0}};
    if (!PyArg_ParseTuple(args, "w*:fill", &v[0]))
        return NULL;
    return take((PixelWalk *)object, v, 1);
}

static PyObject *learn(PyObject *object, PyObject *args)
{
    Py_buffer v[2] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*:learn", &v[0], &v[1]))
        return NULL;
    return take((PixelWalk *)object, v, 2);
}

static PyMethodDef walk_methods[] = {
    {"foresee", foresee, METH_VARARGS,
     "foresee(step, flagged bool, prediction, scale int64, each (4, n), correction float64)"},
    {"fill", fill, METH_VARARGS, "fill(out float64): what hidden pixels of the step become"},
    {"learn", learn, METH_VARARGS, "learn(values float64, shown bool) of the step's pixels"},
    {0}};
static PyType_Slot walk_slots[] = {
    {Py_tp_new, walk_new},
    {Py_tp_dealloc, walk_dealloc},
    {Py_tp_methods, walk_methods},
    {Py_tp_doc, "Predicts and learns step by step; see stvc.codec.predictive_front_native."},
    {0}};
PyType_Spec stvc_pixel_walk_spec = {"stvc.native._kernels.PixelWalk", sizeof(PixelWalk), 0,
                              Py_TPFLAGS_DEFAULT, walk_slots};

static PyObject *walk_room(PyObject *self, PyObject *args)
{
    (void)self;
    long long features, contexts;
    if (!PyArg_ParseTuple(args, "LL:walk_room", &features, &contexts))
        return NULL;
    if (features < 0 || features > WALK_FEATURES || contexts < 0 || contexts > WALK_CONTEXTS)
        return stvc_raise(STVC_RANGE);
    return Py_BuildValue("(LL)", (long long)(features + ROWS) * WALK_LANES,
                         (long long)walk_tall(features, contexts));
}

PyMethodDef stvc_walk_functions[] = {
    {"walk_room", walk_room, METH_VARARGS,
     "walk_room(features, contexts) -> numbers that a PixelWalk needs for a block, and besides"},
    {0}};
