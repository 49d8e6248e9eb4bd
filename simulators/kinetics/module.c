/*
 * Thin Python binding of the kinetic core: no physics here, no NumPy needed.
 *
 * Limited API 3.11 (setup.py defines it; an interpreter without a GIL has none).  The lock of a
 * model is held only while no Python code can run, so that any number of threads may use one
 * model; advance, frame and thickness release the interpreter.
 */
#include "binding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"
#include "model.h"
#include "module_box.h"
#include "module_equations.h"
#include "requests.h"
#include "state.h"

/* Ticks between looks at pending signals, when others may look at the model too: fewer where
 * there are many particles, so that Ctrl-C is answered soon. */
#define MOST_TICKS_A_TURN 512
#define PARTICLE_TICKS_A_TURN 50000

/* Slots newer than 3.11, given by number to interpreters that know them. */
#define SLOT_MULTIPLE_INTERPRETERS 3
#define SLOT_GIL 4
#define PER_INTERPRETER_GIL_SUPPORTED ((void *)2)
#define GIL_NOT_USED ((void *)1)

typedef struct {
    PyObject *model_type;
} ModuleState;

static void hold(ModelObject *self)
{
    if (PyThread_acquire_lock(self->lock, NOWAIT_LOCK))
        return;
    Py_BEGIN_ALLOW_THREADS
    (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
    Py_END_ALLOW_THREADS
}

static void let_go(ModelObject *self)
{
    PyThread_release_lock(self->lock);
}

int whole_number(PyObject *object, void *out)
{
    const unsigned long long value = PyLong_AsUnsignedLongLong(object);
    if (value == (unsigned long long)-1 && PyErr_Occurred())
        return 0;
    *(uint64_t *)out = value;
    return 1;
}

int read_parameters(PyObject *values, Parameters *par)
{
    if (!PyTuple_Check(values) || PyTuple_Size(values) != (Py_ssize_t)parameter_count) {
        PyErr_Format(PyExc_ValueError, "expected a tuple of %zu parameters", parameter_count);
        return -1;
    }
    for (size_t i = 0; i < parameter_count; i++) {
        const double value = PyFloat_AsDouble(PyTuple_GetItem(values, (Py_ssize_t)i));
        if (value == -1.0 && PyErr_Occurred())
            return -1;
        parameters_set(par, i, value);
    }
    const char *complaint = parameters_complaint(par);
    if (complaint) {
        PyErr_Format(PyExc_ValueError, "parameter out of range: %s", complaint);
        return -1;
    }
    return 0;
}

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"values", "seed", NULL};
    PyObject *values;
    uint64_t seed;
    Parameters par;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO&", names, &values, whole_number,
                                     &seed) ||
        read_parameters(values, &par) < 0)
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    ModelObject *self = (ModelObject *)allocate(type, 0);
    if (!self)
        return NULL;
    self->lock = PyThread_allocate_lock();
    self->model = model_create(&par, seed);
    if (!self->lock || !self->model) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void model_dealloc(PyObject *object)
{
    ModelObject *self = (ModelObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    model_free(self->model);
    if (self->lock)
        PyThread_free_lock(self->lock);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static int64_t ticks_a_turn(const Model *m)
{
    const size_t ticks = PARTICLE_TICKS_A_TURN / (m->particles.count + 1);
    return ticks < 1 ? 1 : (int64_t)(ticks < MOST_TICKS_A_TURN ? ticks : MOST_TICKS_A_TURN);
}

static PyObject *model_advance(PyObject *object, PyObject *args)
{
    ModelObject *self = (ModelObject *)object;
    double seconds, bias, bias_end, series_GOhm, beam;
    if (!PyArg_ParseTuple(args, "ddddd", &seconds, &bias, &bias_end, &series_GOhm, &beam))
        return NULL;
    Drive drive = {
        .bias = bias,
        .bias_end = bias_end,
        .terminals_off = isnan(bias),
        .open = isnan(bias) || isinf(series_GOhm),
        .series = isinf(series_GOhm) ? 0.0 : series_GOhm * 1e-3,
        .beam = beam,
    };
    const char *complaint = NULL;
    int64_t done = 0, turn = 0;
    int first = 1;
    do {
        Py_BEGIN_ALLOW_THREADS
        (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
        if (first)
            complaint = advance_complaint(self->model, &drive, seconds);
        if (!complaint) {
            if (first)
                model_begin(self->model, &drive, seconds);
            turn = ticks_a_turn(self->model);
            done = model_run(self->model, &drive, turn);
        }
        PyThread_release_lock(self->lock);
        Py_END_ALLOW_THREADS
        first = 0;
        if (complaint)
            return PyErr_Format(PyExc_ValueError, "%s", complaint);
        if (done < 0)
            return PyErr_NoMemory();
        if (PyErr_CheckSignals() < 0) { /* Ctrl-C: the rest of the time is not asked for */
            hold(self);
            model_cancel(self->model);
            let_go(self);
            return NULL;
        }
    } while (done == turn);
    Py_RETURN_NONE;
}

static PyObject *model_status(PyObject *object, PyObject *ignored)
{
    ModelObject *self = (ModelObject *)object;
    (void)ignored;
    hold(self);
    const Model *m = self->model;
    const double pC_per_nm3 = 1.0 / m->d.faraday;
    const int64_t ticks = m->tick;
    const unsigned long long count = m->particles.count, cycle = m->cycle, lost = m->events.lost;
    const unsigned long long logged = m->events.count + m->events.lost;
    const double time = model_time(m, m->tick), current = m->current * 1e-12;
    const double charge = long_sum_value(&m->charge) * 1e-12;
    const double net = long_sum_value(&m->net_volume) * pC_per_nm3 * 1e-12;
    const double deposited = long_sum_value(&m->deposited) * pC_per_nm3 * 1e-12;
    const double stripped = long_sum_value(&m->stripped_volume) * pC_per_nm3 * 1e-12;
    const double eroded = long_sum_value(&m->eroded), volume = model_volume(m);
    const double area = export_side_area(m), eta = m->eta, kirchhoff = m->kirchhoff;
    const double faradaic = m->faradaic_current * 1e-12;
    const double placed = long_sum_value(&m->placed);
    let_go(self);
    return Py_BuildValue("LddddddddddddddKKKK", (long long)ticks, time, current, charge, net,
                         deposited, stripped, eroded, volume, area, eta, kirchhoff, faradaic,
                         pC_per_nm3 * 1e-12, placed, count, cycle, logged, lost);
}

PyObject *hand_over(void *copy, size_t size, int short_of_memory)
{
    if (short_of_memory)
        return PyErr_NoMemory();
    PyObject *bytes = PyByteArray_FromStringAndSize(copy, (Py_ssize_t)size);
    free(copy);
    return bytes;
}

static PyObject *model_particles(PyObject *object, PyObject *ignored)
{
    ModelObject *self = (ModelObject *)object;
    (void)ignored;
    hold(self);
    const size_t size = self->model->particles.count * sizeof(ParticleRecord);
    ParticleRecord *copy = malloc(size ? size : 1);
    if (copy)
        export_particles(self->model, copy);
    let_go(self);
    return hand_over(copy, size, copy == NULL);
}

static PyObject *model_events(PyObject *object, PyObject *args)
{
    ModelObject *self = (ModelObject *)object;
    uint64_t start;
    if (!PyArg_ParseTuple(args, "O&", whole_number, &start))
        return NULL;
    hold(self);
    const Events *e = &self->model->events;
    const size_t skip = start > e->lost ? (size_t)(start - e->lost) : 0;
    const size_t count = skip < e->count ? e->count - skip : 0;
    const size_t size = count * sizeof(Event);
    Event *copy = malloc(size ? size : 1);
    if (copy && size)
        memcpy(copy, e->log + skip, size);
    let_go(self);
    return hand_over(copy, size, copy == NULL);
}

int take_buffer(PyObject *object, Py_buffer *buffer, size_t height, size_t width, size_t item)
{
    if (PyObject_GetBuffer(object, buffer, PyBUF_CONTIG) < 0)
        return -1;
    const char *complaint = NULL;
    if (height < 1 || width < 1 || height > LONGEST_SIDE || width > LONGEST_SIDE ||
        (size_t)buffer->len != height * width * item)
        complaint = "the buffer does not have the size of the picture";
    else if ((uintptr_t)buffer->buf % item != 0)
        complaint = "the buffer does not lie where its numbers may lie in memory";
    if (complaint) {
        PyErr_SetString(PyExc_ValueError, complaint);
        PyBuffer_Release(buffer);
        return -1;
    }
    return 0;
}

static PyObject *model_put(PyObject *object, PyObject *args)
{
    ModelObject *self = (ModelObject *)object;
    const char *bytes;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "y#", &bytes, &size))
        return NULL;
    if ((size_t)size % sizeof(Placing) != 0)
        return PyErr_Format(PyExc_ValueError, "the bytes are no list of crystals");
    uint64_t first = 0;
    Placing *list = malloc((size_t)size + 1); /* aligned */
    if (!list)
        return PyErr_NoMemory();
    memcpy(list, bytes, (size_t)size);
    hold(self);
    const char *complaint =
        model_place(self->model, list, (size_t)size / sizeof(Placing), &first);
    let_go(self);
    free(list);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "cannot place a crystal: %s", complaint);
    return PyLong_FromUnsignedLongLong(first);
}

