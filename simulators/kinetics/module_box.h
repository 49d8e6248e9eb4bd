/* The type of the reaction box for the extension module; comes after the header of Python. */
#ifndef STMTEM_MODULE_BOX_H
#define STMTEM_MODULE_BOX_H

/* Add the type Box to the module; -1 with an exception set when that fails. */
int box_type_add(PyObject *module);

#endif
