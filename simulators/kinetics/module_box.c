/*
 * Python binding of the reaction box; see module.c for the ways of this extension.
 */
#include "binding.h"

#include <stdlib.h>

#include "module_box.h"
#include "reaction_box.h"

#define MOVES_A_TURN ((uint64_t)1 << 21) /* particle-steps between looks at pending signals */

typedef struct {
    PyObject_HEAD
    ReactionBox *box;
    PyThread_type_lock lock;
} BoxObject;

static void hold(BoxObject *self)
{
    if (PyThread_acquire_lock(self->lock, NOWAIT_LOCK))
        return;
    Py_BEGIN_ALLOW_THREADS
    (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
    Py_END_ALLOW_THREADS
}

static void let_go(BoxObject *self)
{
    PyThread_release_lock(self->lock);
}

static PyObject *box_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"count",      "length", "diffusivity",  "radius",     "step_s",
                            "dimensions", "seed",   "instructions", "every_pair", NULL};
    BoxSettings set = {0};
    int every_pair;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&ddddiO&sp", names, whole_number,
                                     &set.count, &set.length, &set.diffusivity, &set.radius,
                                     &set.step_s, &set.dimensions, whole_number, &set.seed,
                                     &set.instructions, &every_pair))
        return NULL;
    set.every_pair = every_pair != 0;
    const char *complaint = box_complaint(&set);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "%s", complaint);
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    BoxObject *self = (BoxObject *)allocate(type, 0);
    if (!self)
        return NULL;
    self->lock = PyThread_allocate_lock();
    self->box = box_create(&set);
    if (!self->lock || !self->box) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void box_dealloc(PyObject *object)
{
    BoxObject *self = (BoxObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    box_free(self->box);
    if (self->lock)
        PyThread_free_lock(self->lock);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyObject *box_advance(PyObject *object, PyObject *args)
{
    BoxObject *self = (BoxObject *)object;
    uint64_t steps;
    if (!PyArg_ParseTuple(args, "O&", whole_number, &steps))
        return NULL;
    while (steps > 0) {
        bool done;
        Py_BEGIN_ALLOW_THREADS
        (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
        const uint64_t turn = 1 + MOVES_A_TURN / (self->box->filled + 1);
        const uint64_t now = steps < turn ? steps : turn;
        done = box_run(self->box, now);
        steps -= now;
        PyThread_release_lock(self->lock);
        Py_END_ALLOW_THREADS
        if (!done)
            return PyErr_NoMemory();
        if (PyErr_CheckSignals() < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *box_status(PyObject *object, PyObject *ignored)
{
    BoxObject *self = (BoxObject *)object;
    (void)ignored;
    hold(self);
    const unsigned long long count = self->box->alive, steps = self->box->step;
    const unsigned long long listings = self->box->listings;
    const char *instructions = self->box->kernels->name;
    let_go(self);
    return Py_BuildValue("KKKs", count, steps, listings, instructions);
}

static PyObject *box_particles(PyObject *object, PyObject *args)
{
    BoxObject *self = (BoxObject *)object;
    int folded;
    if (!PyArg_ParseTuple(args, "p", &folded))
        return NULL;
    hold(self);
    const size_t count = self->box->alive, axes = (size_t)self->box->set.dimensions;
    double *rows = malloc(count * axes * sizeof *rows);
    int64_t *uids = malloc(count * sizeof *uids);
    const bool good = rows && uids && box_export(self->box, folded != 0, rows, uids);
    let_go(self);
    PyObject *both = NULL;
    if (good) {
        PyObject *first = PyByteArray_FromStringAndSize(
            (char *)rows, (Py_ssize_t)(count * axes * sizeof *rows));
        PyObject *second =
            PyByteArray_FromStringAndSize((char *)uids, (Py_ssize_t)(count * sizeof *uids));
        if (first && second)
            both = PyTuple_Pack(2, first, second);
        Py_XDECREF(first);
        Py_XDECREF(second);
    } else {
        PyErr_NoMemory();
    }
    free(rows);
    free(uids);
    return both;
}

static PyMethodDef box_methods[] = {
    {"advance", box_advance, METH_VARARGS, "advance(steps)\n--\n\nMove and fuse."},
    {"status", box_status, METH_NOARGS,
     "status()\n--\n\n(particles, steps done, times pairs were listed, instruction set)"},
    {"particles", box_particles, METH_VARARGS,
     "particles(folded)\n--\n\nPositions and uids, by rising uid."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot box_slots[] = {
    {Py_tp_new, box_new},
    {Py_tp_dealloc, box_dealloc},
    {Py_tp_methods, box_methods},
    {Py_tp_doc, "Box(count, length, diffusivity, radius, step_s, dimensions, seed, instructions, "
                "every_pair)\n--\n\nState of a reaction box; see reaction_box.ReactionBox."},
    {0, NULL},
};

static PyType_Spec box_spec = {
    .name = "stmtem_control.simulators._kinetics.Box",
    .basicsize = sizeof(BoxObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = box_slots,
};

int box_type_add(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &box_spec, NULL);
    const int added = PyModule_AddObjectRef(module, "Box", type);
    Py_XDECREF(type);
    return added;
}
