/* What the extension module does for distributions of levels; see module.c. */
#include "module.h"

enum { SIDE = 1 << 20 };

static PyObject *form_mixture(PyObject *self, PyObject *args)
{
    (void)self;
    enum {
        OUTPUTS, PREDICTION, SCALE, COPIED, SIZES, FALLING, INVERSES, LOCATION, INVERSE, COPIES,
        WEIGHT, WIDTH, ALL
    };
    Py_buffer v[ALL] = {{0}};
    long long pitch;
    if (!PyArg_ParseTuple(args, "Ly*y*y*y*y*y*y*w*w*w*w*w*:form_mixture", &pitch, &v[OUTPUTS],
                          &v[PREDICTION], &v[SCALE], &v[COPIED], &v[SIZES], &v[FALLING],
                          &v[INVERSES], &v[LOCATION], &v[INVERSE], &v[COPIES], &v[WEIGHT],
                          &v[WIDTH]))
        return NULL;
    PyObject *result = NULL;
    const int64_t n = v[WIDTH].len / 8;
    if (stvc_holds(&v[WIDTH], 8, n, "width") &&
        stvc_holds(&v[OUTPUTS], 4, MIXTURE_OUTPUTS * n, "outputs") &&
        stvc_holds(&v[PREDICTION], 8, n, "prediction") && stvc_holds(&v[SCALE], 8, n, "scale") &&
        stvc_holds(&v[COPIED], 8, MIXTURE_COPIES * n, "copied") &&
        stvc_holds(&v[SIZES], 8, CONTEXT_SIZES, "sizes") &&
        stvc_holds(&v[FALLING], 8, MIXTURE_FALLING, "falling") &&
        stvc_holds(&v[INVERSES], 8, CONTEXT_SIZES, "inverses") &&
        stvc_holds(&v[LOCATION], 8, MIXTURE_PARTS * n, "location") &&
        stvc_holds(&v[INVERSE], 8, MIXTURE_PARTS * n, "inverse") &&
        stvc_holds(&v[COPIES], 8, MIXTURE_COPIES * n, "copies") &&
        stvc_holds(&v[WEIGHT], 8, (MIXTURE_PARTS + MIXTURE_COPIES) * n, "weight")) {
        const mixture_form f = {n, pitch, v[OUTPUTS].buf, v[PREDICTION].buf, v[SCALE].buf,
                                v[COPIED].buf, v[SIZES].buf, v[FALLING].buf, v[INVERSES].buf,
                                v[LOCATION].buf, v[INVERSE].buf, v[COPIES].buf, v[WEIGHT].buf,
                                v[WIDTH].buf};
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = mixture_make(&f);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, ALL);
    return result;
}

static PyObject *level_masses(PyObject *self, PyObject *args)
{
    (void)self;
    enum { LOCATION, INVERSE, COPIES, WEIGHT, WIDTH, CURVE, LEVELS, OUT, OUTSIDE, ALL };
    Py_buffer v[ALL] = {{0}};
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*w*w*:level_masses", &v[LOCATION], &v[INVERSE],
                          &v[COPIES], &v[WEIGHT], &v[WIDTH], &v[CURVE], &v[LEVELS], &v[OUT],
                          &v[OUTSIDE]))
        return NULL;
    PyObject *result = NULL;
    const int64_t n = v[WIDTH].len / 8;
    if (stvc_holds(&v[WIDTH], 8, n, "width") &&
        stvc_holds(&v[LOCATION], 8, MIXTURE_PARTS * n, "location") &&
        stvc_holds(&v[INVERSE], 8, MIXTURE_PARTS * n, "inverse") &&
        stvc_holds(&v[COPIES], 8, MIXTURE_COPIES * n, "copies") &&
        stvc_holds(&v[WEIGHT], 8, (MIXTURE_PARTS + MIXTURE_COPIES) * n, "weight") &&
        stvc_holds(&v[CURVE], 8, MIXTURE_CURVE, "curve") &&
        stvc_holds(&v[LEVELS], 8, n, "levels") && stvc_holds(&v[OUT], 8, n, "out") &&
        stvc_holds(&v[OUTSIDE], 1, n, "outside")) {
        const mixture_batch m = {n, v[LOCATION].buf, v[INVERSE].buf, v[COPIES].buf,
                                 v[WEIGHT].buf, v[WIDTH].buf, v[CURVE].buf};
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = mixture_masses(&m, v[LEVELS].buf, v[OUT].buf, v[OUTSIDE].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, ALL);
    return result;
}

