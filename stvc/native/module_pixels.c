/* What the extension module does for the pixel network; see module.c. */
#include "module.h"

enum { LOCATION, INVERSE, COPIED, WEIGHT, WIDTH, CURVE, LEVELS, VIEWS };
enum {
    WHOLE = VIEWS, FIRST, RULE, CLOSING, CONSTANTS, USABLE, GROUP, MASSES, VALUE_COUNTS,
    COEFFICIENT_COUNTS, TRACED_VIEWS
};

static int open_mixture(const Py_buffer *v, mixture_batch *m)
{
    const int64_t n = v[WIDTH].len / 8;
    if (!stvc_holds(&v[WIDTH], 8, n, "width") ||
        !stvc_holds(&v[LOCATION], 8, MIXTURE_PARTS * n, "location") ||
        !stvc_holds(&v[INVERSE], 8, MIXTURE_PARTS * n, "inverse") ||
        !stvc_holds(&v[COPIED], 8, MIXTURE_COPIES * n, "copies") ||
        !stvc_holds(&v[WEIGHT], 8, (MIXTURE_PARTS + MIXTURE_COPIES) * n, "weight") ||
        !stvc_holds(&v[CURVE], 8, MIXTURE_CURVE, "curve") ||
        !stvc_holds(&v[LEVELS], 8, n, "levels"))
        return 0;
    *m = (mixture_batch){n, v[LOCATION].buf, v[INVERSE].buf, v[COPIED].buf,
                         v[WEIGHT].buf, v[WIDTH].buf, v[CURVE].buf};
    return 1;
}

static int open_traces(const Py_buffer *v, int64_t n, traces_batch *t)
{
    enum { CONTEXT = 8 * TRACES_NODES * 4, OF_GROUP = 8 * TRACES_SUBBANDS * TRACES_CLASSES };
    const int64_t closing = v[CLOSING].len / 8, contexts = v[VALUE_COUNTS].len / CONTEXT;
    const int64_t groups = v[COEFFICIENT_COUNTS].len / OF_GROUP;
    if (!stvc_holds(&v[WHOLE], 8, n, "whole") || !stvc_holds(&v[FIRST], 8, n, "first") ||
        !stvc_holds(&v[RULE], 8, n, "rule") || !stvc_holds(&v[CLOSING], 8, closing, "closing") ||
        !stvc_holds(&v[CONSTANTS], 8, TRACES_CONSTANTS * closing, "constants") ||
        !stvc_holds(&v[USABLE], 1, TRACES_SUBBANDS * closing, "usable") ||
        !stvc_holds(&v[GROUP], 8, closing, "group") ||
        !stvc_holds(&v[MASSES], 8, TRACES_MADE * (TRACES_SPAN + 1), "masses") ||
        !stvc_holds(&v[VALUE_COUNTS], 8, contexts * (CONTEXT / 8), "counts of values") ||
        !stvc_holds(&v[COEFFICIENT_COUNTS], 8, groups * (OF_GROUP / 8), "counts of coefficients"))
        return 0;
    *t = (traces_batch){n, closing, contexts, groups, v[WHOLE].buf, v[FIRST].buf,
                        v[RULE].buf, v[CLOSING].buf, v[CONSTANTS].buf, v[USABLE].buf,
                        v[GROUP].buf, v[MASSES].buf, v[VALUE_COUNTS].buf,
                        v[COEFFICIENT_COUNTS].buf};
    return 1;
}

/* One of the coders is NULL. */
static PyObject *mixture(Encoder *encoder, Decoder *decoder, Py_buffer *v, int traced)
{
    mixture_batch m;
    traces_batch t;
    PyObject *result = NULL;
    int *busy = encoder ? &encoder->busy : &decoder->busy;
    if (open_mixture(v, &m) && (!traced || open_traces(v, m.n, &t)) && stvc_enter(busy)) {
        stvc_status status;
        const traces_batch *with = traced ? &t : NULL;
        Py_BEGIN_ALLOW_THREADS
        status = encoder ? mixture_encode(&encoder->coder, &m, with, v[LEVELS].buf)
                         : mixture_decode(&decoder->coder, &m, with, v[LEVELS].buf);
        Py_END_ALLOW_THREADS
        *busy = 0;
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, traced ? TRACED_VIEWS : VIEWS);
    return result;
}

PyObject *stvc_encoder_mixture(PyObject *object, PyObject *args)
{
    Py_buffer v[VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*:mixture", &v[LOCATION], &v[INVERSE], &v[COPIED],
                          &v[WEIGHT], &v[WIDTH], &v[CURVE], &v[LEVELS]))
        return NULL;
    return mixture((Encoder *)object, NULL, v, 0);
}

