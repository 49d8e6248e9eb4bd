/* Python binding of frames and of what is in them; the interpreter is released meanwhile. */
#include "binding.h"

#include <stdlib.h>

#include "image.h"
#include "requests.h"
#include "truth.h"

PyObject *render_into(PyObject *object, PyObject *target, size_t height, size_t width, size_t item,
                      Render render, const void *request)
{
    ModelObject *self = (ModelObject *)object;
    Py_buffer buffer;
    bool done;
    if (take_buffer(target, &buffer, height, width, item) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
    done = render(self->model, request, buffer.buf);
    PyThread_release_lock(self->lock);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    if (!done)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static bool draw_frame(Model *m, const void *request, void *out)
{
    return frame_render(m, request, out);
}

static bool add_means(Model *m, const void *request, void *out)
{
    return means_add(m, request, out);
}

static bool draw_thickness(Model *m, const void *request, void *out)
{
    return thickness_render(m, request, out);
}

/* Read what frame() and means() have in common: target, shape, view, beam, tip, threads. */
static int read_scene(PyObject *scene, FrameRequest *q)
{
    int probe;
    Py_ssize_t height, width, threads;
    if (!PyTuple_Check(scene)) {
        PyErr_SetString(PyExc_TypeError, "the scene must be a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(scene, "nnddddddpdddn", &height, &width, &q->view.pixel,
                          &q->view.origin_x, &q->view.origin_y, &q->electrons_per_A2,
                          &q->energy_keV, &q->underfocus, &probe, &q->probe_x, &q->probe_y,
                          &q->probe_axis_rad, &threads))
        return -1;
    q->view.height = (size_t)height;
    q->view.width = (size_t)width;
    q->probe = probe;
    q->threads = (size_t)threads;
    const char *complaint = scene_complaint(q);
    if (complaint) {
        PyErr_SetString(PyExc_ValueError, complaint);
        return -1;
    }
    return 0;
}

/* frame(buffer, scene, index, ccd, gain, offset, readout, spread) */
PyObject *model_frame(PyObject *object, PyObject *args)
{
    PyObject *target, *scene;
    int ccd;
    FrameRequest q = {0};
    if (!PyArg_ParseTuple(args, "OOO&pdddd", &target, &scene, whole_number, &q.index, &ccd,
                          &q.detector.gain, &q.detector.offset, &q.detector.readout, &q.detector.spread) ||
        read_scene(scene, &q) < 0)
        return NULL;
    q.detector.ccd = ccd;
    const char *complaint = detector_complaint(&q.detector);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "%s", complaint);
    return render_into(object, target, q.view.height, q.view.width, sizeof(uint16_t), draw_frame,
                       &q);
}

/* means(buffer, scene) */
PyObject *model_means(PyObject *object, PyObject *args)
{
    PyObject *target, *scene;
    FrameRequest q = {0};
    if (!PyArg_ParseTuple(args, "OO", &target, &scene) || read_scene(scene, &q) < 0)
        return NULL;
    return render_into(object, target, q.view.height, q.view.width, sizeof(float), add_means,
                       &q);
}

PyObject *model_thickness(PyObject *object, PyObject *args)
{
    PyObject *target;
    Py_ssize_t height, width;
    View view;
    if (!PyArg_ParseTuple(args, "Onnddd", &target, &height, &width, &view.pixel, &view.origin_x,
                          &view.origin_y))
        return NULL;
    view.height = (size_t)height;
    view.width = (size_t)width;
    const char *complaint = view_complaint(&view);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "%s", complaint);
    return render_into(object, target, view.height, view.width, sizeof(float), draw_thickness,
                       &view);
}

PyObject *model_truth(PyObject *object, PyObject *args)
{
    ModelObject *self = (ModelObject *)object;
    Py_ssize_t height, width;
    View view;
    if (!PyArg_ParseTuple(args, "nnddd", &height, &width, &view.pixel, &view.origin_x,
                          &view.origin_y))
        return NULL;
    view.height = (size_t)height;
    view.width = (size_t)width;
    const char *complaint = view_complaint(&view);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "%s", complaint);
    TruthRecord *list;
    ptrdiff_t count = -1;
    Py_BEGIN_ALLOW_THREADS
    (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
    list = malloc(self->model->particles.count * sizeof *list + 1);
    if (list)
        count = truth_records(self->model, &view, list);
    PyThread_release_lock(self->lock);
    Py_END_ALLOW_THREADS
    if (count < 0) {
        free(list);
        return PyErr_NoMemory();
    }
    return hand_over(list, (size_t)count * sizeof *list, 0);
}

PyObject *module_truth_fields(void)
{
    static const RecordField field[] = {
#define X(code, type, name) {#name, code},
        TRUTH_RECORD(X)
#undef X
    };
    return record_fields(field, sizeof field / sizeof field[0]);
}
