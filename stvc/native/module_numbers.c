/* The type `Numbers` of the extension module; see module.c. */
#include "module.h"

typedef struct {
    PyObject_HEAD
    Py_buffer block;
    number_coder coder;
} Numbers;

static PyObject *numbers_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer block = {0};
    if (kwargs && PyDict_Size(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Numbers takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "|y*:Numbers", &block))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Numbers *self = (Numbers *)alloc(type, 0);
    if (!self) {
        stvc_release(&block, 1);
        return NULL;
    }
    static const uint8_t none = 0;
    const uint8_t *bytes = !block.obj ? NULL : block.len ? block.buf : &none;
    self->block = block;
    stvc_status status = number_coder_start(&self->coder, bytes, (size_t)block.len);
    if (status) {
        Py_DECREF(self);
        return stvc_raise(status);
    }
    return (PyObject *)self;
}

static void numbers_dealloc(PyObject *object)
{
    Numbers *self = (Numbers *)object;
    number_coder_free(&self->coder);
    stvc_release(&self->block, 1);
    stvc_free_object(object);
}

/* These calls are short: the GIL stays. */
static PyObject *numbers_number(PyObject *object, PyObject *args, PyObject *kwargs)
{
    Numbers *self = (Numbers *)object;
    static char *names[] = {"column", "contexts", "value", "signed", NULL};
    unsigned int column;
    PyObject *given;
    long long value = 0;
    int is_signed = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "IO|Lp:number", names, &column, &given, &value,
                                     &is_signed))
        return NULL;
    const Py_ssize_t count = PyTuple_Check(given) ? PyTuple_Size(given) : NUMBER_VOTERS;
    uint32_t contexts[NUMBER_VOTERS];
    if (column >= NUMBER_LIMIT || count >= NUMBER_VOTERS)
        return stvc_raise(STVC_RANGE);
    for (Py_ssize_t k = 0; k < count; k++) {
        const long context = PyLong_AsLong(PyTuple_GetItem(given, k));
        if (context < 0 || context >= NUMBER_LIMIT)
            return PyErr_Occurred() ? NULL : stvc_raise(STVC_RANGE);
        contexts[k] = (uint32_t)context;
    }
    int64_t number = value;
    stvc_status status =
        number_code(&self->coder, column, contexts, (int)count, is_signed, &number);
    return status ? stvc_raise(status) : PyLong_FromLongLong(number);
}

static PyObject *numbers_finish(PyObject *object, PyObject *args)
{
    Numbers *self = (Numbers *)object;
    (void)args;
    if (self->coder.decodes)
        return stvc_raise(STVC_RANGE);
    stvc_status status = number_coder_finish(&self->coder);
    return status ? stvc_raise(status)
                  : PyBytes_FromStringAndSize((const char *)self->coder.bytes,
                                              (Py_ssize_t)self->coder.written);
}

static PyMethodDef numbers_methods[] = {
    {"number", (PyCFunction)(void (*)(void))numbers_number, METH_VARARGS | METH_KEYWORDS,
     "number(column, contexts, value=0, signed=False) -> int"},
    {"finish", numbers_finish, METH_NOARGS, "finish() -> bytes"},
    {0}};
static PyType_Slot numbers_slots[] = {
    {Py_tp_new, numbers_new},
    {Py_tp_dealloc, numbers_dealloc},
    {Py_tp_methods, numbers_methods},
    {Py_tp_doc, "Codes numbers, or with a block reads them; see stvc.archive.numbers."},
    {0}};
PyType_Spec stvc_numbers_spec = {"stvc.native._kernels.Numbers", sizeof(Numbers), 0,
                                 Py_TPFLAGS_DEFAULT, numbers_slots};