PyObject *stvc_decoder_mixture(PyObject *object, PyObject *args)
{
    Py_buffer v[VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*w*:mixture", &v[LOCATION], &v[INVERSE], &v[COPIED],
                          &v[WEIGHT], &v[WIDTH], &v[CURVE], &v[LEVELS]))
        return NULL;
    return mixture(NULL, (Decoder *)object, v, 0);
}

PyObject *stvc_encoder_traced(PyObject *object, PyObject *args)
{
    Py_buffer v[TRACED_VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*y*y*y*y*y*y*y*y*w*w*:traced", &v[LOCATION],
                          &v[INVERSE], &v[COPIED], &v[WEIGHT], &v[WIDTH], &v[CURVE], &v[LEVELS],
                          &v[WHOLE], &v[FIRST], &v[RULE], &v[CLOSING], &v[CONSTANTS], &v[USABLE],
                          &v[GROUP], &v[MASSES], &v[VALUE_COUNTS], &v[COEFFICIENT_COUNTS]))
        return NULL;
    return mixture((Encoder *)object, NULL, v, 1);
}

PyObject *stvc_decoder_traced(PyObject *object, PyObject *args)
{
    Py_buffer v[TRACED_VIEWS] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*w*y*y*y*y*y*y*y*y*w*w*:traced", &v[LOCATION],
                          &v[INVERSE], &v[COPIED], &v[WEIGHT], &v[WIDTH], &v[CURVE], &v[LEVELS],
                          &v[WHOLE], &v[FIRST], &v[RULE], &v[CLOSING], &v[CONSTANTS], &v[USABLE],
                          &v[GROUP], &v[MASSES], &v[VALUE_COUNTS], &v[COEFFICIENT_COUNTS]))
        return NULL;
    return mixture(NULL, (Decoder *)object, v, 1);
}

