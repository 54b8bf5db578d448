/* The extension module `stvc.native._kernels`: arrays in, arrays out, no GIL while a kernel works.
 *
 * Callers hand over contiguous arrays of the kernel's own types, results included; here their
 * sizes are checked against each other, so that the kernels can rely on them. */
#include "module.h"

#ifndef STVC_SOURCES
#define STVC_SOURCES ""
#endif

static PyObject *impossible; /* exception: bits that no encoder writes */

PyObject *stvc_raise(stvc_status status)
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

int stvc_holds(const Py_buffer *view, size_t size, int64_t count, const char *name)
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

void stvc_release(Py_buffer *views, int count)
{
    for (int k = 0; k < count; k++)
        if (views[k].obj)
            PyBuffer_Release(&views[k]);
}

int stvc_enter(int *busy)
{
    if (*busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread works with this object");
        return 0;
    }
    return *busy = 1;
}

void stvc_free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release_memory = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release_memory(self);
    Py_DECREF(type);
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_kernels",
                                        .m_doc = "Native kernels; see stvc.native.", .m_size = -1,
                                        .m_methods = stvc_coder_functions};

PyMODINIT_FUNC PyInit__kernels(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    impossible = PyErr_NewException("stvc.native._kernels.ImpossibleBits", NULL, NULL);
    PyObject *walk = PyType_FromSpec(&stvc_mask_walk_spec),
             *decoder = PyType_FromSpec(&stvc_decoder_spec),
             *encoder = PyType_FromSpec(&stvc_encoder_spec),
             *numbers = PyType_FromSpec(&stvc_numbers_spec),
             *pixels = PyType_FromSpec(&stvc_pixel_walk_spec);
    if (!impossible || !walk || !decoder || !encoder || !numbers || !pixels ||
        PyModule_AddFunctions(module, stvc_network_functions) ||
        PyModule_AddFunctions(module, stvc_frame_functions) ||
        PyModule_AddFunctions(module, stvc_choice_functions) ||
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