/* The name of the kernels in use, after changing to those of this name if one is given. */
static PyObject *model_instructions(PyObject *object, PyObject *args)
{
    ModelObject *self = (ModelObject *)object;
    const char *wanted = "";
    if (!PyArg_ParseTuple(args, "|s", &wanted))
        return NULL;
    const Kernels *kernels = wanted[0] ? kernels_named(wanted) : NULL;
    if (wanted[0] && !kernels)
        return PyErr_Format(PyExc_ValueError, "no kernels for %s here", wanted);
    hold(self);
    if (kernels)
        self->model->kernels = kernels;
    const char *name = self->model->kernels->name;
    let_go(self);
    return PyUnicode_FromString(name);
}

static PyObject *model_save(PyObject *object, PyObject *ignored)
{
    ModelObject *self = (ModelObject *)object;
    (void)ignored;
    hold(self);
    const size_t size = state_size(self->model);
    unsigned char *copy = malloc(size);
    if (copy)
        state_save(self->model, copy);
    let_go(self);
    return hand_over(copy, size, copy == NULL);
}

static PyObject *model_load(PyObject *object, PyObject *args)
{
    ModelObject *self = (ModelObject *)object;
    const char *bytes;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "y#", &bytes, &size))
        return NULL;
    hold(self);
    const char *complaint = state_load(self->model, (const unsigned char *)bytes, (size_t)size);
    let_go(self);
    if (complaint)
        return PyErr_Format(PyExc_ValueError, "cannot restore the state: %s", complaint);
    Py_RETURN_NONE;
}