static PyObject *gather_context(PyObject *self, PyObject *args)
{
    (void)self;
    enum {
        VALUES, MISSED, SCALES, CELLS, UNCLEAR, EACH, CORRECTION, PREDICTION, SCALE,
        VALUE_AT, MISSED_AT, SCALE_AT, CHANGED_AT, UNCHANGED_AT, SIZES, OUT, ALL
    };
    Py_buffer v[ALL] = {{0}};
    long long references, level, row, plane, margin;
    if (!PyArg_ParseTuple(args, "(LLLLL)y*y*y*y*y*y*y*y*y*y*y*y*y*y*y*w*:gather_context",
                          &references, &level, &row, &plane, &margin, &v[VALUES], &v[MISSED],
                          &v[SCALES], &v[CELLS], &v[UNCLEAR], &v[EACH], &v[CORRECTION],
                          &v[PREDICTION], &v[SCALE], &v[VALUE_AT], &v[MISSED_AT], &v[SCALE_AT],
                          &v[CHANGED_AT], &v[UNCHANGED_AT], &v[SIZES], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    const int64_t n = v[CELLS].len / 8, size = v[MISSED].len / 8;
    if (references < 0 || references > CONTEXT_REFERENCES) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t beside = references ? CONTEXT_BESIDE : 0, ring = CONTEXT_RING;
    const int64_t values = CONTEXT_OWN + CONTEXT_BACK * (ring + 1) + references * (ring + 3);
    if (stvc_holds(&v[VALUES], 8, -1, "values") && stvc_holds(&v[MISSED], 8, size, "missed") &&
        stvc_holds(&v[SCALES], 8, size, "scales") && stvc_holds(&v[CELLS], 8, n, "cells") &&
        stvc_holds(&v[UNCLEAR], 1, n, "unclear") &&
        stvc_holds(&v[EACH], 8, CONTEXT_PREDICTORS * n, "each") &&
        stvc_holds(&v[CORRECTION], 8, n, "correction") &&
        stvc_holds(&v[PREDICTION], 8, n, "prediction") && stvc_holds(&v[SCALE], 8, n, "scale") &&
        stvc_holds(&v[VALUE_AT], 8, values, "value offsets") &&
        stvc_holds(&v[MISSED_AT], 8, CONTEXT_MISSED, "missed offsets") &&
        stvc_holds(&v[SCALE_AT], 8, CONTEXT_SCALES, "scale offsets") &&
        stvc_holds(&v[CHANGED_AT], 8, beside, "changed offsets") &&
        stvc_holds(&v[UNCHANGED_AT], 8, CONTEXT_BESIDE, "unchanged offsets") &&
        stvc_holds(&v[SIZES], 8, CONTEXT_SIZES, "sizes") &&
        stvc_holds(&v[OUT], 1, n * CONTEXT_FEATURES, "out")) {
        const context_batch c = {
            n, references, level, row, plane, margin, size, v[VALUES].len / 8,
            v[VALUES].buf, v[MISSED].buf, v[SCALES].buf, v[CELLS].buf, v[UNCLEAR].buf,
            v[EACH].buf, v[CORRECTION].buf, v[PREDICTION].buf, v[SCALE].buf,
            v[VALUE_AT].buf, v[MISSED_AT].buf, v[SCALE_AT].buf, v[CHANGED_AT].buf,
            v[UNCHANGED_AT].buf, v[SIZES].buf};
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = pixel_context(&c, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
done:
    stvc_release(v, ALL);
    return result;
}

static PyObject *solve_nested(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SIZES, GRAM, MOMENT, OUT, ALL, MOST = 1 << 16 };
    Py_buffer v[ALL] = {{0}};
    nested_system s = {0};
    long long systems, variables;
    if (!PyArg_ParseTuple(args, "(LLdd)y*y*y*w*:solve_nested", &systems, &variables, &s.ridge,
                          &s.unit, &v[SIZES], &v[GRAM], &v[MOMENT], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    s.count = v[SIZES].len / 8;
    if (systems < 0 || systems > MOST || variables < 1 || variables > MOST || s.count > MOST) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    s.systems = systems, s.variables = variables, s.sizes = v[SIZES].buf;
    if (stvc_holds(&v[SIZES], 8, -1, "sizes") &&
        stvc_holds(&v[GRAM], 8, systems * variables * variables, "gram") &&
        stvc_holds(&v[MOMENT], 8, systems * variables, "moment") &&
        stvc_holds(&v[OUT], 8, systems * s.count * variables, "out")) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = nested_solve(&s, v[GRAM].buf, v[MOMENT].buf, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
done:
    stvc_release(v, ALL);
    return result;
}

static PyObject *solve_local(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SYSTEMS, OUT, ALL };
    Py_buffer v[ALL] = {{0}};
    if (!PyArg_ParseTuple(args, "y*w*:solve_local", &v[SYSTEMS], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    const int64_t n = v[OUT].len / 8 / LOCAL_VARIABLES;
    if (stvc_holds(&v[OUT], 8, LOCAL_VARIABLES * n, "out") &&
        stvc_holds(&v[SYSTEMS], 8, LOCAL_VARIABLES * (LOCAL_VARIABLES + 1) * n, "systems")) {
        Py_BEGIN_ALLOW_THREADS
        local_solve(v[SYSTEMS].buf, n, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    stvc_release(v, ALL);
    return result;
}

static PyObject *warp_blocks(PyObject *self, PyObject *args)
{
    (void)self;
    enum { PLANES, FILTERS, BLOCKS, OUT, VIEWS };
    enum { MOST = 1 << 20, SIDE = 8 };
    Py_buffer v[VIEWS] = {{0}};
    long long count, height, width;
    int down, across;
    if (!PyArg_ParseTuple(args, "y*y*(LLL)(ii)y*w*:warp_blocks", &v[PLANES], &v[FILTERS], &count,
                          &height, &width, &down, &across, &v[BLOCKS], &v[OUT]))
        return NULL;
    PyObject *result = NULL;
    if (count < 0 || count > MOST || height < SIDE || height > MOST || height % SIDE ||
        width < SIDE || width > MOST || width % SIDE || down > WARP_SHIFT || down < -WARP_SHIFT ||
        across > WARP_SHIFT || across < -WARP_SHIFT) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t n = v[BLOCKS].len / 8;
    if (!stvc_holds(&v[PLANES], 4, count * height * width, "planes") ||
        !stvc_holds(&v[FILTERS], 4, WARP_UNITS * WARP_TAPS, "filters") ||
        !stvc_holds(&v[BLOCKS], 8, -1, "blocks") ||
        !stvc_holds(&v[OUT], 4, count ? count * n * SIDE * SIDE : 0, "out"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = blocks_warp(v[PLANES].buf, v[FILTERS].buf, count, height, width, down, across,
                         v[BLOCKS].buf, n, v[OUT].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

PyMethodDef stvc_pixel_functions[] = {
    {"warp_blocks", warp_blocks, METH_VARARGS,
     "warp_blocks(planes int32, filters int32, (count, height, width), (down, across), "
     "blocks int64, out int32)"},
    {"solve_nested", solve_nested, METH_VARARGS,
     "solve_nested((systems, variables, ridge, unit), sizes int64, gram, moment, out float64)"},
    {"solve_local", solve_local, METH_VARARGS,
     "solve_local(systems float64 (7, 8, n), out float64 (7, n))"},
    {"gather_context", gather_context, METH_VARARGS,
     "gather_context((references, level, row, plane, margin), values, missed, scales float64, "
     "cells int64, unclear bool, each, correction float64, prediction, scale int64, value, missed, "
     "scale, changed, unchanged offsets int64, sizes float64, out int8)"},
    {0}};
