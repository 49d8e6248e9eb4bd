/* The part of the binding that evaluates single equations; see module.c. */
#ifndef STMTEM_MODULE_EQUATIONS_H
#define STMTEM_MODULE_EQUATIONS_H

#include "binding.h"
#include "parameters.h"

#define EVALUATE_DOC                                                                    \
    "evaluate(name, values, *columns)\n--\n\n"                                          \
    "One equation for the parameters `values`: a row of doubles from rows of doubles, " \
    "all as bytes of one length; from none, one number."

PyObject *module_evaluate(PyObject *module, PyObject *args);

/* ((name, number of arguments), ...) */
PyObject *module_equation_rows(void);

/* From a tuple of all values; -1 and an exception when something is wrong with them (module.c). */
int read_parameters(PyObject *values, Parameters *par);

#endif