static PyMethodDef model_methods[] = {
    {"advance", model_advance, METH_VARARGS,
     "advance(seconds, bias_V, bias_end_V, series_GOhm, beam_e_per_nm2_s)\n--\n\n"
     "Let time pass; NaN bias: terminals open; infinite series_GOhm: no contact."},
    {"status", model_status, METH_NOARGS, "status()\n--\n\nAll scalars of the state."},
    {"particles", model_particles, METH_NOARGS, "particles()\n--\n\nRecords, one a particle."},
    {"events", model_events, METH_VARARGS, "events(start)\n--\n\nRecords from number start on."},
    FRAME_METHODS,
    PICTURE_METHODS,
    {"place", model_put, METH_VARARGS,
     "place(list)\n--\n\nPut crystals there; returns the uid of the first."},
    {"instructions", model_instructions, METH_VARARGS,
     "instructions(name='')\n--\n\nName of the kernels in use; changes to those named."},
    {"save", model_save, METH_NOARGS, "save()\n--\n\nThe state as bytes."},
    {"load", model_load, METH_VARARGS,
     "load(state)\n--\n\nTake up a saved state of the same parameters and seed."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot model_slots[] = {
    {Py_tp_new, model_new},
    {Py_tp_dealloc, model_dealloc},
    {Py_tp_methods, model_methods},
    {Py_tp_doc, "Model(values, seed)\n--\n\nState of the specimen; see model.KineticModel."},
    {0, NULL},
};

static PyType_Spec model_spec = {
    .name = "stmtem_control.simulators._kinetics.Model",
    .basicsize = sizeof(ModelObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = model_slots,
};

/* ((name, default, low, high), ...) */
static PyObject *parameter_rows(void)
{
    PyObject *rows = PyTuple_New((Py_ssize_t)parameter_count);
    for (size_t i = 0; rows && i < parameter_count; i++) {
        const ParameterRow *r = &parameter_table[i];
        PyObject *row = Py_BuildValue("sddd", r->name, r->value, r->low, r->high);
        if (!row || PyTuple_SetItem(rows, (Py_ssize_t)i, row) < 0) {
            Py_DECREF(rows);
            return NULL;
        }
    }
    return rows;
}

PyObject *record_fields(const RecordField *field, size_t count)
{
    PyObject *rows = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; rows && i < count; i++) {
        PyObject *row = Py_BuildValue("ss", field[i].name, field[i].code);
        if (!row || PyTuple_SetItem(rows, (Py_ssize_t)i, row) < 0) {
            Py_DECREF(rows);
            return NULL;
        }
    }
    return rows;
}

static PyObject *particle_fields(void)
{
    static const RecordField field[] = {
#define X(code, type, name) {#name, code},
        PARTICLE_RECORD(X)
#undef X
    };
    return record_fields(field, sizeof field / sizeof field[0]);
}

static int add_owned(PyObject *module, const char *name, PyObject *value)
{
    const int added = PyModule_AddObjectRef(module, name, value);
    Py_XDECREF(value);
    return added;
}

static int module_exec(PyObject *module)
{
    ModuleState *state = PyModule_GetState(module);
    state->model_type = PyType_FromModuleAndSpec(module, &model_spec, NULL);
    if (!state->model_type || PyModule_AddObjectRef(module, "Model", state->model_type) < 0)
        return -1;
    if (box_type_add(module) < 0)
        return -1;
    if (add_owned(module, "PARAMETERS", parameter_rows()) < 0)
        return -1;
    if (add_owned(module, "TRUTH_FIELDS", module_truth_fields()) < 0 ||
        add_owned(module, "EQUATIONS", module_equation_rows()) < 0)
        return -1;
    return add_owned(module, "PARTICLE_FIELDS", particle_fields());
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    ModuleState *state = PyModule_GetState(module);
    Py_VISIT(state->model_type);
    return 0;
}

static int module_clear(PyObject *module)
{
    ModuleState *state = PyModule_GetState(module);
    Py_CLEAR(state->model_type);
    return 0;
}

static PyMethodDef module_functions[] = {
    PICTURE_FUNCTIONS,
    {"evaluate", module_evaluate, METH_VARARGS, EVALUATE_DOC},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots_3_11[] = {{Py_mod_exec, module_exec}, {0, NULL}};
static PyModuleDef_Slot slots_3_12[] = {
    {Py_mod_exec, module_exec},
    {SLOT_MULTIPLE_INTERPRETERS, PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};
static PyModuleDef_Slot slots_3_13[] = {
    {Py_mod_exec, module_exec},
    {SLOT_MULTIPLE_INTERPRETERS, PER_INTERPRETER_GIL_SUPPORTED},
    {SLOT_GIL, GIL_NOT_USED},
    {0, NULL},
};

#define DEFINITION(list)                                        \
    {                                                           \
        .m_base = PyModuleDef_HEAD_INIT,                        \
        .m_name = "stmtem_control.simulators._kinetics",        \
        .m_doc = "C core of the kinetic model.",                \
        .m_size = sizeof(ModuleState),                          \
        .m_methods = module_functions,                          \
        .m_slots = list,                                        \
        .m_traverse = module_traverse,                          \
        .m_clear = module_clear,                                \
    }

/* An older interpreter refuses slot numbers that it does not know. */
static PyModuleDef definition_3_11 = DEFINITION(slots_3_11);
static PyModuleDef definition_3_12 = DEFINITION(slots_3_12);
static PyModuleDef definition_3_13 = DEFINITION(slots_3_13);

PyMODINIT_FUNC PyInit__kinetics(void)
{
    if (Py_Version >= 0x030D0000)
        return PyModuleDef_Init(&definition_3_13);
    if (Py_Version >= 0x030C0000)
        return PyModuleDef_Init(&definition_3_12);
    return PyModuleDef_Init(&definition_3_11);
}
