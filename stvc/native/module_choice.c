/* What the extension module does for encoders: registration, choice of predictions. */
#include "module.h"

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
        stvc_raise(STVC_RANGE);
    else if (stvc_holds(&v[PLANE], 4, height * width, "plane") &&
             stvc_holds(&v[TAPS], 4, BLUR_TAPS, "taps") &&
             stvc_holds(&v[OUT], 4, height * width, "out")) {
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = plane_blur(v[PLANE].buf, v[TAPS].buf, height, width, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
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
        stvc_raise(STVC_RANGE);
    else if (stvc_holds(&v[TARGET], 4, height * width, "target") &&
             stvc_holds(&v[MOVED], 4, height * width, "moved") &&
             stvc_holds(&v[WEIGHT], 1, height * width, "weight") &&
             stvc_holds(&v[OUT], 8, 5, "out")) {
        registration r = {height, width, v[TARGET].buf, v[MOVED].buf, v[WEIGHT].buf};
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = registration_equations(&r, v[OUT].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
    stvc_release(v, VIEWS);
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
        stvc_raise(STVC_RANGE);
        goto done;
    }
    const int64_t size = components * tokens * CHOICE_FREQUENCIES;
    choice c = {components, tokens, probes, rows, step, most, v[TARGET].buf, {NULL},
                v[MEAN].buf, v[PROBE].buf, v[WEIGHTS].buf};
    for (int k = 0; k < CHOICE_PLANES; k++) {
        c.planes[k] = v[PLANES + k].buf;
        if (v[PLANES + k].obj && !stvc_holds(&v[PLANES + k], 4, size, "plane"))
            goto done;
    }
    if (!stvc_holds(&v[TARGET], 4, size, "target") ||
        !stvc_holds(&v[MEAN], 4, components * CHOICE_FREQUENCIES, "mean") ||
        !stvc_holds(&v[PROBE], 8, probes, "probes") ||
        !stvc_holds(&v[WEIGHTS], 4, rows * ROW, "weights") ||
        !stvc_holds(&v[COST], 8, components * rows, "cost") ||
        !stvc_holds(&v[LIFT], 4, components * rows, "lift"))
        goto done;
    stvc_status status;
    Py_BEGIN_ALLOW_THREADS
    status = choice_costs(&c, v[COST].buf, v[LIFT].buf);
    Py_END_ALLOW_THREADS
    result = status ? stvc_raise(status) : Py_NewRef(Py_None);
done:
    stvc_release(v, VIEWS);
    return result;
}

PyMethodDef stvc_choice_functions[] = {
    {"blur", blur, METH_VARARGS, "blur(plane float32, taps float32, (height, width), out float32)"},
    {"equations", equations, METH_VARARGS,
     "equations(target float32, moved float32, weight bool, (height, width), out float64)"},
    {"profile_costs", profile_costs, METH_VARARGS,
     "profile_costs((components, tokens, step, most), target int32, four planes int32 or None, "
     "mean float32, probes int64, weights float32, cost float64, lift float32)"},
    {0}};
