/* What the files that know Python share. */
#ifndef STVC_MODULE_H
#define STVC_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kernels.h"

/* PyArg_ParseTuple keeps track of at most as many buffers as its format has items outside of
 * parentheses, or 8: one more, and it writes behind its list. tests/test_native_build.py counts. */

PyObject *stvc_raise(stvc_status status);
/* Whether a buffer holds `count` aligned items of `size` bytes; any number if count < 0. */
int stvc_holds(const Py_buffer *view, size_t size, int64_t count, const char *name);
void stvc_release(Py_buffer *views, int count);
void stvc_free_object(PyObject *self);
/* Marks an object while it works without the GIL; 0, with an exception, if another thread does. */
int stvc_enter(int *busy);

typedef struct {
    PyObject_HEAD
    Py_buffer payload;
    range_decoder coder;
    int busy;
} Decoder;

typedef struct {
    PyObject_HEAD
    range_encoder coder;
    int busy;
} Encoder;

/* The types of module_coders.c, and its functions. */
extern PyType_Spec stvc_decoder_spec, stvc_encoder_spec;
extern PyMethodDef stvc_coder_functions[];
/* Functions of module_network.c, module_frames.c and module_choice.c. */
extern PyMethodDef stvc_network_functions[], stvc_frame_functions[], stvc_choice_functions[];
/* The type of module_masks.c. */
extern PyType_Spec stvc_mask_walk_spec;
/* The type of module_numbers.c. */
extern PyType_Spec stvc_numbers_spec;
/* The type of module_walk.c, and its functions. */
extern PyType_Spec stvc_pixel_walk_spec;
extern PyMethodDef stvc_walk_functions[];
/* Functions of module_truncation.c. */
extern PyMethodDef stvc_truncation_functions[];
/* Functions of module_mixture.c. */
extern PyMethodDef stvc_mixture_functions[];
/* Functions of module_units.c, and its method of `Encoder`. */
extern PyMethodDef stvc_unit_functions[];
PyObject *stvc_encoder_unit(PyObject *object, PyObject *args);
/* Functions of module_pixels.c, and its methods of the coders. */
extern PyMethodDef stvc_pixel_functions[];
PyObject *stvc_encoder_mixture(PyObject *object, PyObject *args);
PyObject *stvc_decoder_mixture(PyObject *object, PyObject *args);
PyObject *stvc_encoder_traced(PyObject *object, PyObject *args);
PyObject *stvc_decoder_traced(PyObject *object, PyObject *args);

#endif
