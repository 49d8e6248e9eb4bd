/*
 * What holds for every state that the model can come into: the check of a state that is read
 * back, of the fuzz target and of the check program.
 */
#ifndef STMTEM_SOUNDNESS_H
#define STMTEM_SOUNDNESS_H

#include "model.h"

#define FARTHEST_UID ((uint64_t)1 << 56) /* the random numbers of a particle are keyed by its uid */
#define FEED_LOW 1e-18
#define FEED_HIGH 1e12

/* NULL when all of these hold, else the first that does not, in one line:
 * every number is finite; volumes are positive; caps have their volume and a contact angle in
 * receding ... advancing; particles lie on their fibres; no two have the same uid; facet order in
 * 0 ... 1; events name what exists; and the volume of all particles is what was placed and
 * deposited less what was stripped and eroded, to 1e-9 of the turnover. */
const char *model_unsound(const Model *m);

#endif
