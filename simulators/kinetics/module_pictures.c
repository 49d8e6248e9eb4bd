/* Python binding of the pictures that are not frames; the interpreter is released meanwhile. */
#include "binding.h"

#include <stdlib.h>

#include "diffraction.h"
#include "grains.h"
#include "requests.h"
#include "rng.h"
#include "scattering.h"
#include "survey.h"

static bool draw_pattern(Model *m, const void *request, void *out)
{
    return diffraction_render(m, request, out);
}

static bool draw_survey(Model *m, const void *request, void *out)
{
    return survey_render(m, request, out);
}

PyObject *model_diffraction(PyObject *object, PyObject *args)
{
    PyObject *target;
    Py_ssize_t height, width;
    PatternRequest q = {0};
    if (!PyArg_ParseTuple(args, "Onnddddddddd", &target, &height, &width, &q.pixel, &q.electrons,
                          &q.energy_keV, &q.aperture_x, &q.aperture_y, &q.aperture_diameter,
                          &q.beam_width, &q.stop_radius, &q.stop_axis_rad))
        return NULL;
    q.height = (size_t)height;
    q.width = (size_t)width;
    const char *complaint = pattern_complaint(&q);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "%s", complaint);
    return render_into(object, target, q.height, q.width, sizeof(float), draw_pattern,
                       &q);
}

PyObject *model_survey(PyObject *object, PyObject *args)
{
    PyObject *target;
    int probe;
    Py_ssize_t height, width;
    SurveyRequest q = {0};
    FrameRequest *scene = &q.scene;
    if (!PyArg_ParseTuple(args, "OnndddddddddO&pddd", &target, &height, &width, &scene->view.pixel,
                          &scene->view.origin_x, &scene->view.origin_y, &scene->electrons_per_A2,
                          &scene->energy_keV, &q.inner_mrad, &q.outer_mrad, &q.line_noise,
                          &q.line_jitter, whole_number, &scene->index, &probe,
                          &scene->probe_x, &scene->probe_y, &scene->probe_axis_rad))
        return NULL;
    scene->view.height = (size_t)height;
    scene->view.width = (size_t)width;
    scene->probe = probe;
    scene->threads = 1;
    const char *complaint = survey_complaint(&q);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "%s", complaint);
    return render_into(object, target, scene->view.height, scene->view.width, sizeof(float), draw_survey,
                       &q);
}

/* counts(buffer, mean, height, width, purpose, index, ccd, gain, offset, readout, spread) */
PyObject *model_counts(PyObject *object, PyObject *args)
{
    ModelObject *self = (ModelObject *)object;
    PyObject *target, *source;
    Py_ssize_t height, width;
    const char *purpose;
    uint64_t index;
    int ccd;
    Detector detector = {0};
    Py_buffer buffer, mean;
    if (!PyArg_ParseTuple(args, "OOnnsO&pdddd", &target, &source, &height, &width, &purpose,
                          whole_number, &index, &ccd, &detector.gain, &detector.offset, &detector.readout,
                          &detector.spread))
        return NULL;
    detector.ccd = ccd;
    const char *complaint = detector_complaint(&detector);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "%s", complaint);
    if (take_buffer(target, &buffer, (size_t)height, (size_t)width, sizeof(uint16_t)) < 0)
        return NULL;
    if (take_buffer(source, &mean, (size_t)height, (size_t)width, sizeof(float)) < 0) {
        PyBuffer_Release(&buffer);
        return NULL;
    }
    bool done;
    Py_BEGIN_ALLOW_THREADS
    (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
    const CountsRequest request = {
        .mean = mean.buf,
        .height = (size_t)height,
        .width = (size_t)width,
        .index = index,
        .purpose = *purpose == 'd'   ? DRAW_DIFFRACTION
                   : *purpose == 's' ? DRAW_SURVEY
                                     : DRAW_PIXELS,
        .detector = &detector,
        .threads = 1,
    };
    done = counts_render(self->model, &request, buffer.buf);
    PyThread_release_lock(self->lock);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&mean);
    PyBuffer_Release(&buffer);
    if (!done)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyObject *model_grains(PyObject *object, PyObject *ignored)
{
    ModelObject *self = (ModelObject *)object;
    size_t size = 0;
    (void)ignored;
    GrainRecord *copy;
    Py_BEGIN_ALLOW_THREADS
    (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
    copy = malloc(2 * self->model->particles.count * sizeof *copy + 1);
    if (copy)
        size = grain_records(self->model, copy) * sizeof *copy;
    PyThread_release_lock(self->lock);
    Py_END_ALLOW_THREADS
    return hand_over(copy, size, copy == NULL);
}

PyObject *module_families(PyObject *module, PyObject *args)
{
    int metal;
    double lattice_A, energy_keV, largest;
    (void)module;
    if (!PyArg_ParseTuple(args, "iddd", &metal, &lattice_A, &energy_keV, &largest))
        return NULL;
    const char *complaint = families_complaint(metal, lattice_A, energy_keV, largest);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "%s", complaint);
    Family *list = malloc(FAMILIES_MOST * sizeof *list);
    if (!list)
        return PyErr_NoMemory();
    const size_t count = bcc_families(metal, lattice_A, energy_keV, largest, list);
    return hand_over(list, count * sizeof *list, 0);
}
