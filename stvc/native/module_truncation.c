/* What the extension module does for bands that were cut; see module.c. */
#include "module.h"

enum { LEAST = 2, MOST = 1 << 14 };

static PyObject *find_untruncated(PyObject *self, PyObject *args)
{
    (void)self;
    enum { FINE, FINE_LOST, COARSE, COARSE_LOST, PRICES, ODDS, VALUES, ALL };
    Py_buffer v[ALL] = {{0}};
    long long h, w, y, x, h2, w2, y2, x2;
    if (!PyArg_ParseTuple(args, "(LLLL)(LLLL)y*y*y*y*y*y*w*:untruncate", &h, &w, &y, &x, &h2, &w2,
                          &y2, &x2, &v[FINE], &v[FINE_LOST], &v[COARSE], &v[COARSE_LOST],
                          &v[PRICES], &v[ODDS], &v[VALUES]))
        return NULL;
    PyObject *result = NULL;
    const int bits = (y | x | y2 | x2) >> 1;
    const int empty = !h2 && !w2;
    if (bits || h < LEAST || h > MOST || w < LEAST || w > MOST ||
        (!empty && (h2 != (h - y + 1) / 2 || w2 != (w - x + 1) / 2 || h2 < LEAST || w2 < LEAST))) {
        stvc_raise(STVC_RANGE);
        goto done;
    }
    if (stvc_holds(&v[FINE], 4, h * w, "fine") &&
        stvc_holds(&v[FINE_LOST], 1, h * w, "fine_lost") &&
        stvc_holds(&v[COARSE], 4, h2 * w2, "coarse") &&
        stvc_holds(&v[COARSE_LOST], 1, h2 * w2, "coarse_lost") &&
        stvc_holds(&v[PRICES], 2, UNTRUNCATE_PRICES, "prices") &&
        stvc_holds(&v[ODDS], 4, v[ODDS].len / 4 / UNTRUNCATE_DEARER * UNTRUNCATE_DEARER, "odds") &&
        stvc_holds(&v[VALUES], 4, h * w, "values")) {
        const truncation_search s = {{h, w, y, x, v[FINE].buf, v[FINE_LOST].buf},
                                     {h2, w2, y2, x2, v[COARSE].buf, v[COARSE_LOST].buf},
                                     v[PRICES].buf,
                                     v[ODDS].buf,
                                     v[ODDS].len / 4 / UNTRUNCATE_DEARER};
        stvc_status status;
        Py_BEGIN_ALLOW_THREADS
        status = untruncate(&s, v[VALUES].buf);
        Py_END_ALLOW_THREADS
        result = status ? stvc_raise(status) : Py_NewRef(Py_None);
    }
done:
    stvc_release(v, ALL);
    return result;
}

PyMethodDef stvc_truncation_functions[] = {
    {"untruncate", find_untruncated, METH_VARARGS,
     "untruncate((height, width, row, column), (height, width, row, column), fine int32, fine_lost "
     "bool, coarse int32, coarse_lost bool, prices int16, odds uint32, values int32)"},
    {NULL, NULL, 0, NULL}};