static PyObject *find_closing(PyObject *self, PyObject *args)
{
    (void)self;
    enum {
        CELLS, BAND, VALUES, COMPLETE, PHASE, RULES, FIRST, RULE, CLOSING, CONSTANTS, USABLE,
        GROUP, ALL
    };
    Py_buffer v[ALL] = {{0}};
    long long height, width, margin;
    if (!PyArg_ParseTuple(args, "(LLL)y*y*y*y*y*y*w*w*w*w*w*w*:find_closing", &height, &width,
                          &margin, &v[CELLS], &v[BAND], &v[VALUES], &v[COMPLETE], &v[PHASE],
                          &v[RULES], &v[FIRST], &v[RULE], &v[CLOSING], &v[CONSTANTS],
                          &v[USABLE], &v[GROUP]))
        return NULL;
    PyObject *result = NULL;
    const int64_t n = v[CELLS].len / 8, bands = v[PHASE].len / 8;
    if (height < 1 || height > SIDE || width < 1 || width > SIDE || margin < 2 || margin > SIDE ||
        bands > SIDE) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t plane = (height + 2 * margin) * (width + 2 * margin);
    if (plane > INT64_MAX / (bands + 3)) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    if (stvc_holds(&v[CELLS], 8, n, "cells") && stvc_holds(&v[BAND], 8, n, "band") &&
        stvc_holds(&v[VALUES], 8, (bands + 3) * plane, "values") &&
        stvc_holds(&v[COMPLETE], 1, TRACES_SUBBANDS * height * width, "complete") &&
        stvc_holds(&v[PHASE], 8, bands, "phase") && stvc_holds(&v[RULES], 8, bands, "rules") &&
        stvc_holds(&v[FIRST], 8, n, "first") && stvc_holds(&v[RULE], 8, n, "rule") &&
        stvc_holds(&v[CLOSING], 8, n, "closing") &&
        stvc_holds(&v[CONSTANTS], 8, TRACES_CONSTANTS * n, "constants") &&
        stvc_holds(&v[USABLE], 1, TRACES_SUBBANDS * n, "usable") &&
        stvc_holds(&v[GROUP], 8, n, "group")) {
        const traces_step s = {n, bands, height, width, margin, v[CELLS].buf, v[BAND].buf,
                               v[VALUES].buf, v[COMPLETE].buf, v[PHASE].buf, v[RULES].buf};
        int64_t count = 0;
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = traces_find(&s, v[FIRST].buf, v[RULE].buf, v[CLOSING].buf, v[CONSTANTS].buf,
                             v[USABLE].buf, v[GROUP].buf, &count);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : PyLong_FromLongLong(count);
    }
done:
    stvc_release(v, ALL);
    return result;
}

PyMethodDef stvc_mixture_functions[] = {
    {"form_mixture", form_mixture, METH_VARARGS,
     "form_mixture(pitch, outputs int32, prediction, scale, copied int64, sizes float64, falling, "
     "inverses, location, inverse, copies, weight, width int64)"},
    {"level_masses", level_masses, METH_VARARGS,
     "level_masses(location, inverse, copies, weight, width, curve, levels, out int64, "
     "outside bool)"},
    {"find_closing", find_closing, METH_VARARGS,
     "find_closing((height, width, margin), cells, band int64, values float64, complete bool, "
     "phase, rules, first, rule, closing, constants int64, usable bool, group int64) -> count"},
    {0}};
