#include "module_equations.h"

#include <string.h>

#include "equations.h"

#define FIXED_ARGUMENTS 2 /* the name and the parameters, before the columns */

/* The columns as bytes of one length; their length in doubles, or -1 with an exception. */
static Py_ssize_t take_columns(PyObject *args, int count, const char *column[])
{
    const Py_ssize_t item = (Py_ssize_t)sizeof(double);
    Py_ssize_t length = count ? 0 : item;
    for (int k = 0; k < count; k++) {
        char *bytes;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(args, FIXED_ARGUMENTS + k), &bytes, &size) < 0)
            return -1;
        if (size % item != 0 || (k > 0 && size != length)) {
            PyErr_SetString(PyExc_ValueError, "the columns are not doubles of one length");
            return -1;
        }
        length = size;
        column[k] = bytes;
    }
    return length / item;
}

/* Bytes have no alignment to rely on. */
static double number_at(const char *bytes, Py_ssize_t i)
{
    double value;
    memcpy(&value, bytes + (size_t)i * sizeof value, sizeof value);
    return value;
}

static void fill(const Equation *equation, const Parameters *par, const char *const column[],
                 Py_ssize_t length, char *out)
{
    const Model m = equation_model(par);
    for (Py_ssize_t i = 0; i < length; i++) {
        double argument[MOST_ARGUMENTS] = {0.0};
        for (int k = 0; k < equation->arguments; k++)
            argument[k] = number_at(column[k], i);
        const double value = equation->value(&m, argument);
        memcpy(out + (size_t)i * sizeof value, &value, sizeof value);
    }
}

PyObject *module_evaluate(PyObject *module, PyObject *args)
{
    (void)module;
    const Py_ssize_t given = PyTuple_Size(args) - FIXED_ARGUMENTS;
    if (given < 0)
        return PyErr_Format(PyExc_TypeError, "evaluate needs a name and a tuple of parameters");
    const char *name = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(args, 0), NULL);
    if (!name)
        return NULL;
    const Equation *equation = equation_find(name);
    if (!equation)
        return PyErr_Format(PyExc_ValueError, "there is no equation %s", name);
    if (given != equation->arguments)
        return PyErr_Format(PyExc_ValueError, "%s takes %d columns, not %zd", name,
                            equation->arguments, given);
    Parameters par;
    if (read_parameters(PyTuple_GetItem(args, 1), &par) < 0)
        return NULL;
    const char *column[MOST_ARGUMENTS];
    const Py_ssize_t length = take_columns(args, equation->arguments, column);
    if (length < 0)
        return NULL;
    PyObject *result = PyByteArray_FromStringAndSize(NULL, length * (Py_ssize_t)sizeof(double));
    if (!result)
        return NULL;
    char *out = PyByteArray_AsString(result);
    Py_BEGIN_ALLOW_THREADS /* `args` keeps the columns, nobody else knows the result */
    fill(equation, &par, column, length, out);
    Py_END_ALLOW_THREADS
    return result;
}

PyObject *module_equation_rows(void)
{
    PyObject *rows = PyTuple_New((Py_ssize_t)equation_count);
    for (size_t i = 0; rows && i < equation_count; i++) {
        PyObject *row = Py_BuildValue("si", equation_table[i].name, equation_table[i].arguments);
        if (!row || PyTuple_SetItem(rows, (Py_ssize_t)i, row) < 0) {
            Py_DECREF(rows);
            return NULL;
        }
    }
    return rows;
}
