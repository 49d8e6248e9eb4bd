/*
 * The state as bytes: a run can be stopped and taken up again to the last bit, by the same
 * version of the layout on a machine with the same byte order.
 */
#ifndef STMTEM_STATE_H
#define STMTEM_STATE_H

#include "model.h"

size_t state_size(const Model *m);

/* `out` has state_size() bytes. */
void state_save(const Model *m, unsigned char *out);

/* Bring a model into a saved state of the same parameters and seed.  NULL when done, else what is
 * wrong, and the model is as it was. */
const char *state_load(Model *m, const unsigned char *bytes, size_t size);

#endif
