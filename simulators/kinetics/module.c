/* placeholder until the core lands */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
static struct PyModuleDef m = {PyModuleDef_HEAD_INIT, "_kinetics", NULL, 0, NULL, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__kinetics(void) { return PyModuleDef_Init(&m); }
