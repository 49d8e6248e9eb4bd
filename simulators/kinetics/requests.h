/*
 * What may be asked of a model.  Every entrance from outside passes here first, so that the
 * other files may take their arguments as finite and in range.
 *
 * The limits are wide of anything a microscope does; they keep times inside 64 bits of
 * picoseconds, pixel numbers inside 64 bits and rates finite.  A NaN is never in range.
 */
#ifndef STMTEM_REQUESTS_H
#define STMTEM_REQUESTS_H

#include "diffraction.h"
#include "image.h"
#include "model.h"
#include "survey.h"

#define LONGEST_CALL_S 1e5
#define LONGEST_CLOCK_PS ((int64_t)9000000000000000000) /* 104 days of the model's own time */
#define LARGEST_BIAS_V 1000.0
#define LARGEST_BEAM 1e12      /* e/(nm2 s); a nanoampere in a square angstrom is 6e11 */
#define LONGEST_SIDE 16384     /* pixels */
#define FARTHEST_NM 1e9        /* of a picture or the probe from the specimen */

/* NULL when the request can be met, else what is wrong with it, in one line. */
const char *advance_complaint(const Model *m, const Drive *drive, double seconds);
const char *view_complaint(const View *view);
const char *scene_complaint(const FrameRequest *request); /* all of it but the detector */
const char *detector_complaint(const Detector *detector);
const char *pattern_complaint(const PatternRequest *request);
const char *survey_complaint(const SurveyRequest *request);
const char *families_complaint(int metal, double lattice_A, double energy_keV, double largest);

#endif
