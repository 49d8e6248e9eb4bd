/* What the files of the Python binding have in common. */
#ifndef STMTEM_BINDING_H
#define STMTEM_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "model.h"

typedef struct {
    PyObject_HEAD
    Model *model;
    PyThread_type_lock lock;
} ModelObject;

/* Converter of PyArg_Parse: an int in 0 ... 2^64 - 1; "K" would cut off what is beyond. */
int whole_number(PyObject *object, void *out);

/* A writable C-contiguous buffer of exactly height*width items of `item` bytes, aligned for them;
 * -1 on error. */
int take_buffer(PyObject *object, Py_buffer *buffer, size_t height, size_t width, size_t item);

/* A picture that the core draws into memory; false when memory is short. */
typedef bool (*Render)(Model *m, const void *request, void *out);

/* Draw into a buffer, as take_buffer() takes it, with the interpreter released; None or NULL. */
PyObject *render_into(PyObject *object, PyObject *target, size_t height, size_t width, size_t item,
                      Render render, const void *request);

/* A bytearray with a copy of `size` bytes that were taken under the lock; frees them. */
PyObject *hand_over(void *copy, size_t size, int short_of_memory);

typedef struct {
    const char *name, *code;
} RecordField;

/* ((name, NumPy type code), ...) of a record. */
PyObject *record_fields(const RecordField *field, size_t count);

PyObject *model_frame(PyObject *self, PyObject *args);
PyObject *model_means(PyObject *self, PyObject *args);
PyObject *model_thickness(PyObject *self, PyObject *args);
PyObject *model_truth(PyObject *self, PyObject *args);
PyObject *module_truth_fields(void);

#define FRAME_METHODS                                                                       \
    {"frame", model_frame, METH_VARARGS,                                                    \
     "frame(buffer, ...)\n--\n\nDraw one frame of counts."},                               \
        {"means", model_means, METH_VARARGS,                                                \
         "means(buffer, ...)\n--\n\nAdd the mean electrons of this instant."},              \
        {"thickness", model_thickness, METH_VARARGS,                                        \
         "thickness(buffer, height, width, pixel_nm, x_nm, y_nm)\n--\n\n"                  \
         "Draw the thickness map."},                                                       \
        {"truth", model_truth, METH_VARARGS,                                                \
         "truth(height, width, pixel_nm, x_nm, y_nm)\n--\n\nRecords, one a particle in "    \
         "the view."}

PyObject *model_diffraction(PyObject *self, PyObject *args);
PyObject *model_survey(PyObject *self, PyObject *args);
PyObject *model_counts(PyObject *self, PyObject *args);
PyObject *model_grains(PyObject *self, PyObject *ignored);
PyObject *module_families(PyObject *module, PyObject *args);

#define PICTURE_METHODS                                                                     \
    {"diffraction", model_diffraction, METH_VARARGS,                                        \
     "diffraction(buffer, ...)\n--\n\nMean electrons of a diffraction pattern."},           \
        {"survey", model_survey, METH_VARARGS,                                              \
         "survey(buffer, ...)\n--\n\nMean electrons of a dark-field survey."},              \
        {"counts", model_counts, METH_VARARGS,                                              \
         "counts(buffer, mean, ...)\n--\n\nCounts of a detector for these mean electrons."},\
        {"grains", model_grains, METH_NOARGS, "grains()\n--\n\nRecords, one a lattice."}

#define PICTURE_FUNCTIONS                                                                   \
    {"bcc_families", module_families, METH_VARARGS,                                         \
     "bcc_families(metal, lattice_A, energy_keV, largest)\n--\n\nRecords, one a family."}

#endif
