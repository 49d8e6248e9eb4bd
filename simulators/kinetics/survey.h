/*
 * The survey picture: annular dark field in the scanning mode.
 *
 * A pixel expects N (stray + (1 - stray)(1 - exp(-sum mu_i t_i))) electrons on the detector, N on
 * the specimen and mu_i the scattering into the ring; each line of the scan has an error of its
 * own in place (flyback) and in brightness (current of the probe).  The same scene as in a frame:
 * fibres, particles with their skin, tungsten tip with its coat of lithium and oxide.
 */
#ifndef STMTEM_SURVEY_H
#define STMTEM_SURVEY_H

#include "image.h"

typedef struct {
    FrameRequest scene;              /* without underfocus and detector */
    double inner_mrad, outer_mrad;   /* of the detector */
    double line_noise;               /* brightness of a line, relative, rms */
    double line_jitter;              /* place of a line, pixels, rms */
} SurveyRequest;

/* Mean electrons a pixel.  false when memory is short. */
bool survey_render(const Model *m, const SurveyRequest *request, float *mean);

#endif
